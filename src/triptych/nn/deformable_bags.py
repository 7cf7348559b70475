"""Deformable sampling on a CPU: weighted sums over bags of table rows.

One image's values of all cells and heads are a table of ``S * heads`` rows of ``D`` numbers. What
a query's head reads is then a bag of ``L * P * 4`` rows (each point's four corners), summed by one
``embedding_bag``: rows are read as they lie, where ``grid_sample`` picks single numbers out of
``D`` planes. Queries go in chunks, whose index arithmetic stays in the cache.

Letters as in :mod:`triptych.nn.deformable`; R bags (queries times heads), n = L * P points a bag.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Shapes = tuple[tuple[int, int], ...]

CHUNK = 512
"""Queries handled at once; measured from 64 to 8192."""


def sample_by_bags(value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
    """:func:`triptych.nn.deformable.sample`, quick on a CPU; differentiable once."""
    if min(map(min, shapes)) < 2:
        value, shapes = _widen(value, shapes)
    result: Tensor = _Bags.apply(value, shapes, points, weights)
    return result


class _Bags(torch.autograd.Function):
    """The sum and its derivatives.

    Left to autograd, every intermediate of the index arithmetic would be kept, and all corners
    sorted to scatter the values' gradient. Here only the inputs are kept, and the points sorted.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(value, points, weights)
        ctx.shapes = shapes
        batch, _, heads, dim = value.shape
        grid = _Grid(shapes, heads, points)
        out = value.new_empty(batch, points.shape[1], heads * dim)
        for image in range(batch):
            table = value[image].flatten(0, 1)
            for chunk in _chunks(points):
                taps = grid.taps(points[image, chunk], weights[image, chunk])
                mixed = _sum(taps.rows(), table, taps.weights())
                out[image, chunk] = mixed.view(-1, heads * dim)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, points, weights = ctx.saved_tensors
        batch, _, heads, dim = value.shape
        bags, n = points.shape[1] * heads, weights[0, 0, 0].numel()
        grid = _Grid(ctx.shapes, heads, points)
        given = grad.reshape(batch, bags, dim).contiguous()
        by_value = value.new_zeros(value.shape)
        by_points = points.new_empty(batch, bags, n, 2)
        by_weights = weights.new_empty(batch, bags, n)
        first = torch.empty(bags, n, dtype=torch.int32)
        corners = value.new_empty(4, bags, n)
        for image in range(batch):
            table = value[image].flatten(0, 1).detach()
            for chunk in _chunks(points):
                some = slice(chunk.start * heads, chunk.stop * heads)
                taps = grid.taps(points[image, chunk], weights[image, chunk])
                summed = taps.weights().requires_grad_()
                with torch.enable_grad():
                    out = _sum(taps.rows(), table, summed)
                (by_tap,) = torch.autograd.grad(out, summed, given[image, some])
                by_x, by_y, by_weight = taps.derivatives(by_tap)
                by_points[image, some, :, 0] = by_x
                by_points[image, some, :, 1] = by_y
                by_weights[image, some] = by_weight
                first[some] = taps.first
                corners[:, some] = summed.detach().transpose(0, 1)
            _scatter(by_value[image], ctx.shapes, first, corners, given[image])
        return by_value, None, by_points.view_as(points), by_weights.view_as(weights)


