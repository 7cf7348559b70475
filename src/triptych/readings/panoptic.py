"""The panoptic reading: every pixel in at most one segment, things counted, stuff merged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.classes import Classes
from triptych.readings.components import class_components
from triptych.readings.contest import compete
from triptych.readings.grid import Grid, blank, reading
from triptych.readings.masks import Masks
from triptych.readings.outcome import Outcome, by_mask
from triptych.readings.scores import best_pairs
from triptych.readings.settings import ReadingSettings


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map."""

    id: int
    """Its value in the map, 1 and up."""
    class_id: int
    name: str
    is_thing: bool
    score: float
    """0 to 1. Of a stuff segment merged from several queries: the highest of theirs."""
    area: int
    """Pixels."""


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """Segments that do not overlap, and the pixels that belong to none."""

    ids: Tensor
    """``(H, W)`` int32: 0 void, otherwise the ``id`` of one of the segments."""
    segments: tuple[Segment, ...]
    """In the order of their ids, which run from 1 without gaps."""
    classes: Classes


def read_panoptic(mask_set: Masks, settings: ReadingSettings | None = None) -> PanopticMap:
    """Cut the image into segments (MaskFormer, Cheng et al., 2021, section 3.4, and its code).

    1. A query takes part if its best class is not "no object" and scores above
       ``panoptic_threshold``.
    2. A pixel is *won* by the query with the largest ``score * sigmoid(m)``; of equal ones, by the
       first. A query's *own* pixels are those with ``sigmoid(m) >= 1/2``.
    3. Its segment gets the won pixels that are its own (Mask2Former), or all won pixels
       (MaskFormer): ``segment_pixels``. It is dropped if it has no such
       pixel, if the query has no own pixel, or if won / own is below ``overlap``. Faint won pixels
       count, so the ratio can exceed 1. Pixels of a dropped segment are void. (The test itself is
       ``passes_overlap`` in :mod:`triptych.readings.contest`.)
    4. Stuff segments of one class merge. Ids follow the order of the queries.

    The settings are the mask set's own by default.

    Masks of a pixel labeller never overlap: its segments are the regions of a stuff class and the
    connected components of a thing class in the semantic map, with the mean softmax probability
    as score; those above the threshold stay, and ``overlap`` has nothing to test. Pixels of none
    of its classes (regrouped ones) are void.

    Raises:
        TriptychError: the masks have no classes (a promptable network), or logits are not finite.
    """
    return trace_panoptic(mask_set, settings or mask_set.readings)[0]


def trace_panoptic(mask_set: Masks, settings: ReadingSettings) -> tuple[PanopticMap, list[Outcome]]:
    """The panoptic map, and what became of each of the ``N`` queries."""
    mask_set.require("panoptic")
    threshold = settings.panoptic_threshold
    with reading(mask_set) as grid:
        if mask_set.competition == "softmax":
            return _from_components(mask_set, grid, threshold)
        labels, scores, is_object = best_pairs(mask_set)
        taking_part = (is_object & (scores > threshold)).nonzero()[:, 0]
        outcomes = [Outcome.LOW_SCORE if real else Outcome.NO_OBJECT for real in is_object.tolist()]
        contest = compete(
            grid.only(taking_part), scores[taking_part], settings.overlap, settings.segment_pixels
        )
        segments: list[Segment] = []
        segment_of = torch.zeros(len(taking_part) + 1, dtype=torch.int32, device="cpu")
        merged: dict[int, int] = {}
        table = zip(
            taking_part.tolist(), contest.pixels.tolist(), contest.stays.tolist(), strict=True
        )
        for place, (query, area, stays) in enumerate(table, start=1):
            if not stays:
                outcomes[query] = Outcome.OVERLAP if area else Outcome.NO_PIXEL
                continue
            outcomes[query] = Outcome.KEPT
            label, score = int(labels[query]), float(scores[query])
            thing = mask_set.classes.is_thing[label]
            if not thing and label in merged:
                at = merged[label]
                old = segments[at]
                segments[at] = _segment(
                    mask_set.classes, at + 1, label, max(score, old.score), old.area + area
                )
            else:
                at = merged[label] = len(segments)
                segments.append(_segment(mask_set.classes, at + 1, label, score, area))
            segment_of[place] = at + 1
        ids = contest.paint(segment_of.to(grid.device))
        return PanopticMap(ids, tuple(segments), mask_set.classes), outcomes


def _segment(classes: Classes, number: int, label: int, score: float, area: int) -> Segment:
    return Segment(number, label, classes.names[label], classes.is_thing[label], score, area)


def _from_components(
    mask_set: Masks, grid: Grid, threshold: float
) -> tuple[PanopticMap, list[Outcome]]:
    ids = blank(grid.size, torch.int32, grid.device)
    outcomes = [Outcome.NO_PIXEL] * len(mask_set.classes)
    segments: list[Segment] = []
    for part in class_components(grid, mask_set.classes.is_thing, mask_set.groups):
        if part.score > threshold:
            number = len(segments) + 1
            ids[part.window][part.mask] = number
            area = int(part.mask.sum())
            segments.append(_segment(mask_set.classes, number, part.class_id, part.score, area))
            outcomes[part.class_id] = Outcome.KEPT
        elif outcomes[part.class_id] is Outcome.NO_PIXEL:
            outcomes[part.class_id] = Outcome.LOW_SCORE
    found = PanopticMap(ids, tuple(segments), mask_set.classes)
    return found, by_mask(outcomes, mask_set.groups)
