"""What it takes to make one panoptic map of a class map and a list of objects."""

from __future__ import annotations

import torch

from triptych.readings.instance import Instances
from triptych.readings.panoptic import PanopticMap, Segment
from triptych.readings.semantic import SemanticMap

MIN_STUFF = 64
"""Pixels below which a stuff region is dropped."""


def merge(
    semantic: SemanticMap, instances: Instances, threshold: float = 0.5, visible: float = 0.5
) -> PanopticMap:
    """Objects first, the surest on top; what they leave is stuff (Kirillov et al. 2019, section 7).

    Args:
        semantic: of one network.
        instances: of another; their classes have the same names.
        threshold: score below which objects are not taken.
        visible: share of an object that must not be covered by surer ones.
    """
    classes = semantic.classes
    ids = torch.zeros_like(semantic.ids, dtype=torch.int32)
    segments: list[Segment] = []

    def add(mask: torch.Tensor, class_id: int, score: float) -> None:
        number, name = len(segments) + 1, classes.names[class_id]
        ids[mask] = number
        thing, area = classes.is_thing[class_id], int(mask.sum())
        segments.append(Segment(number, class_id, name, thing, score, area))

    sure = [one for one in instances if one.score >= threshold]
    for one in sorted(sure, key=lambda one: -one.score):
        free = one.mask & (ids == 0)
        if free.sum() > visible * one.mask.sum():
            add(free, classes.index(one.name), one.score)
    for class_id in classes.stuff_ids:
        free = (semantic.ids == class_id) & (ids == 0)
        if free.sum() >= MIN_STUFF:
            add(free, class_id, 1.0)
    return PanopticMap(ids, tuple(segments), classes)
