"""The panoptic reading: every pixel in at most one segment, things counted, stuff merged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.masks import Classes, MaskSet
from triptych.readouts.components import class_components
from triptych.readouts.fate import Fate
from triptych.readouts.grid import Canvas, Grid, blank, reading
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
    mask_set: MaskSet, *, threshold: float = 0.8, overlap: float | None = None
) -> PanopticMap:
    """Cut the image into segments (Cheng et al., Mask2Former, 2022, and its released code).

    1. A query is kept if its best class is not "no object" and scores above ``threshold``.
    2. A pixel goes to the kept query with the largest ``score * sigmoid(m)``; of equal ones, to
       the first. It is void if that ``sigmoid(m)`` is below one half.
    3. A query's segment stays if its pixels are at least the share ``overlap`` of the pixels at
       which its own ``sigmoid(m)`` is at least one half; otherwise they are void. By default it
       is the mask set's own, which is 0.8 unless the checkpoint asks for another.
    4. Stuff segments of one class merge. Ids follow the order of the queries.

    Masks of a pixel labeller never overlap: its segments are the regions of a stuff class and the
    connected components of a thing class in the semantic map, with the mean softmax probability
    as score; those above ``threshold`` stay, and ``overlap`` has nothing to test.

    Raises:
        TriptychError: logits are not finite, or ``threshold`` or ``overlap`` is not in 0..1.
    """
    return trace_panoptic(mask_set, threshold, overlap)[0]


def trace_panoptic(
    mask_set: MaskSet, threshold: float, overlap: float | None
) -> tuple[PanopticMap, list[Fate]]:
    """The panoptic map, and what became of each of the ``N`` queries."""
    overlap = mask_set.overlap if overlap is None else overlap
    check_share("threshold", threshold)
    check_share("overlap", overlap)
    with reading(mask_set) as grid:
        if mask_set.competition == "softmax":
            return _from_components(mask_set, grid, threshold)
        labels, scores, is_object = best_pairs(mask_set)
        kept = (is_object & (scores > threshold)).nonzero()[:, 0]
        fates = [Fate.LOW_SCORE if real else Fate.NO_OBJECT for real in is_object.tolist()]
        contest = _compete(grid.only(kept), scores[kept])

        segments: list[Segment] = []
        segment_of = torch.zeros(len(kept) + 1, dtype=torch.int32)
        merged: dict[int, int] = {}
        table = zip(kept.tolist(), contest.won.tolist(), contest.own.tolist(), strict=True)
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
        segment_of = segment_of.to(grid.device)
        canvas = Canvas(grid, torch.int32)
        canvas.fill(segment_of[contest.winner])
        for tiles, winners in contest.shared:
            canvas.put(tiles, segment_of[winners.long()])
        return PanopticMap(canvas.image(), tuple(segments), mask_set.classes), fates


def _segment(classes: Classes, number: int, label: int, score: float, area: int) -> Segment:
    return Segment(number, label, classes.names[label], classes.is_thing[label], score, area)


@dataclass(frozen=True, eq=False)
class _Contest:
    """Who won which pixels. Winners are 0 for void, or 1 + the place of the query."""

    winner: Tensor
    """``(T,)`` int64, of each tile; 0 where several share it."""
    shared: list[tuple[Tensor, Tensor]]
    """Tiles that several share, ``(t,)``, and the winner of each pixel, ``(t, p * q)`` int32."""
    won: Tensor
    """``(A,)`` int64: pixels that each query won."""
    own: Tensor
    """``(A,)`` int64: pixels at which each query's own ``sigmoid(m)`` is at least one half."""


def _compete(grid: Grid, scores: Tensor) -> _Contest:
    """Let the queries compete for the pixels; ``scores (A,)``."""
    count, areas = len(scores), grid.areas()
    winner, won, own = torch.zeros_like(areas), areas.new_zeros(count + 1), areas.new_zeros(count)
    shared: list[tuple[Tensor, Tensor]] = []
    if not count:
        return _Contest(winner, shared, won[1:], own)
    least, most = grid.bounds
    for band in grid.bands(4 * count):
        low, high = least[band], most[band]
        floor, leader = (low.sigmoid() * scores).max(1, keepdim=True)
        contender = high.sigmoid() * scores >= floor
        # sigmoid(m) >= 1/2 is m >= 0, without the rounding of the sigmoid.
        inside, edge = low >= 0, (low < 0) & (high >= 0)
        # A tile needs no closer look if no mask ends in it, and either nobody disputes the leader
        # or no contender covers it: then it is void.
        disputed = (contender.sum(1) > 1) & (contender & inside).any(1)
        unsure = disputed | edge.any(1)
        winner[band] = ((leader + 1) * inside.gather(1, leader))[:, 0] * ~unsure
        won.index_add_(0, winner[band], areas[band])
        own += (inside * areas[band][:, None]).sum(0)
        some = unsure.nonzero()[:, 0]
        edge = edge[some]
        for part in grid.parts(band[some], edge | contender[some]):
            valid = grid.valid(part.tiles)
            positive = (part.logits >= 0) & part.present[:, :, None]
            counts = (positive & valid[:, None]).sum(2) * edge[part.index].gather(1, part.queries)
            own.index_add_(0, part.queries.flatten(), counts.flatten())
            values = part.logits.sigmoid_() * (scores[part.queries] * part.present)[:, :, None]
            best = values.max(1, keepdim=True).indices
            label = (part.queries.gather(1, best[:, 0]) + 1) * positive.gather(1, best)[:, 0]
            won += (label * valid).flatten().bincount(minlength=count + 1)
            shared.append((part.tiles, label.int()))
    return _Contest(winner, shared, won[1:], own)


def _from_components(
    mask_set: MaskSet, grid: Grid, threshold: float
) -> tuple[PanopticMap, list[Fate]]:
    ids = blank(grid.size, torch.int32, grid.device)
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
