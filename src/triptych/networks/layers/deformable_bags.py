"""Deformable sampling on a CPU: weighted sums over bags of table rows.

One image's values are a table of rows of ``D`` numbers, a block of rows for each head. What a
query's head reads are the four corners of ``n = L * P`` points; the rows for one corner are a bag,
summed by ``embedding_bag``: rows are read as they lie, where ``grid_sample`` picks single numbers
out of ``D`` planes. Each map stands in a frame of zeros, so that a point beyond the border needs
no case of its own. Queries go in chunks, whose index arithmetic stays in the cache.

Letters as in :mod:`triptych.networks.layers.deformable`; T rows of a head's block.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from triptych.networks.layers.chunks import chunks
from triptych.networks.layers.constants import constant

Shapes = tuple[tuple[int, int], ...]

CHUNK = 512
"""Queries handled at once; measured from 64 to 8192."""


def sample_by_bags(value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
    """:func:`triptych.networks.layers.deformable.sample`, quick on a CPU; differentiable once."""
    result: Tensor = _Bags.apply(value, shapes, points, weights)
    return result


def table_of(value: Tensor, shapes: Shapes) -> Tensor:
    """Values ``(B, S, heads, D)`` as tables ``(B, heads, T, D)``."""
    batch, _, heads, dim = value.shape
    table = value.new_zeros(batch, heads, _block(shapes), dim)
    cells = value.transpose(1, 2)
    start = 0
    for inner, (height, width) in zip(_inner(table, shapes), shapes, strict=True):
        inner.copy_(cells[:, :, start : start + height * width].unflatten(2, (height, width)))
        start += height * width
    return table


def read_table(table: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums ``(Q, heads * D)`` of one image's table ``(heads, T, D)``.

    Args:
        table: of :func:`table_of`.
        shapes: the maps' heights and widths.
        points: ``(Q, heads, L, P, 2)``, in pixels of the maps.
        weights: ``(Q, heads, L, P)``.
    """
    out = table.new_empty(len(points), table.shape[0] * table.shape[2])
    for chunk in chunks(len(points), CHUNK):
        taps = _Taps(shapes, points[chunk], weights[chunk])
        out[chunk] = _sum(taps.rows(), table, taps.weights()).view(-1, out.shape[1])
    return out


