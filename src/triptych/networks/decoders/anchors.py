"""Anchors: queries that keep to a place."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

START = math.log(0.2)
"""Logarithm of the reach that anchors start with."""


class Anchors(nn.Module):
    """A place for each query, outside of which its mask fades.

    A dot product with convolutional features cannot tell two like objects apart, so a plain query
    learns only after very many steps to keep to one of them. Here a query owns a bell around an
    anchor, and moves and stretches it by what it has seen: its mask logits fall with the square of
    the distance (Gao et al., "Fast Convergence of DETR with Spatially Modulated Co-Attention",
    ICCV 2021, section 3.2, where the bell bounds attention; anchors as in Wang et al., "Anchor
    DETR", AAAI 2022). Places and lengths are shares of the map's height and width.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.count = count
        columns = math.ceil(math.sqrt(count * 4 / 3))
        rows = math.ceil(count / columns)
        grid = [
            ((i % columns + 0.5) / columns, (i // columns + 0.5) / rows, START, START)
            for i in range(count)
        ]
        start = torch.tensor(grid, dtype=torch.float32, device="cpu")
        self.start = nn.Embedding(count, 4, _weight=start)
        """``(count, 4)``: centre x and y, logarithm of the reach in x and y."""
        self.shift = nn.Linear(dim, 4)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)

    def forward(self, queries: Tensor) -> Tensor:
        """Where the masks of ``(B, count, C)`` queries fade: centre and inverse reach, x first.

        ``(B, count, 4)``, for :func:`squared_distance`.
        """
        place = self.start.weight.float() + self.shift(queries).float()
        return torch.cat((place[..., :2], place[..., 2:].clamp(-4, 2).neg().exp()), dim=-1)


def squared_distance(place: Tensor, axis: int, at: Tensor) -> Tensor:
    """What to subtract along an axis (0: x, 1: y) ``at`` some coordinates: ``(..., len(at))``.

    In float32: squares of small quotients are not for half precision.
    """
    return ((at - place[..., axis, None]) * place[..., axis + 2, None]).square()


def distance_at(place: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The same over both axes, as two factors ``(B, N, 5)`` and ``(B, 5, P)`` of a matrix product.

    A square of a distance is a polynomial of the point. So thousands of points a query take one
    product, where the squares themselves are written and read several times.

    Args:
        place: ``(B, N, 4)``, as :class:`Anchors` gives it.
        points: ``(B, P, 2)``, x and y.
    """
    # Around the middle of the picture: the terms are smaller, and so is what rounding leaves.
    centre, square = place[..., :2] - 0.5, place[..., 2:].square()
    constant = (square * centre.square()).sum(-1, keepdim=True)
    coefficients = torch.cat((constant, -2 * square * centre, square), -1)
    x = points.transpose(1, 2) - 0.5
    return coefficients, torch.cat((torch.ones_like(x[:, :1]), x, x.square()), 1)
