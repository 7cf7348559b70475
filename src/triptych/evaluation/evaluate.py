"""Measure a model: mIoU, mask AP and panoptic quality from one forward pass an image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.evaluation.answers import Answer, match_classes
from triptych.metrics.bootstrap import Bootstrap, ImageCounts, Interval, intervals
from triptych.metrics.instance import MaskAP
from triptych.metrics.panoptic import PanopticQuality
from triptych.metrics.semantic import ConfusionMatrix
from triptych.readings.masks import READINGS
from triptych.segmenter import Segmenter
from triptych.truth import Example


@dataclass(frozen=True)
class Report:
    """What was measured on a set of images."""

    figures: dict[str, float]
    """``images``, and as far as there is truth: ``miou``, ``pixel_accuracy``; ``pq``, ``sq``,
    ``rq``, ``pq_things``, ``pq_stuff``; ``ap``, ``ap50`` and the rest of the twelve. nan:
    undefined."""
    per_class: dict[str, dict[str, float]]
    """``iou``, ``pq``, ``ap`` and ``ap50``, likewise: each by class name."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """95 % intervals of the main figures, if they were asked for."""
    confusion: NDArray[np.int64] | None = None
    """``(K, K + 1)`` pixels by true class (rows) and predicted class; the last column: none."""
    samples: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """What each replicate of the bootstrap gives, see :meth:`Bootstrap.samples`."""

    def occurs(self, name: str) -> bool:
        """Whether a class has a figure: truth has it somewhere, or it was found by mistake."""
        return any(not math.isnan(by_class[name]) for by_class in self.per_class.values())

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no nan: undefined figures become None."""
        told: dict[str, Any] = {
            "figures": _plain(self.figures),
            "per_class": {name: _plain(by_class) for name, by_class in self.per_class.items()},
        }
        if self.intervals:
            told["intervals"] = {name: list(ends) for name, ends in self.intervals.items()}
        if self.confusion is not None:
            told["confusion"] = self.confusion.tolist()
        return told


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def evaluate(
    segmenter: Segmenter,
    examples: Iterable[Example],
    *,
    classes: Classes | None = None,
    semantic: bool = True,
    replicates: int = 0,
) -> Report:
    """Run ``segmenter`` once over each image and take all the figures from that, by its settings.

    Args:
        segmenter: gives the answers.
        examples: read one at a time.
        classes: of the truth, matched with the segmenter's by name; the same by default.
        semantic: see :func:`measure`, like ``replicates``.
        replicates: of the bootstrap.

    Raises:
        TriptychError: there is no image, or truth and prediction do not fit together.
    """
    segmenter.require(*READINGS)
    classes = classes or segmenter.classes
    match = match_classes(segmenter.classes, classes)

    def answer(example: Example) -> Answer:
        masks = segmenter.for_readings(example.image).to("cpu")
        return match.answer(masks, example, semantic=semantic)

    answered = ((example, answer(example)) for example in examples)
    return measure(answered, classes, semantic=semantic, replicates=replicates)


def measure(
    answered: Iterable[tuple[Example, Answer]],
    classes: Classes,
    *,
    semantic: bool = True,
    replicates: int = 0,
) -> Report:
    """Compare answers with the truth; memory does not grow with the images (see ``replicates``).

    A figure is taken from the images that have truth and an answer for it.

    Args:
        answered: images with what was found in them, one at a time.
        classes: of truth and answers.
        semantic: False where the data tell only of objects, so that mIoU would mean nothing.
        replicates: of the bootstrap that gives intervals, for which the scores and matches of
            all instances are kept; 0 leaves them out.

    Raises:
        TriptychError: there is no image, or truth and answer do not fit together.
    """
    confusion, panoptic = ConfusionMatrix(len(classes)), PanopticQuality(classes)
    instance = MaskAP(classes, keep_matches=replicates > 0)
    bootstrap = Bootstrap(classes, replicates) if replicates else None
    images = 0
    measured: set[str] = set()
    for example, answer in answered:
        images += 1
        # Each image is counted by itself first, since the bootstrap weighs images.
        pixels = segments = matches = None
        if semantic and answer.semantic is not None:
            pixels = ConfusionMatrix(len(classes))
            pixels.update(answer.semantic, example.semantic)
            confusion += pixels
            measured.add("iou")
        if answer.panoptic is not None and example.panoptic is not None:
            segments = PanopticQuality(classes)
            segments.update(answer.panoptic, example.panoptic)
            panoptic += segments
            measured.add("pq")
        objects = example.instances
        if objects is None and example.panoptic is not None:
            objects = example.panoptic.instances(classes.thing_ids)
        if answer.instances is not None and objects is not None:
            matches = instance.update(answer.instances, objects, example.ignored)
            measured.add("ap")
        if bootstrap is not None:
            bootstrap.add(ImageCounts(pixels, segments, matches))
    if not images:
        raise TriptychError("no image to evaluate on; give a folder or split that has some")

    figures = {"images": float(images)}
    per_class = {}
    if "iou" in measured:
        figures |= {"miou": confusion.miou, "pixel_accuracy": confusion.pixel_accuracy}
        per_class["iou"] = _by_name(classes.names, confusion.iou().tolist())
    if "pq" in measured:
        overall = panoptic.overall()
        figures |= {"pq": overall.pq, "sq": overall.sq, "rq": overall.rq}
        figures |= {"pq_things": panoptic.things().pq, "pq_stuff": panoptic.stuff().pq}
        per_class["pq"] = _by_name(classes.names, [q.pq for q in panoptic.per_class()])
    if "ap" in measured:
        precision = asdict(instance.compute())
        per_class["ap"] = _by_name(classes.names, precision.pop("per_class"))
        per_class["ap50"] = _by_name(classes.names, precision.pop("per_class_50"))
        figures |= precision
    samples = bootstrap.samples() if bootstrap else {}
    return Report(
        figures,
        per_class,
        intervals(samples),
        confusion.matrix if "iou" in measured else None,
        samples,
    )


def _by_name(names: Iterable[str], values: Iterable[float]) -> dict[str, float]:
    return dict(zip(names, values, strict=True))
