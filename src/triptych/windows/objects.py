"""The instances of a large image from those of its windows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from triptych.readings.instance import Instance, PlacedInstance
from triptych.windows.join import Match, join, pooled
from triptych.windows.layout import Area, Window, shared, within


@dataclass(frozen=True, eq=False)
class ObjectPart:
    """What one window shows of an object."""

    window: int
    area: Area
    """The smallest rectangle round it, in the image."""
    mask: Tensor
    """As large as ``area``, bool."""
    class_id: int
    name: str
    score: float
    prompt: int | None = None

    @classmethod
    def of(cls, window: int, at: Window, instance: Instance) -> ObjectPart:
        """Cut out of its window, so that it keeps no more of it than it needs."""
        rows, columns = (
            slice(part.start + whole.start, part.stop + whole.start)
            for part, whole in zip(instance.area, at.area, strict=True)
        )
        return cls(
            window,
            (rows, columns),
            instance.cut.clone(),
            instance.class_id,
            instance.name,
            instance.score,
            instance.prompt,
        )


def joined(
    windows: Sequence[Window],
    parts: Sequence[ObjectPart],
    size: tuple[int, int],
    *,
    apart: bool = False,
) -> list[Instance]:
    """The objects in an image of ``size (H, W)``, best first; their masks are unions.

    ``apart``: each part is an object of its own.
    """
    matches = () if apart else _matches(windows, parts)
    groups = join([part.window for part in parts], matches)
    found = [_instance([parts[index] for index in group], size) for group in groups]
    return sorted(found, key=lambda instance: -instance.score)


def _matches(windows: Sequence[Window], parts: Sequence[ObjectPart]) -> Iterator[Match]:
    by_window: list[list[int]] = [[] for _ in windows]
    for index, part in enumerate(parts):
        by_window[part.window].append(index)
    for (one, mine), (other, theirs) in itertools.combinations(enumerate(by_window), 2):
        zone = shared(windows[one].area, windows[other].area)
        if zone is None:
            continue
        for a, b in itertools.product(mine, theirs):
            if parts[a].class_id == parts[b].class_id:
                iou, share = _overlap(parts[a], parts[b], zone)
                if iou:
                    yield Match(iou, share, a, b)


def _overlap(one: ObjectPart, other: ObjectPart, zone: Area) -> tuple[float, float]:
    """Of two parts in a rectangle: their intersection over their union, and over the smaller."""
    in_one, in_other = shared(one.area, zone), shared(other.area, zone)
    both = in_one and in_other and shared(in_one, in_other)
    if not (in_one and in_other and both):
        return 0.0, 0.0
    inside = int((one.mask[within(both, one.area)] & other.mask[within(both, other.area)]).sum())
    mine = int(one.mask[within(in_one, one.area)].sum())
    theirs = int(other.mask[within(in_other, other.area)].sum())
    return (inside / (mine + theirs - inside), inside / min(mine, theirs)) if inside else (0.0, 0.0)


def _instance(parts: Sequence[ObjectPart], size: tuple[int, int]) -> Instance:
    first, areas = parts[0], [part.area for part in parts]
    rows, columns = (
        slice(min(span.start for span in spans), max(span.stop for span in spans))
        for spans in zip(*areas, strict=True)
    )
    cut = first.mask.new_zeros(rows.stop - rows.start, columns.stop - columns.start)
    for part in parts:
        cut[within(part.area, (rows, columns))] |= part.mask
    box = float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)
    score = pooled([p.score for p in parts], [int(p.mask.sum()) for p in parts])
    return PlacedInstance(cut, size, first.class_id, first.name, score, box, first.prompt)
