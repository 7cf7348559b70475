"""Where single queries are positive: their masks, boxes, and how sure they are inside."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.readings.grid import Canvas, Grid

DRAWN_AT_ONCE = 1 << 20
"""Bytes of masks that are made together: one call for each would take longer."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Shape:
    """The pixels at which a query's logit is positive; there is at least one."""

    grid: Grid
    full: tuple[Tensor, Tensor]
    """Rows and columns of the tiles that lie inside."""
    edges: tuple[Tensor, Tensor]
    """Rows and columns of the ``t`` tiles that may lie inside in part."""
    inside: Tensor
    """``(t, p * q)`` bool: their pixels."""
    mean: float
    """Of ``sigmoid(m)`` over them."""
    box: Box
    """``(x0, y0, x1, y1)``, pixel edges."""
    drawn: Tensor | None = None
    """``(H, W)`` bool, where all shapes were drawn at once."""

    @functools.cached_property
    def mask(self) -> Tensor:
        """``(H, W)`` bool."""
        if self.drawn is not None:
            return self.drawn
        canvas = Canvas(self.grid, torch.bool)
        canvas.put_at(self.full, torch.ones((), dtype=torch.bool, device=self.grid.device))
        canvas.put_at(self.edges, self.inside)
        return canvas.image()


def cut_out(grid: Grid, queries: Sequence[int]) -> Mapping[int, Shape]:
    """The shapes of ``queries``, by query; those that are positive nowhere have none."""
    device = grid.device
    numbers = torch.tensor(queries, dtype=torch.long, device=device)
    low, high = (bound.T for bound in grid.bounds_of(numbers))
    count = _Count(grid, len(queries))
    full = (low > 0).nonzero(as_tuple=True)
    for place, tiles in _split(full, grid.tiles_at_once):
        count.full(place, tiles, grid.upsample(tiles, numbers[place, None])[:, 0])
    edges = ((low <= 0) & (high > 0)).nonzero(as_tuple=True)
    inside = [
        count.edge(place, tiles, grid.upsample(tiles, numbers[place, None])[:, 0])
        for place, tiles in _split(edges, grid.tiles_at_once)
    ]
    if not inside and not len(full[0]):
        return {}
    blocks = torch.cat(inside) if inside else torch.zeros(0, 0, dtype=torch.bool, device=device)
    means = count.total / count.pixels
    drawn = _drawn(grid, len(queries), full, edges, blocks)
    table = zip(
        queries,
        count.pixels.tolist(),
        means.tolist(),
        torch.stack((count.first[1], count.first[0], count.end[1], count.end[0]), 1).tolist(),
        _by_query(full[0], *grid.places(full[1]), count=len(queries)),
        _by_query(edges[0], *grid.places(edges[1]), blocks, count=len(queries)),
        drawn if drawn is not None else [None] * len(queries),
        strict=True,
    )
    return {
        query: Shape(grid, (y, x), (down, across), block, mean, tuple(box), mask)
        for query, pixels, mean, box, (y, x), (down, across, block), mask in table
        if pixels
    }


def _drawn(
    grid: Grid,
    count: int,
    full: tuple[Tensor, ...],
    edges: tuple[Tensor, ...],
    inside: Tensor,
) -> Tensor | None:
    """``(n, H, W)`` bool: all shapes of a small image, in three calls; None for a large one."""
    height, width = grid.size
    if count * height * width > DRAWN_AT_ONCE:
        return None
    down, across, high, wide = grid.shape
    masks = torch.zeros((count, down, across, high, wide), dtype=torch.bool, device=grid.device)
    masks[full[0], *grid.places(full[1])] = True
    masks[edges[0], *grid.places(edges[1])] = inside.view(-1, high, wide)
    whole = masks.transpose(2, 3).reshape(count, down * high, across * wide)
    return whole[:, :height, :width].contiguous()


class _Count:
    """Pixels, probabilities and extents of ``n`` shapes, added up tile by tile."""

    def __init__(self, grid: Grid, shapes: int) -> None:
        self.grid = grid
        self.areas = grid.areas()
        self.pixels = torch.zeros(shapes, dtype=torch.float64, device=grid.device)
        self.total = torch.zeros(shapes, dtype=torch.float64, device=grid.device)
        """``(n,)``: the sum of ``sigmoid(m)``."""
        size = torch.tensor(grid.size, dtype=torch.float64, device=grid.device)[:, None]
        self.first, self.end = size.repeat(1, shapes), torch.zeros_like(size).repeat(1, shapes)
        """``(2, n)``: rows, then columns."""

    def full(self, place: Tensor, tiles: Tensor, logits: Tensor) -> None:
        """Add tiles that lie in their shapes: ``(t,)``, ``(t,)`` and ``(t, p * q)``."""
        probable = logits.sigmoid_()
        cut = (self.areas[tiles] < logits.shape[1]).nonzero()[:, 0]  # at the image's border
        probable[cut] *= self.grid.valid(tiles[cut])
        self.total.index_add_(0, place, probable.sum(1).double())
        self.pixels.index_add_(0, place, self.areas[tiles].double())
        for axis, at, edge, end in self._axes(tiles):
            self._extend(axis, place, at * edge, (at * edge + edge).clamp(max=end))

    def edge(self, place: Tensor, tiles: Tensor, logits: Tensor) -> Tensor:
        """Add tiles that lie in their shapes in part, and say with which pixels, bool."""
        # As numbers, not as bool: those are summed many at a time.
        inside = torch.heaviside(logits, torch.zeros((), dtype=logits.dtype, device=logits.device))
        cut = (self.areas[tiles] < logits.shape[1]).nonzero()[:, 0]
        inside[cut] *= self.grid.valid(tiles[cut])
        self.total.index_add_(0, place, logits.sigmoid_().mul_(inside).sum(1).double())
        self.pixels.index_add_(0, place, inside.sum(1).double())
        square = inside.view(-1, *self.grid.shape[2:])
        for axis, at, edge, _ in self._axes(tiles):
            used = square.amax(2 - axis)
            some = used.amax(1) > 0
            marks, start = used[some], at[some] * edge
            end = start + edge - marks.flip(1).argmax(1)
            self._extend(axis, place[some], start + marks.argmax(1), end)
        return inside.bool()

    def _axes(self, tiles: Tensor) -> Iterator[tuple[int, Tensor, int, int]]:
        """For rows and columns: place of the tiles, pixels of one, and pixels of the image."""
        places, edges = self.grid.places(tiles), self.grid.shape[2:]
        return zip(range(2), places, edges, self.grid.size, strict=True)

    def _extend(self, axis: int, place: Tensor, first: Tensor, end: Tensor) -> None:
        self.first[axis].scatter_reduce_(0, place, first.double(), "amin")
        self.end[axis].scatter_reduce_(0, place, end.double(), "amax")


def _split(pairs: tuple[Tensor, ...], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of pairs of a query's place and a tile."""
    place, tiles = pairs
    return zip(place.split(size), tiles.split(size), strict=True) if len(tiles) else iter(())


def _by_query(place: Tensor, *values: Tensor, count: int) -> Iterator[tuple[Tensor, ...]]:
    """Cut what is sorted by the place of the query."""
    sizes = place.bincount(minlength=count).tolist()
    return zip(*(some.split(sizes) for some in values), strict=True)
