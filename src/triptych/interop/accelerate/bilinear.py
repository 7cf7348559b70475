"""Bilinear resizing to the last bit of what torch computes, at the pixels that matter alone.

transformers resizes all masks to the size of the image and then keeps, of each pixel, the largest.
Most of an image is not in question: a resized value lies between its four neighbours, so bounds of
a tile's source pixels tell which masks can win anywhere in it. The others need no resizing. What
is in question is computed as torch does, operation by operation, so that ties and roundings fall
the same way.

Letters: C planes of ``h x w``, an image of ``H x W``, tiles of :data:`TILE` pixels a side.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 16
"""Pixels of a tile's side."""

CHUNK = 1024
"""Tiles whose values are computed at once: 1 MiB."""

_SLACK = 2e-6
"""By how much, of the largest absolute value, roundings may take a value out of its bounds."""

_SMALL = 128
"""Height and width, added, up to which torch takes another kernel."""


def resize(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """``(C, h, w)`` to ``(C, H, W)`` as transformers resizes: all of it."""
    return F.interpolate(planes[None], size=size, mode="bilinear", align_corners=False)[0]


@dataclass(frozen=True)
class _Axis:
    """How the pixels of one side of the image lie between those of the planes."""

    low: Tensor
    """``(tiles, TILE)`` int64: the neighbour before a pixel."""
    high: Tensor
    """The neighbour behind it."""
    low_share: Tensor
    """``(tiles, TILE)`` float32: how much of the former a pixel has."""
    high_share: Tensor
    """How much of the latter."""
    source: Tensor
    """``(tiles, m)`` int64: all that a tile looks at; the last one again where it has fewer."""
    pixels: Tensor
    """``(tiles,)`` int64: how many pixels of the image a tile has."""


def _axis(inner: int, outer: int, fused: bool) -> _Axis:
    where = torch.arange(outer, dtype=torch.float32, device="cpu") + 0.5
    scale = torch.tensor(inner, dtype=torch.float32, device="cpu") / outer
    # Fused: one rounding for the product and the difference.
    place = (scale.double() * where.double() - 0.5).float() if fused else scale * where - 0.5
    place = place.clamp_(min=0)
    low = place.floor().long().clamp_(max=inner - 1)
    share = (place - low).clamp_(0, 1)
    high = (low + 1).clamp_(max=inner - 1)
    count = -(-outer // TILE)
    index = torch.arange(count * TILE, dtype=torch.long, device="cpu").clamp_(max=outer - 1)
    low, high, share = (each[index].view(count, TILE) for each in (low, high, share))
    most = int((high[:, -1] - low[:, 0]).max()) + 1
    source = low[:, :1] + torch.arange(most, dtype=torch.long, device="cpu")
    pixels = torch.full((count,), TILE, dtype=torch.long, device="cpu")
    pixels[-1] = outer - (count - 1) * TILE
    return _Axis(low, high, 1 - share, share, source.minimum(high[:, -1:]), pixels)


class Resized:
    """Planes ``(C, h, w)`` at ``(H, W)``, each times its factor, without computing all of them.

    Args:
        planes: float32 and finite, on the CPU.
        size: ``(H, W)``; None for planes that stay as they are.
        factors: ``(C,)`` float32, above 0; None for none.
    """

    def __init__(
        self, planes: Tensor, size: tuple[int, int] | None, factors: Tensor | None = None
    ) -> None:
        self.planes, self.factors = planes, factors
        self._whole: Tensor | None = None
        self._fused = _is_fused() or False
        if size is None or not _can_tile(planes, size):
            whole = planes if size is None else resize(planes, size)
            self._whole = whole if factors is None else whole * factors.view(-1, 1, 1)
            return
        self.size = size
        self._down, self._across = (
            _axis(inner, outer, self._fused)
            for inner, outer in zip(planes.shape[1:], size, strict=True)
        )
        highest, lowest = _extremes(planes, self._down.source, self._across.source)
        if factors is not None:
            highest, lowest = highest * factors.view(-1, 1, 1), lowest * factors.view(-1, 1, 1)
        slack = _SLACK * highest.abs().maximum(lowest.abs()) + torch.finfo(torch.float32).tiny
        self._upper, self._lower = highest + slack, lowest - slack

    def argmax(self) -> Tensor:
        """The plane that is largest at each pixel, the first of equal ones: ``(H, W)`` int64."""
        if self._whole is not None:
            return self._whole.argmax(0)
        can_win = self._upper >= self._lower.amax(0)
        counts = can_win.sum(0)
        rows, columns = counts.shape
        first = can_win.int().argmax(0)
        labels = first[:, None, :, None].expand(-1, TILE, -1, TILE).contiguous()
        by_tile = labels.permute(0, 2, 1, 3)
        # Those with most planes in question first: of each rank of planes they are the beginning.
        order = counts.flatten().argsort(descending=True)
        order = order[: int((counts > 1).sum())]
        for some in (order[part] for part in _chunks(len(order))):
            row, column = some // columns, some % columns
            planes = can_win[:, row, column].T.nonzero()[:, 1]
            ends = counts[row, column].cumsum(0)
            by_tile[row, column] = self._contest(planes, ends, row, column)
        return labels.view(rows * TILE, -1)[: self.size[0], : self.size[1]].contiguous()

    def _contest(self, planes: Tensor, ends: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Labels ``(n, TILE, TILE)`` of tiles; ``planes`` are those in question, tile by tile."""
        counts = ends.diff(prepend=ends.new_zeros(1))
        starts = ends - counts
        label = planes[starts][:, None, None].expand(-1, TILE, TILE).contiguous()
        best = self._values(planes[starts], row, column)
        for rank in range(1, int(counts[0])):
            n = int((counts > rank).sum())
            plane = planes[starts[:n] + rank]
            value = self._values(plane, row[:n], column[:n])
            better = value > best[:n]
            best[:n] = torch.where(better, value, best[:n])
            label[:n] = torch.where(better, plane[:, None, None], label[:n])
        return label

    def count_at_least(self, threshold: float, which: list[int]) -> Tensor:
        """At how many pixels some planes are ``threshold`` or more: int64, one each."""
        if self._whole is not None:
            return (self._whole[which] >= threshold).sum((1, 2))
        upper, lower = self._upper[which], self._lower[which]
        sure = lower >= threshold
        areas = self._down.pixels[:, None] * self._across.pixels
        counts = (sure * areas).sum((1, 2))
        inside = torch.arange(TILE, dtype=torch.long, device="cpu")
        plane, row, column = ((upper >= threshold) & ~sure).nonzero().unbind(1)
        names = torch.tensor(which, dtype=torch.long, device="cpu")
        for some in _chunks(len(plane)):
            p, r, c = plane[some], row[some], column[some]
            there = self._values(names[p], r, c) >= threshold
            there &= (inside < self._down.pixels[r, None])[:, :, None]
            there &= (inside < self._across.pixels[c, None])[:, None]
            counts.index_add_(0, p, there.sum((1, 2)))
        return counts

    def _values(self, plane: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """The values of one plane in each of some tiles, ``(n, TILE, TILE)``."""
        down, across = self._down, self._across
        p, r = plane[:, None, None], down.source[row][:, :, None]
        left = self.planes[p, r, across.low[column][:, None]]
        right = self.planes[p, r, across.high[column][:, None]]
        lines = self._mix(left, right, across.low_share[column], across.high_share[column], 1)
        start = down.source[row][:, :1]
        tile = torch.arange(len(plane), dtype=torch.long, device="cpu")[:, None]
        above = lines[tile, down.low[row] - start]
        below = lines[tile, down.high[row] - start]
        values = self._mix(above, below, down.low_share[row], down.high_share[row], 2)
        return values if self.factors is None else values.mul_(self.factors[p])

    def _mix(self, first: Tensor, second: Tensor, share: Tensor, other: Tensor, dim: int) -> Tensor:
        """Between two neighbours; fused, the first product and the sum are rounded once."""
        product = second * other.unsqueeze(dim)
        if self._fused:
            return torch.addcmul(product, first, share.unsqueeze(dim))
        return product.add_(first * share.unsqueeze(dim))


def _extremes(planes: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """The largest and the smallest value that each tile looks at, each ``(C, rows, columns)``."""
    found = []
    for reduce in (torch.amax, torch.amin):
        lines = torch.stack([reduce(planes[:, each[0] : each[-1] + 1], 1) for each in rows], 1)
        found.append(torch.stack([reduce(lines[..., c[0] : c[-1] + 1], 2) for c in columns], 2))
    return found[0], found[1]


def _chunks(length: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, length, CHUNK))


def _can_tile(planes: Tensor, size: tuple[int, int]) -> bool:
    """Whether torch resizes by the kernel that is followed here, and it is worth it."""
    count, height, width = planes.shape
    return (
        count not in (2, 3)  # of which torch makes pixels of so many channels
        and planes.is_contiguous()
        and sum(size) > _SMALL
        and size[0] * 2 >= height > 1
        and size[1] * 2 >= width > 1
        and _is_fused() is not None
    )


@functools.cache
def _is_fused() -> bool | None:
    """Whether torch fuses products and sums as it resizes on this processor.

    None if it computes in neither way that is known here: nothing is tiled then.
    """
    generator = torch.Generator(device="cpu").manual_seed(0)
    planes = torch.rand(4, 37, 50, generator=generator, dtype=torch.float32, device="cpu")
    wanted = resize(planes, (101, 171))
    resized = Resized.__new__(Resized)
    resized.planes, resized.factors = planes, None
    for fused in (True, False):
        resized._fused = fused
        resized._down, resized._across = _axis(37, 101, fused), _axis(50, 171, fused)
        down, across = len(resized._down.pixels), len(resized._across.pixels)
        rows: Any = {"dtype": torch.long, "device": "cpu"}
        every = torch.cartesian_prod(*(torch.arange(n, **rows) for n in (4, down, across)))
        values = resized._values(*every.unbind(1)).view(4, down, across, TILE, TILE)
        whole = values.transpose(2, 3).reshape(4, down * TILE, across * TILE)
        if torch.equal(whole[:, :101, :171], wanted):
            return fused
    return None
