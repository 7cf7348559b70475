"""Measure a model: mIoU, mask AP and panoptic quality from one forward pass an image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from triptych.errors import TriptychError
from triptych.metrics.instance import MaskAP
from triptych.metrics.panoptic import PanopticQuality
from triptych.metrics.semantic import IGNORE, ConfusionMatrix
from triptych.metrics.truth import PanopticTruth
from triptych.segmenter import Segmenter


@dataclass(frozen=True)
class Example:
    """One image and what is known about it."""

    image: Tensor
    """``(H, W, 3)`` uint8, as :func:`triptych.images.load_image` gives it."""
    semantic: NDArray[np.integer]
    """``(H, W)`` class ids; 255 where unknown."""
    panoptic: PanopticTruth | None = None
    """None where objects are not told apart: such an image counts for mIoU only."""


@dataclass(frozen=True)
class Report:
    """What was measured on a set of images."""

    figures: dict[str, float]
    """``miou``, ``pixel_accuracy``, ``images``; with panoptic truth also ``pq``, ``sq``, ``rq``,
    ``pq_things``, ``pq_stuff``, ``ap``, ``ap50`` and the rest of the twelve. nan: undefined."""
    per_class: dict[str, dict[str, float]]
    """``iou`` and, with panoptic truth, ``pq`` and ``ap``: each by class name."""


def evaluate(
    segmenter: Segmenter,
    examples: Iterable[Example],
    *,
    threshold: float = 0.8,
    overlap: float = 0.8,
) -> Report:
    """Run ``segmenter`` once over each image and take all the figures from that.

    Args:
        segmenter: its classes are those of the truth.
        examples: read one at a time.
        threshold: of the panoptic reading; see ``MaskSet.panoptic``.
        overlap: likewise.

    Raises:
        TriptychError: there is no image, or truth and prediction do not fit together.
    """
    classes = segmenter.classes
    semantic = ConfusionMatrix(len(classes), ignore=IGNORE)
    instance, panoptic = MaskAP(classes), PanopticQuality(classes)
    images = 0
    with_panoptic = False
    for example in examples:
        images += 1
        masks = segmenter(example.image).to("cpu")
        semantic.update(masks.semantic().ids, example.semantic)
        if example.panoptic is not None:
            with_panoptic = True
            panoptic.update(masks.panoptic(threshold, overlap), example.panoptic)
            # Average precision ranks by score itself; a threshold would only cut off recall.
            found = masks.instances(threshold=0.0)
            instance.update(found, example.panoptic.instances(classes.thing_ids))
    if not images:
        raise TriptychError("no image to evaluate on; give a folder or split that has some")

    figures = {"miou": semantic.miou, "pixel_accuracy": semantic.pixel_accuracy}
    per_class = {"iou": _by_name(classes.names, semantic.iou().tolist())}
    if with_panoptic:
        overall = panoptic.overall()
        figures |= {"pq": overall.pq, "sq": overall.sq, "rq": overall.rq}
        figures |= {"pq_things": panoptic.things().pq, "pq_stuff": panoptic.stuff().pq}
        per_class["pq"] = _by_name(classes.names, [q.pq for q in panoptic.per_class()])
        precision = asdict(instance.compute())
        per_class["ap"] = _by_name(classes.names, precision.pop("per_class"))
        figures |= precision
    return Report(figures | {"images": float(images)}, per_class)


def _by_name(names: Iterable[str], values: Iterable[float]) -> dict[str, float]:
    return dict(zip(names, values, strict=True))


def plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """For JSON, which has no nan: undefined figures become None."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}