def _sum(rows: Tensor, table: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums ``(R, D)`` of table rows, both arguments ``(R, 4, n)``."""
    weights = weights.flatten(1).to(table.dtype)
    return F.embedding_bag(rows.flatten(1), table, mode="sum", per_sample_weights=weights)


def _scatter(into: Tensor, shapes: Shapes, first: Tensor, corners: Tensor, given: Tensor) -> None:
    """Add to the values' gradient ``(S, heads, D)`` what the bags' ``given (R, D)`` hands back.

    ``first (R, n)`` are the points' upper left rows, ``corners (4, R, n)`` their corners' weights.
    Sorted by row, the points that read a row are themselves a bag. The four corners share one
    order, because each lies a fixed step away: their sums are added shifted.
    """
    cells, heads, dim = into.shape
    row, order = first.flatten().sort()
    offsets = torch.searchsorted(row, torch.arange(cells * heads, dtype=torch.int32))
    bag = order.div(first.shape[1], rounding_mode="floor")
    sizes = [height * width for height, width in shapes]
    for corner in range(4):
        down, right = divmod(corner, 2)
        sums = F.embedding_bag(
            bag, given, offsets, mode="sum", per_sample_weights=corners[corner].take(order)
        )
        for target, part, (height, width) in zip(
            into.split(sizes), sums.view_as(into).split(sizes), shapes, strict=True
        ):
            part = part.view(height, width, heads, dim)[: height - down, : width - right]
            target.view(height, width, heads, dim)[down:, right:] += part


class _Taps:
    """The four corners (upper left, upper right, lower left, lower right) of a chunk's points.

    ``first (R, n)`` is the upper left corner's table row, ``x`` and ``y`` the distance from it.
    """

    def __init__(self, first: Tensor, steps: Tensor, x: Tensor, y: Tensor, weight: Tensor) -> None:
        self.first, self.steps = first, steps
        self.x, self.y, self.weight = x, y, weight
        self.left, self.right = _tent(x), _tent(x - 1)
        self.upper, self.lower = _tent(y), _tent(y - 1)

    def rows(self) -> Tensor:
        """Table rows, ``(R, 4, n)``."""
        return self.first[:, None] + self.steps

    def weights(self) -> Tensor:
        """How much of each row is summed, ``(R, 4, n)``."""
        bags, points = self.x.shape
        out = self.x.new_empty(bags, 4, points)
        for half, vertical in enumerate((self.upper, self.lower)):
            vertical = vertical * self.weight
            torch.mul(vertical, self.left, out=out[:, 2 * half])
            torch.mul(vertical, self.right, out=out[:, 2 * half + 1])
        return out

    def derivatives(self, along: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """By x, by y and by the weight, given ``along (R, 4, n)`` the derivative by each tap."""
        a, b, c, d = along.unbind(1)
        upper = a * self.left + b * self.right
        lower = c * self.left + d * self.right
        left = a * self.upper + c * self.lower
        right = b * self.upper + d * self.lower
        (x0, x1), (y0, y1) = _slopes(self.x), _slopes(self.y)
        by_x = x0 * left + x1 * right
        by_y = y0 * upper + y1 * lower
        return by_x * self.weight, by_y * self.weight, upper * self.upper + lower * self.lower


class _Grid:
    """Constants of a set of maps, each ``(L, 1)``: where a point's corners lie in the table."""

    def __init__(self, shapes: Shapes, heads: int, points: Tensor) -> None:
        self.heads = heads
        self.last_x = points.new_tensor([[width - 2] for _, width in shapes])
        self.last_y = points.new_tensor([[height - 2] for height, _ in shapes])
        self.width = points.new_tensor([[width] for _, width in shapes])
        sizes = torch.tensor([[height * width] for height, width in shapes])
        self.start = (sizes.cumsum(0) - sizes).to(points.dtype)
        self.head = torch.arange(heads, dtype=torch.int32)[:, None, None]
        steps = [(0, heads, width * heads, (width + 1) * heads) for _, width in shapes]
        self.steps = torch.tensor(steps, dtype=torch.int32).repeat_interleave(points.shape[-2], 0).T

    def taps(self, points: Tensor, weights: Tensor) -> _Taps:
        """Find the corners of ``(Q, heads, L, P, 2)`` points."""
        x, y = points.unbind(-1)
        left, top = _corner(x, self.last_x), _corner(y, self.last_y)
        cell = (top * self.width).add_(left).add_(self.start).to(torch.int32)
        first = cell.mul_(self.heads).add_(self.head)
        flat = (points.shape[0] * self.heads, -1)
        flattened = [t.reshape(flat) for t in (x - left, y - top, weights)]
        return _Taps(first.reshape(flat), self.steps, *flattened)


def _corner(x: Tensor, last: Tensor) -> Tensor:
    """The cell left of ``x``, or the nearest of the map's: there the tents are zero or right.

    A point that is not a number must not become a row number (its weight, still NaN, tells).
    """
    return torch.minimum(x.floor().nan_to_num_(0.0).clamp_(min=0), last)


def _tent(t: Tensor) -> Tensor:
    """Bilinear weight of a cell at the signed distance ``t``."""
    return t.abs().neg_().add_(1).clamp_(min=0)


def _slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of the tents of the corner ``x`` is measured from and of the next.

    At a tent's kinks the one to the right, as ``grid_sample`` has it. That choice matters: fresh
    offsets are whole numbers, so that all points in a query's own map start on a kink.
    """
    inside = x.floor().eq_(0)
    return x.floor().eq_(-1).sub_(inside), inside - x.floor().eq_(1)


def _chunks(points: Tensor) -> Iterator[slice]:
    queries = points.shape[1]
    return (slice(start, min(start + CHUNK, queries)) for start in range(0, queries, CHUNK))


def _widen(value: Tensor, shapes: Shapes) -> tuple[Tensor, Shapes]:
    """Add zeros to maps of one row or column, for a corner has a neighbour right and below."""
    parts, wider = [], []
    maps = value.split([height * width for height, width in shapes], dim=1)
    for part, (height, width) in zip(maps, shapes, strict=True):
        more = (0, 0, 0, 0, 0, int(width == 1), 0, int(height == 1))
        parts.append(F.pad(part.unflatten(1, (height, width)), more).flatten(1, 2))
        wider.append((max(height, 2), max(width, 2)))
    return torch.cat(parts, dim=1), tuple(wider)
