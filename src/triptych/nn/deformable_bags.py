"""Deformable sampling on a CPU: weighted sums over bags of table rows.

One image's values are a table of rows of ``D`` numbers, a block of rows for each head. What a
query's head reads are the four corners of ``n = L * P`` points; the rows for one corner are a bag,
summed by ``embedding_bag``: rows are read as they lie, where ``grid_sample`` picks single numbers
out of ``D`` planes. Each map stands in a frame of zeros, so that a point beyond the border needs
no case of its own. Queries go in chunks, whose index arithmetic stays in the cache.

Letters as in :mod:`triptych.nn.deformable`; T rows of a head's block.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from triptych.nn.constants import constant
from triptych.nn.rows import pieces

Shapes = tuple[tuple[int, int], ...]

CHUNK = 512
"""Queries handled at once; measured from 64 to 8192."""


def sample_by_bags(value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
    """:func:`triptych.nn.deformable.sample`, quick on a CPU; differentiable once."""
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
    for chunk in pieces(len(points), CHUNK):
        taps = _Taps(shapes, points[chunk], weights[chunk])
        out[chunk] = _sum(taps.rows(), table.flatten(0, 1), taps.weights()).view_as(out[chunk])
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
        first = torch.empty(queries, taps_a_query, dtype=torch.int32)
        corners = points.new_empty(4, queries, taps_a_query)
        tables = table_of(value.detach(), ctx.shapes)
        for image, table in enumerate(tables):
            for chunk in pieces(queries, CHUNK):
                taps = _Taps(ctx.shapes, points[image, chunk], weights[image, chunk])
                summed = taps.weights().requires_grad_()
                with torch.enable_grad():
                    out = _sum(taps.rows(), table.flatten(0, 1), summed)
                bags = slice(chunk.start * heads, chunk.stop * heads)
                (by_tap,) = torch.autograd.grad(out, summed, given[image, bags])
                by_point, by_weight = taps.derivatives(by_tap)
                by_points[image, chunk] = by_point.view_as(by_points[image, chunk])
                by_weights[image, chunk] = by_weight.view_as(by_weights[image, chunk])
                first[chunk] = taps.rows()[0]
                corners[:, chunk] = summed.detach()
            by_value[image] = _scatter(table, ctx.shapes, first, corners, given[image])
        return by_value, None, by_points, by_weights


def _sum(rows: Tensor, table: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums ``(Q * heads, D)`` of a table's rows; both others ``(4, Q, heads * n)``."""