class _Bags(torch.autograd.Function):
    """The sum and its derivatives.

    Left to autograd, every intermediate of the index arithmetic would be kept, and all corners
    sorted to scatter the values' gradient. Here only the inputs are kept, and the points sorted.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(value, points, weights)
        ctx.shapes = shapes
        images = zip(table_of(value, shapes), points, weights, strict=True)
        return torch.stack([read_table(table, shapes, *given) for table, *given in images])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, points, weights = ctx.saved_tensors
        queries, heads = points.shape[1:3]
        given = grad.reshape(len(grad), queries * heads, -1).contiguous()
        by_value = torch.empty_like(value)
        by_points = torch.empty_like(points, memory_format=torch.contiguous_format)
        by_weights = torch.empty_like(weights, memory_format=torch.contiguous_format)
        taps_a_query = weights[0, 0].numel()
        first = torch.empty(queries, taps_a_query, dtype=torch.int32, device="cpu")
        corners = value.new_empty(4, queries, taps_a_query)
        tables = table_of(value.detach(), ctx.shapes)
        for image, table in enumerate(tables):
            for chunk in chunks(queries, CHUNK):
                taps = _Taps(ctx.shapes, points[image, chunk], weights[image, chunk])
                bags = slice(chunk.start * heads, chunk.stop * heads)
                by_tap = _along(taps.rows(), table, given[image, bags])
                by_point, by_weight = taps.derivatives(by_tap.to(weights.dtype))
                by_points[image, chunk] = by_point.view_as(by_points[image, chunk])
                by_weights[image, chunk] = by_weight.view_as(by_weights[image, chunk])
                first[chunk] = taps.first + taps.corners[0]
                corners[:, chunk] = taps.weights()
            by_value[image] = _scatter(table, ctx.shapes, first, corners, given[image])
        return by_value, None, by_points, by_weights


def _sum(rows: Tensor, table: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums ``(Q * heads, D)`` of a table's rows; both others ``(4, Q, heads * n)``."""
    heads, _, dim = table.shape
    bags = (-1, rows.shape[2] // heads)
    # A bag for each corner, added up after: to lay the corners side by side costs more.
    sums = F.embedding_bag(
        rows.view(bags),
        table.flatten(0, 1),
        mode="sum",
        per_sample_weights=weights.to(table.dtype).view(bags),
    )
    return sums.view(4, -1, dim).sum(0)


def _along(rows: Tensor, table: Tensor, given: Tensor) -> Tensor:
    """The gradient by each tap's weight, ``(4, Q, heads * n)``: its row times its bag's ``given``.

    A piece of rows is laid out and multiplied at once: 2.5 times as quick as what
    ``embedding_bag`` does row by row.
    """
    heads, _, dim = table.shape
    taps, flat = rows.shape[2] // heads, table.flatten(0, 1)
    out = table.new_empty(4, len(given), taps)
    for bags in chunks(len(given), CHUNK):
        for corner, read in zip(out, rows.view(4, -1, taps)[:, bags], strict=True):
            laid = flat.index_select(0, read.flatten()).view(-1, taps, dim)
            torch.bmm(laid, given[bags, :, None], out=corner[bags, :, None])
    return out.view_as(rows)


def _scatter(
    table: Tensor, shapes: Shapes, first: Tensor, corners: Tensor, given: Tensor
) -> Tensor:
    """The values' gradient ``(S, heads, D)``, from what the bags' ``given (Q * heads, D)`` returns.

    ``first (Q, heads * n)`` are the table rows of the points' upper left corners, ``corners
    (4, Q, heads * n)`` the weights. Sorted by row, the points that read a row are themselves a bag.
    The four corners share one order, because each lies a fixed step away in its map.
    """
    heads, block, _ = table.shape
    row, order = first.flatten().sort()
    numbers = torch.arange(heads * block, dtype=torch.int32, device="cpu")
    offsets = torch.searchsorted(row, numbers)
    bag = order.div(first.shape[1] // heads, rounding_mode="floor")
    grad = torch.zeros_like(table)
    for corner, weights in enumerate(corners):
        down, right = divmod(corner, 2)
        sums = F.embedding_bag(
            bag, given, offsets, mode="sum", per_sample_weights=weights.take(order)
        ).view_as(table)
        for target, part in zip(_frames(grad, shapes), _frames(sums, shapes), strict=True):
            step = down * target.shape[2] + right
            into = target.flatten(1, 2)[:, step:]
            into += part.flatten(1, 2)[:, : into.shape[1]]
    return torch.cat([inner.flatten(1, 2) for inner in _inner(grad, shapes)], 1).transpose(0, 1)


class _Taps:
    """The four corners (upper left, upper right, lower left, lower right) of a chunk's points.

    Everything is ``(Q, heads * n)``: where a map begins and how long its rows are is repeated for
    every point in constants, because broadcasting along a dozen numbers is slow.
    """

    def __init__(self, shapes: Shapes, points: Tensor, weights: Tensor) -> None:
        _, heads, _, count, _ = points.shape
        given = (shapes, heads, count)
        limits = _limits(*given, points.dtype)
        self.outside = points.flatten(1), limits
        place = torch.minimum(*self.outside).clamp_(min=-1)
        # What is not a number must not become a row number (its share, still NaN, tells).
        corner = place.floor().nan_to_num_(0.0)
        self.x, self.y = place.sub_(corner).unflatten(1, (-1, 2)).unbind(-1)
        left, top = corner.unflatten(1, (-1, 2)).unbind(-1)
        self.first = torch.addcmul(left, top, _widths(*given, points.dtype)).to(torch.int32)
        self.corners = _corner_rows(*given)
        self.weight = weights.flatten(1)

    def rows(self) -> Tensor:
        """Table rows, ``(4, Q, heads * n)``."""
        return self.first + self.corners

    def weights(self) -> Tensor:
        """How much of each row is summed, ``(4, Q, heads * n)``."""
        out = self.x.new_empty(4, *self.x.shape)
        lower = self.weight * self.y
        for half, vertical in enumerate((self.weight - lower, lower)):
            torch.mul(vertical, self.x, out=out[2 * half + 1])
            torch.sub(vertical, out[2 * half + 1], out=out[2 * half])
        return out

    def derivatives(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """By x and y and by the weight, given ``along (4, Q, heads * n)`` the one by each tap.

        On a kink of the bilinear weights it is the slope to the right, as ``grid_sample`` has it.
        That choice matters: fresh offsets are whole numbers, so that all points in a query's own
        map start on a kink.
        """
        upper, lower = along[1] - along[0], along[3] - along[2]
        top = torch.addcmul(along[0], self.x, upper)
        down = torch.addcmul(along[2], self.x, lower).sub_(top)
        by_weight = torch.addcmul(top, self.y, down)
        across = torch.addcmul(upper, self.y, lower.sub_(upper))
        slopes = torch.stack((across.mul_(self.weight), down.mul_(self.weight)), dim=-1).flatten(1)
        points, limits = self.outside
        return slopes.masked_fill_((points < -1) | (points >= limits), 0), by_weight


# A map of h x w cells lies in its table row by row, each row behind one zero, which also ends the
# row before, with one row of zeros above and three below: corners reach from row -1 to row h + 1.


def _lengths(shapes: Shapes) -> list[int]:
    return [(height + 4) * (width + 1) for height, width in shapes]


def _block(shapes: Shapes) -> int:
    """Rows ``T`` of a head's block."""
    return sum(_lengths(shapes))


def _frames(table: Tensor, shapes: Shapes) -> list[Tensor]:
    """Views ``(..., h + 4, w + 1, D)`` of a table ``(..., T, D)``, map after map."""
    parts = table.split(_lengths(shapes), dim=-2)
    return [x.unflatten(-2, (-1, width + 1)) for x, (_, width) in zip(parts, shapes, strict=True)]


def _inner(table: Tensor, shapes: Shapes) -> list[Tensor]:
    """Views ``(..., h, w, D)`` of the cells in a table."""
    return [frame[..., 1:-3, 1:, :] for frame in _frames(table, shapes)]


@constant
def _limits(shapes: Shapes, heads: int, count: int, dtype: torch.dtype) -> Tensor:
    """The largest ``x, y, x, y ..`` of ``heads * n`` points that need be told apart."""
    flipped = [(width, height) for height, width in shapes]
    sizes = torch.tensor(flipped, dtype=dtype, device="cpu")
    return sizes[:, None].expand(-1, count, 2).repeat(heads, 1, 1).flatten()


@constant
def _widths(shapes: Shapes, heads: int, count: int, dtype: torch.dtype) -> Tensor:
    """Rows from a cell to the one below it, of ``heads * n`` points."""
    widths = torch.tensor([width + 1 for _, width in shapes], dtype=dtype, device="cpu")
    return widths.repeat_interleave(count).repeat(heads)


@constant
def _corner_rows(shapes: Shapes, heads: int, count: int) -> Tensor:
    """Rows of the four corners of a point at (0, 0) of its map, ``(4, 1, heads * n)``."""
    widths = torch.tensor([width + 1 for _, width in shapes], dtype=torch.long, device="cpu")
    lengths = torch.tensor(_lengths(shapes), dtype=torch.long, device="cpu")
    start = lengths.cumsum(0) - lengths + widths + 1
    steps = torch.stack((0 * widths, 0 * widths + 1, widths, widths + 1))
    rows = (start + steps)[:, None].repeat_interleave(count, 2)
    blocks = torch.arange(heads, dtype=torch.long, device="cpu")[:, None] * _block(shapes)
    return (rows + blocks).flatten(1).to(torch.int32)[:, None]
