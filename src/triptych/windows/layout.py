"""Where the windows of a large image lie."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from triptych.errors import TriptychError

Area = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class Windows:
    """How a large image is cut.

    Raises:
        TriptychError: a number is out of range.
    """

    size: int = 1024
    """Edge of a window in pixels; the network sees one at a time, resized as any image is."""
    overlap: int = 256
    """Pixels that neighbours share, at least: objects are recognised across a seam by them. At
    most half of ``size``."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise TriptychError(f"windows of {self.size} pixels; give a size above 0")
        if not 0 <= 2 * self.overlap <= self.size:
            raise TriptychError(
                f"windows of {self.size} pixels that share {self.overlap}; give an overlap from 0 "
                f"to {self.size // 2}"
            )

    def over(self, image_size: tuple[int, int]) -> list[Window]:
        """The windows of an image ``(H, W)``, row by row; all of one size, as even as possible."""
        rows, columns = (list(self._along(edge)) for edge in image_size)
        return [
            Window((down, across), (core_down, core_across))
            for (down, core_down), (across, core_across) in itertools.product(rows, columns)
        ]

    def _along(self, edge: int) -> Iterator[tuple[slice, slice]]:
        size = min(self.size, edge)
        steps = -(-(edge - size) // (self.size - self.overlap))
        starts = [round(index * (edge - size) / max(steps, 1)) for index in range(steps + 1)]
        # Neighbours meet in the middle of what they share.
        seams = [(later + earlier + size) // 2 for earlier, later in itertools.pairwise(starts)]
        for start, first, end in zip(starts, [0, *seams], [*seams, edge], strict=True):
            yield slice(start, start + size), slice(first, end)


@dataclass(frozen=True)
class Window:
    """One window, in pixels of the image."""

    area: Area
    """What the network sees."""
    core: Area
    """The part of it that is nearer to its middle than to that of any other window; the cores
    share the image among them."""

    @property
    def inner(self) -> Area:
        """The core, counted from the corner of the window."""
        return within(self.core, self.area)


def within(area: Area, outer: Area) -> Area:
    """``area`` counted from the corner of ``outer``."""
    rows, columns = (
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(area, outer, strict=True)
    )
    return rows, columns


def shared(one: Area, other: Area) -> Area | None:
    """The rectangle that two have in common; None where there is none."""
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return rows, columns
