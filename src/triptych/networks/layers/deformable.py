"""Multi-scale deformable attention: a query reads a few learnt points of every map.

Zhu et al., "Deformable DETR" (ICLR 2021), section 4.1 and appendix A. A point is bilinearly
sampled, zero outside its map; coordinates are pixels of the map they fall on, ``(x, y)``, the
centre of the first cell being ``(0, 0)``.

Letters: B batch, Q queries, L maps ("levels"), P points a map, S cells of all maps together.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from triptych.networks.layers.chunks import eager_cpu
from triptych.networks.layers.constants import constant
from triptych.networks.layers.deformable_bags import Shapes, read_table, sample_by_bags, table_of
from triptych.networks.layers.linear import Linear


class DeformableAttention(nn.Module):
    """Attention from each query to ``points`` places of every map, in ``heads`` groups of channels.

    Args:
        dim: width ``C`` of queries, memory and output.
        heads: number of heads; divides ``dim``.
        levels: number of maps ``L``.
        points: points ``P`` that a head reads in each map.
    """

    def __init__(self, dim: int, heads: int, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = Linear(dim, heads * levels * points * 2)
        self.scores = Linear(dim, heads * levels * points)
        self.value = Linear(dim, dim)
        self.out = Linear(dim, dim)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Head ``i`` starts out looking 1, 2, .. P cells away in the ``i``-th compass direction."""
        nn.init.zeros_(self.offsets.weight)
        plain: Any = {"dtype": torch.float32, "device": "cpu"}
        angle = torch.arange(self.heads, **plain) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction /= direction.abs().amax(dim=-1, keepdim=True)
        distance = torch.arange(1, self.points + 1, **plain)[:, None]
        start = direction[:, None, None] * distance.expand(self.levels, self.points, 1)
        self.offsets.bias.copy_(start.flatten())
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)
        for linear in (self.value, self.out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, queries: Tensor, reference: Tensor, memory: Tensor, shapes: Shapes) -> Tensor:
        """Attend from ``(B, Q, C)`` queries to a ``(B, S, C)`` memory.

        Args:
            queries: what chooses points and weights, position included.
            reference: ``(Q, L, 2)`` or ``(B, Q, L, 2)``, where each query stands in each map.
            memory: the maps' cells, row by row and map after map.
            shapes: the maps' heights and widths.
        """
        value = self.value(memory).unflatten(-1, (self.heads, -1))
        points, weights = self.aim(queries, reference)
        return self.out(sample(value, shapes, points, weights))

    def tables(self, memory: Tensor, shapes: Shapes) -> Tensor:
        """What :meth:`read` reads: a table for each image of the ``(B, S, C)`` memory."""
        return table_of(self.value(memory).unflatten(-1, (self.heads, -1)), shapes)

    def read(self, queries: Tensor, reference: Tensor, table: Tensor, shapes: Shapes) -> Tensor:
        """Attend from some ``(Q, C)`` queries of one image, on a CPU and without gradients.

        Args:
            queries: what chooses points and weights, position included.
            reference: ``(Q, L, 2)``, where each query stands in each map.
            table: of :meth:`tables`, for this image.
            shapes: the maps' heights and widths.
        """
        return self.out(read_table(table, shapes, *self.aim(queries, reference)))

    def aim(self, queries: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Points ``(..., heads, L, P, 2)`` and weights ``(..., heads, L, P)`` of the queries."""
        offsets = self.offsets(queries).unflatten(-1, (self.heads, self.levels, self.points, 2))
        scores = self.scores(queries).unflatten(-1, (self.heads, -1))
        weights = _softmax(scores).unflatten(-1, (self.levels, self.points))
        # Repeated for each point first: sums along a last axis of 2 take 5 times as long.
        reference = reference[..., None, :, None, :].repeat_interleave(self.points, dim=-2)
        # In half precision a coordinate would miss by a quarter of a cell.
        return reference.to(torch.promote_types(offsets.dtype, torch.float32)) + offsets, weights


def _softmax(scores: Tensor) -> Tensor:
    if not eager_cpu(scores):
        return scores.softmax(-1)
    if torch.is_grad_enabled():  # gradients want full precision, as autocast has it
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    shares: Tensor = _ShortSoftmax.apply(scores)
    return shares


class _ShortSoftmax(torch.autograd.Function):
    """Softmax along a dozen numbers, there and back 4 times as quick as torch's on a CPU."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        shares = (scores - scores.amax(-1, keepdim=True)).exp_()
        shares.div_(shares.sum(-1, keepdim=True))
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (shares,) = ctx.saved_tensors
        part: Tensor = gradient * shares
        return part.addcmul_(shares, part.sum(-1, keepdim=True), value=-1)


@constant
def grid_reference(shapes: Shapes, device: torch.device) -> Tensor:
    """Return ``(S, L, 2)``: where each cell's centre lies in every map, for self-attention."""
    centres = []
    for height, width in shapes:
        y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
        x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
        centres.append(torch.cartesian_prod(x, y).view(width, height, 2).transpose(0, 1))
    flipped = [(width, height) for height, width in shapes]
    sizes = torch.tensor(flipped, dtype=torch.float32, device=device)
    return torch.cat([centre.flatten(0, 1) for centre in centres])[:, None] * sizes - 0.5


def sample(value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of the values at the points, ``(B, Q, heads * D)``.

    Args:
        value: ``(B, S, heads, D)``.
        shapes: the maps' heights and widths; ``S`` cells in all.
        points: ``(B, Q, heads, L, P, 2)``, in pixels of the maps.
        weights: ``(B, Q, heads, L, P)``.

    Raises:
        ValueError: the shapes do not add up to ``S`` cells.
    """
    if sum(height * width for height, width in shapes) != value.shape[1]:
        raise ValueError(f"maps {shapes} do not have {value.shape[1]} cells in all")
    # In half precision a coordinate would miss by a quarter of a cell.
    points = points.to(torch.promote_types(points.dtype, torch.float32))
    traced = torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    if value.device.type == "cpu" and not traced:
        return sample_by_bags(value, shapes, points, weights)
    return sample_by_grid(value, shapes, points, weights)


def sample_by_grid(value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
    """:func:`sample` in operators that every device and exporter knows."""
    batch, _, heads, dim = value.shape
    total: Tensor | float = 0.0
    maps = value.split([height * width for height, width in shapes], dim=1)
    for level, (height, width) in enumerate(shapes):
        image = maps[level].to(points.dtype).permute(0, 2, 3, 1)
        image = image.reshape(batch * heads, dim, height, width)
        size = points.new_tensor((width, height))
        grid = ((points[:, :, :, level] + 0.5) * (2 / size) - 1).transpose(1, 2).flatten(0, 1)
        read = F.grid_sample(image, grid, align_corners=False)  # (B heads, D, Q, P)
        weight = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)
        total = total + (read * weight[:, None]).sum(-1)
    assert isinstance(total, Tensor)
    out = total.unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)
    return out.to(value.dtype)
