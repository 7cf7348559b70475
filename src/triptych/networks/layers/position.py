"""Position embeddings for maps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from triptych.networks.layers.constants import constant


@constant
def sine_position(
    height: int, width: int, dim: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return the ``(dim, height, width)`` sine embedding of a grid's rows and columns.

    The first half of the channels encodes the row, the second half the column, sines and cosines
    interleaved, with coordinates normalised to ``(0, 2 pi]`` (Carion et al., "DETR", 2020,
    appendix A.4; the normalised variant that Mask2Former uses). The result is cached by size:
    callers must not write to it.

    Raises:
        ValueError: ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"a 2-D sine embedding needs a multiple of 4 channels, not {dim}")
    half = dim // 2
    # DETR adds 1e-6 to the last coordinate before dividing; kept for equal numbers.
    plain: Any = {"dtype": torch.float32, "device": device}
    rows = torch.arange(1, height + 1, **plain) / (height + 1e-6) * (2 * math.pi)
    columns = torch.arange(1, width + 1, **plain) / (width + 1e-6) * (2 * math.pi)
    frequency = 10000 ** (torch.arange(0, half, 2, **plain) / half)

    def encode(coordinates: Tensor) -> Tensor:
        angles = coordinates[:, None] / frequency
        return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).T  # (half, length)

    embedding = torch.cat(
        (
            encode(rows)[:, :, None].expand(half, height, width),
            encode(columns)[:, None, :].expand(half, height, width),
        )
    )
    return embedding.to(dtype)


@constant
def fourier_position(
    height: int, width: int, bands: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return ``(4 * bands, height, width)`` sines and cosines of a grid's rows and columns.

    Band ``k`` (from 1) runs through ``k / 2`` cycles over the map (Tancik et al., "Fourier
    features", 2020, with axis-aligned frequencies). A linear map of them makes a bump as narrow
    as ``1 / bands`` of the map at any place, which :func:`sine_position` cannot: its quickest
    channel has one cycle. The result is cached by size: callers must not write to it.
    """
    plain: Any = {"dtype": torch.float32, "device": device}

    def encode(length: int) -> Tensor:
        middles = (torch.arange(length, **plain) + 0.5) / length
        angles = math.pi * torch.arange(1, bands + 1, **plain)[:, None] * middles
        return torch.cat((angles.sin(), angles.cos()))  # (2 bands, length)

    rows, columns = encode(height), encode(width)
    embedding = torch.cat(
        (
            rows[:, :, None].expand(-1, height, width),
            columns[:, None, :].expand(-1, height, width),
        )
    )
    return embedding.to(dtype)
