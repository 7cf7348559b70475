"""Sine position embeddings for maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from triptych.nn.constants import constant


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
    rows = torch.arange(1, height + 1, device=device) / (height + 1e-6) * (2 * math.pi)
    columns = torch.arange(1, width + 1, device=device) / (width + 1e-6) * (2 * math.pi)
    frequency = 10000 ** (torch.arange(0, half, 2, device=device) / half)

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
