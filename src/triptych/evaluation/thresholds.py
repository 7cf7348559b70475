"""Which thresholds suit a model: those that read its masks best on images with truth.

Scores of a model that has been trained for a short while are low, and a threshold of 0.8 leaves its
panoptic map empty although it finds objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.classes import Classes
from triptych.data.sets.coco_instances import partition as partition_of_objects
from triptych.data.sets.maps import partition as partition_of_map
from triptych.metrics.instance import MaskAP
from triptych.metrics.panoptic import PanopticQuality
from triptych.segmenter import Segmenter
from triptych.truth import Example, PanopticTruth

GRID = tuple(round(step / 20, 2) for step in range(1, 20))
"""Thresholds that are compared for instances."""

PANOPTIC_GRID = GRID[1::2]
"""The same for the panoptic reading, each of which is a reading of its own."""

HALF = 0
"""Place of the IoU 0.5 among those that matches are found at."""


@dataclass(frozen=True)
class Chosen:
    """Thresholds, and what they gave; None where the truth says nothing about one."""

    images: int = 0
    panoptic: float | None = None
    pq: float = math.nan
    """Panoptic quality at the threshold."""
    usual_pq: float = math.nan
    """The same at the threshold that is usual."""
    instance: float | None = None
    f1: float = math.nan
    """F1 of the instances at IoU 0.5: twice the right ones over all that are found or there."""

    def __str__(self) -> str:
        parts = []
        if self.panoptic is not None:
            parts.append(
                f"panoptic {self.panoptic:g} (PQ {100 * self.pq:.1f} %, at the usual threshold "
                f"{100 * self.usual_pq:.1f} %)"
            )
        if self.instance is not None:
            parts.append(f"instances {self.instance:g} (F1 {100 * self.f1:.1f} % at IoU 0.5)")
        if not parts:
            return "thresholds stay as they are: nothing is found that the truth could judge"
        plural = "s" * (self.images != 1)
        return f"thresholds chosen on {self.images} image{plural}: {', '.join(parts)}"


def choose_thresholds(segmenter: Segmenter, examples: Iterable[Example]) -> Chosen:
    """Find the thresholds of the panoptic and the instance reading that suit a model.

    The panoptic one has the highest panoptic quality. Where objects are outlined and nothing else
    is known, all other pixels count as a segment of no class; where objects are not told apart,
    stuff alone counts. The instance one has the highest F1 at IoU 0.5, all classes together.

    Args:
        segmenter: gives the masks; its classes are those of the truth.
        examples: read one at a time.
    """
    classes = segmenter.classes
    more = Classes.of([*(f"class {i}" for i in range(len(classes))), "nothing"])
    usual = segmenter.readings.panoptic_threshold
    grid = sorted({*PANOPTIC_GRID, usual})
    qualities = {threshold: PanopticQuality(more) for threshold in grid}
    ranked = MaskAP(classes, keep_matches=True)
    scores: list[NDArray[np.float64]] = []
    right: list[NDArray[np.bool_]] = []
    objects = images = 0
    for example in examples:
        images += 1
        masks = segmenter.for_readings(example.image).to("cpu")
        truth = panoptic_truth(example, classes)
        for threshold, quality in qualities.items():
            quality.update(masks.panoptic(threshold), truth)
        if example.instances is None and example.panoptic is None:
            continue
        things = example.instances
        if things is None and example.panoptic is not None:
            things = example.panoptic.instances(classes.thing_ids)
        matches = ranked.update(masks.instances(threshold=0.0), things or ())
        for found in matches.by_class.values() if matches is not None else ():
            counted = found.right[HALF] | found.wrong[HALF]
            scores.append(found.scores[counted])
            right.append(found.right[HALF][counted])
            objects += found.objects
    pq = {threshold: _mean_pq(quality, len(classes)) for threshold, quality in qualities.items()}
    panoptic = _best(pq, usual)
    f1 = _f1(
        np.concatenate(scores or [np.zeros(0)]),
        np.concatenate(right or [np.zeros(0, bool)]),
        objects,
    )
    instance = _best(f1, segmenter.readings.instance_threshold)
    return Chosen(
        images,
        panoptic,
        pq.get(panoptic or 0, math.nan),
        pq[usual],
        instance,
        f1.get(instance or 0, math.nan),
    )


def panoptic_truth(example: Example, classes: Classes) -> PanopticTruth:
    """The partition of an example, or what can be said of one.

    Pixels of no object have the class behind the last, where truth is a list of objects.
    """
    if example.panoptic is not None:
        return example.panoptic
    if example.instances is not None:
        height, width = example.semantic.shape
        return partition_of_objects(example.instances, (height, width), len(classes), classes)
    return partition_of_map(example.semantic, np.zeros_like(example.semantic), classes)


def _mean_pq(quality: PanopticQuality, classes: int) -> float:
    """Mean over the classes that occur, the one behind the last aside; nan if none does."""
    values = [one.pq for one in quality.per_class()[:classes]]
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _f1(scores: NDArray[np.float64], right: NDArray[np.bool_], objects: int) -> dict[float, float]:
    """F1 of the detections from each threshold on."""
    found = {}
    for threshold in GRID:
        kept = scores >= threshold
        either = int(kept.sum()) + objects
        found[threshold] = 2 * int(np.count_nonzero(right[kept])) / either if either else math.nan
    return found


def _best(values: dict[float, float], usual: float) -> float | None:
    """The threshold of the highest value; of equal ones the nearest to the usual one.

    None if all are 0 or nan.
    """
    known = {threshold: value for threshold, value in values.items() if value > 0}
    if not known:
        return None
    highest = max(known.values())
    best = [threshold for threshold, value in known.items() if value == highest]
    return min(best, key=lambda threshold: abs(threshold - usual))
