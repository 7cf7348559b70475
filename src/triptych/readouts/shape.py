"""Where single queries are positive: their masks, boxes, and how sure they are inside."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.readouts.grid import Canvas, Grid

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Shape:
    """The pixels at which a query's logit is positive; there is at least one."""

    grid: Grid
    tiles: Tensor
    """``(t,)`` int64: those that hold one."""
    inside: Tensor
    """``(t, p * q)`` bool."""
    mean: float
    """Of ``sigmoid(m)`` over them."""
    box: Box
    """``(x0, y0, x1, y1)``, pixel edges."""

    @functools.cached_property
    def mask(self) -> Tensor:
        """``(H, W)`` bool."""
        canvas = Canvas(self.grid, torch.bool)
        canvas.put(self.tiles, self.inside)
        return canvas.image()


def cut_out(grid: Grid, queries: Sequence[int]) -> Mapping[int, Shape]:
    """The shapes of ``queries``, by query; those that are positive nowhere have none."""
    device = grid.device
    numbers = torch.tensor(queries, dtype=torch.long, device=device)
    place, tiles = (grid.bounds[1].T[numbers] > 0).nonzero(as_tuple=True)
    if not len(tiles):
        return {}
    blocks, rows, columns, totals = [], [], [], []
    for some in torch.arange(len(tiles), device=device).split(grid.tiles_at_once):
        logits = grid.upsample(tiles[some], numbers[place[some], None])[:, 0]
        inside = (logits > 0) & grid.valid(tiles[some])
        square = inside.view(-1, *grid.shape[2:])
        rows.append(square.any(2))
        columns.append(square.any(1))
        totals.append(logits.sigmoid_().mul_(inside).sum(1))
        blocks.append(inside)
    inside = torch.cat(blocks)
    sums = numbers.new_zeros(len(queries)).index_add_(0, place, inside.sum(1))
    means = torch.zeros(len(queries), device=device).index_add_(0, place, torch.cat(totals)) / sums
    y, x = grid.places(tiles)
    top, bottom = _extent(place, y, torch.cat(rows), len(queries))
    left, right = _extent(place, x, torch.cat(columns), len(queries))
    table = zip(
        queries,
        sums.tolist(),
        means.tolist(),
        torch.stack((left, top, right, bottom), 1).double().tolist(),
        tiles.split(counts := place.bincount(minlength=len(queries)).tolist()),
        inside.split(counts),
        strict=True,
    )
    return {
        query: Shape(grid, where, what, mean, (box[0], box[1], box[2], box[3]))
        for query, count, mean, box, where, what in table
        if count
    }


def _extent(place: Tensor, block: Tensor, used: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """From the blocks of an axis, and which of their pixels are ``used (L, p)``: first and end."""
    any_, edge = used.any(1), used.shape[1]
    place, start, marks = place[any_], (block * edge)[any_], used[any_].to(torch.uint8)
    first, end = start + marks.argmax(1), start + edge - marks.flip(1).argmax(1)
    least, most = (place.new_full((count,), value) for value in (torch.iinfo(torch.long).max, 0))
    return least.scatter_reduce(0, place, first, "amin"), most.scatter_reduce(0, place, end, "amax")
