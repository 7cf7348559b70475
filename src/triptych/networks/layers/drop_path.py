"""Stochastic depth: skip a residual branch for some images of the batch while training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Zero a residual branch per image with probability ``rate``, and scale up the survivors.

    Huang et al., "Deep Networks with Stochastic Depth" (ECCV 2016). The identity in evaluation.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"a drop path rate lies in [0, 1), not {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, ...)`` to the same shape."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        shape = (x.shape[0], *[1] * (x.ndim - 1))
        kept = torch.rand(shape, dtype=torch.float32, device=x.device) < keep
        return x * kept / keep

    def extra_repr(self) -> str:
        """Show the rate in printed modules."""
        return f"rate={self.rate}"


def drop_path_rates(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Rates growing linearly over all blocks from 0 to ``last``, one list for each stage."""
    total = sum(depths)
    rates = [last * block / max(total - 1, 1) for block in range(total)]
    starts = [sum(depths[:stage]) for stage in range(len(depths))]
    return [rates[start : start + depth] for start, depth in zip(starts, depths, strict=True)]
