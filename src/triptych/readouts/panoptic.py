"""The panoptic reading: every pixel in at most one segment, things counted, stuff merged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.masks import Classes, MaskSet
from triptych.readouts.components import class_components
from triptych.readouts.fate import Fate
from triptych.readouts.grid import Grid, reading
from triptych.readouts.scores import best_pairs, check_share


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


def read_panoptic(
    mask_set: MaskSet, *, threshold: float = 0.8, overlap: float = 0.8
) -> PanopticMap:
    """Cut the image into segments (Cheng et al., Mask2Former, 2022, and its released code).

    1. A query is kept if its best class is not "no object" and scores above ``threshold``.
    2. A pixel goes to the kept query with the largest ``score * sigmoid(m)``; of equal ones, to
       the first. It is void if that ``sigmoid(m)`` is below one half.
    3. A query's segment stays if its pixels are at least the share ``overlap`` of the pixels at
       which its own ``sigmoid(m)`` is at least one half; otherwise they are void.
    4. Stuff segments of one class merge. Ids follow the order of the queries.

    Masks of a pixel labeller never overlap: its segments are the regions of a stuff class and the
    connected components of a thing class in the semantic map, with the mean softmax probability
    as score; those above ``threshold`` stay, and ``overlap`` has nothing to test.

    Raises:
        TriptychError: logits are not finite, or ``threshold`` or ``overlap`` is not in 0..1.
    """
    return trace_panoptic(mask_set, threshold, overlap)[0]


def trace_panoptic(
    mask_set: MaskSet, threshold: float, overlap: float
) -> tuple[PanopticMap, list[Fate]]:
    """The panoptic map, and what became of each of the ``N`` queries."""
    check_share("threshold", threshold)
    check_share("overlap", overlap)
    with reading(mask_set) as grid:
        if mask_set.competition == "softmax":
            return _from_components(mask_set, grid, threshold)
        labels, scores, is_object = best_pairs(mask_set)
        kept = (is_object & (scores > threshold)).nonzero()[:, 0]
        fates = [Fate.LOW_SCORE if real else Fate.NO_OBJECT for real in is_object.tolist()]
        winner, own_area = _compete(grid, kept, scores[kept])
        won_area = winner.flatten().bincount(minlength=len(kept) + 1)[1:]

        segments: list[Segment] = []
        segment_of = torch.zeros(len(kept) + 1, dtype=torch.int32)
        merged: dict[int, int] = {}
        table = zip(kept.tolist(), won_area.tolist(), own_area.tolist(), strict=True)
        for place, (query, won, own) in enumerate(table, start=1):
            if won == 0:
                fates[query] = Fate.NO_PIXEL
                continue
            if won / own < overlap:  # a division is exact where the share is: 55 of 100 is 0.55
                fates[query] = Fate.OVERLAP
                continue
            fates[query] = Fate.KEPT
            label, score = int(labels[query]), float(scores[query])
            thing = mask_set.classes.is_thing[label]
            if not thing and label in merged:
                at = merged[label]
                old = segments[at]
                segments[at] = _segment(
                    mask_set.classes, at + 1, label, max(score, old.score), old.area + won
                )
            else:
                at = merged[label] = len(segments)
                segments.append(_segment(mask_set.classes, at + 1, label, score, won))
            segment_of[place] = at + 1
        ids = segment_of.to(winner.device).index_select(0, winner.flatten()).view(grid.size)
        return PanopticMap(ids, tuple(segments), mask_set.classes), fates


def _segment(classes: Classes, number: int, label: int, score: float, area: int) -> Segment:
    return Segment(number, label, classes.names[label], classes.is_thing[label], score, area)


def _compete(grid: Grid, kept: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Let the kept queries compete for the pixels.

    Returns:
        ``(H, W)`` int64, 0 for void or 1 + the winner's place in ``kept``; and the number of
        pixels at which each one's own ``sigmoid(m)`` is at least one half, ``(len(kept),)``.
    """
    winner = torch.zeros(grid.size, dtype=torch.long, device=grid.device)
    own_area = torch.zeros(len(kept), dtype=torch.long, device=grid.device)
    if not len(kept):
        return winner, own_area
    for rows, strip in grid.only(kept).strips():
        low, high = (strip.windows(strip.masks, f) for f in (torch.minimum, torch.maximum))
        factor = scores[:, None, None]
        floor, leader = (factor * low.sigmoid()).max(0)
        contender = factor * high.sigmoid() >= floor
        # sigmoid(m) >= 1/2 is m >= 0, without the rounding of the sigmoid.
        inside, edge = low >= 0, (low < 0) & (high >= 0)
        # A window needs no closer look if no mask ends in it, and either nobody disputes the
        # leader or no contender covers it: then it is void.
        disputed = (contender.sum(0) > 1) & (contender & inside).any(0)
        unsure = disputed | edge.any(0)
        own_area += (inside * (strip.areas() * ~unsure)).sum((1, 2))
        covered = inside.gather(0, leader[None])[0]
        strip_winner = strip.spread((leader + 1) * covered).flatten()
        for places, logits in strip.pixels(unsure):
            positive = logits >= 0
            own_area += positive.sum(0)
            best = (logits.sigmoid_() * scores).max(1).indices[:, None]
            strip_winner[places] = ((best + 1) * positive.gather(1, best))[:, 0]
        winner[rows] = strip_winner.view(-1, winner.shape[1])
    return winner, own_area


def _from_components(
    mask_set: MaskSet, grid: Grid, threshold: float
) -> tuple[PanopticMap, list[Fate]]:
    ids = torch.zeros(grid.size, dtype=torch.int32, device=grid.device)
    fates = [Fate.NO_PIXEL] * len(mask_set)
    segments: list[Segment] = []
    for part in class_components(grid, split=mask_set.classes.is_thing):
        if part.score > threshold:
            number = len(segments) + 1
            ids[part.window][part.mask] = number
            area = int(part.mask.sum())
            segments.append(_segment(mask_set.classes, number, part.class_id, part.score, area))
            fates[part.class_id] = Fate.KEPT
        elif fates[part.class_id] is Fate.NO_PIXEL:
            fates[part.class_id] = Fate.LOW_SCORE
    return PanopticMap(ids, tuple(segments), mask_set.classes), fates
