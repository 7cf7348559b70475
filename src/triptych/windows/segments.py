"""The panoptic map of a large image from those of its windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.classes import Classes
from triptych.readings.panoptic import PanopticMap, Segment
from triptych.windows.join import Match, join, pooled
from triptych.windows.layout import Window, shared, within

ROWS = 256
"""Rows of the map that are worked on at a time."""


@dataclass(frozen=True)
class _Part:
    """A segment of a window."""

    window: int
    segment: Segment


def assembled(
    maps: Iterable[tuple[Window, PanopticMap]], size: tuple[int, int], classes: Classes
) -> PanopticMap:
    """One map ``size (H, W)``: each pixel from the window in whose core it lies.

    Things are joined across seams, stuff by its class. A map is let go as soon as no later window
    shares pixels with it.
    """
    ids = torch.zeros(0, dtype=torch.int32, device="cpu")
    parts: list[_Part] = []
    matches: list[Match] = []
    live: list[tuple[Window, Tensor, int]] = []
    for number, (window, found) in enumerate(maps):
        if not number:
            ids = torch.zeros(size, dtype=torch.int32, device=found.ids.device)
        offset = len(parts)
        parts += [_Part(number, segment) for segment in found.segments]
        live = [entry for entry in live if entry[0].area[0].stop > window.area[0].start]
        for earlier, their_ids, their_offset in live:
            matches += _matches(
                (earlier, their_ids, their_offset), (window, found.ids, offset), parts
            )
        live.append((window, found.ids, offset))
        inner = found.ids[window.inner]
        ids[window.core] = torch.where(inner > 0, inner + offset, 0)
    return _numbered(ids, parts, _groups(parts, matches), classes)


def _matches(
    one: tuple[Window, Tensor, int], other: tuple[Window, Tensor, int], parts: list[_Part]
) -> Iterator[Match]:
    """Pairs of things of one class that meet in what two windows share."""
    (first, a, start), (second, b, begin) = one, other
    zone = shared(first.area, second.area)
    if zone is None:
        return
    a, b = a[within(zone, first.area)].long(), b[within(zone, second.area)].long()
    across = int(b.max()) + 1
    table = (a * across + b).flatten().bincount(minlength=(int(a.max()) + 1) * across)
    table = table.view(-1, across)
    rows, columns = table.sum(1, keepdim=True), table.sum(0)
    common = table.float()
    iou, part = common / (rows + columns - table), common / torch.minimum(rows, columns)
    for i, j in table[1:, 1:].nonzero().tolist():
        mine, theirs = parts[start + i].segment, parts[begin + j].segment
        if mine.is_thing and mine.class_id == theirs.class_id:
            at = i + 1, j + 1
            yield Match(float(iou[at]), float(part[at]), start + i, begin + j)


def _groups(parts: list[_Part], matches: list[Match]) -> list[list[int]]:
    """The parts of each segment of the whole image, by their first part."""
    groups, stuff = [], dict[int, list[int]]()
    for group in join([part.window for part in parts], matches):
        segment = parts[group[0]].segment
        if segment.is_thing:
            groups.append(group)
        elif segment.class_id in stuff:
            stuff[segment.class_id] += group
        else:
            groups.append(group)
            stuff[segment.class_id] = group
    return groups


def _numbered(
    ids: Tensor, parts: list[_Part], groups: list[list[int]], classes: Classes
) -> PanopticMap:
    """Give segments their final ids, 1 and up without gaps; those that kept no pixel have none."""
    area = torch.zeros(len(parts) + 1, dtype=torch.long, device=ids.device)
    for rows in ids.split(ROWS):
        area += rows.flatten().bincount(minlength=len(area))
    areas, segments = area.tolist(), list[Segment]()
    final = torch.zeros(len(parts) + 1, dtype=torch.int32, device="cpu")
    for group in groups:
        kept = sum(areas[part + 1] for part in group)
        if not kept:
            continue
        members = [parts[part].segment for part in group]
        first, scores = members[0], [segment.score for segment in members]
        score = (
            pooled(scores, [segment.area for segment in members]) if first.is_thing else max(scores)
        )
        number = len(segments) + 1
        final[torch.tensor(group, dtype=torch.long, device="cpu") + 1] = number
        segments.append(Segment(number, first.class_id, first.name, first.is_thing, score, kept))
    final = final.to(ids.device)
    for rows in ids.split(ROWS):
        rows.copy_(final[rows.long()])
    return PanopticMap(ids, tuple(segments), classes)
