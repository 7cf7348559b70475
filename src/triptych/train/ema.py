"""EMA: an exponential moving average of the weights, which is what is evaluated and exported."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class ModelEMA:
    """A second model whose weights trail those of the trained one.

    Polyak averaging; the decay rises as ``(1 + t) / (10 + t)`` to its final value, so that the
    random weights of the first steps do not linger in the average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards ``model`` after optimiser step ``step``, counted from 0.

        Buffers (running statistics of norms) are copied: they are averages already.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        mine: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(mine, list[Tensor](model.parameters()), 1 - decay)
        for average, current in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(current)
