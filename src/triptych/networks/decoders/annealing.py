"""Mask annealing: masks of cross-attention that apply ever more rarely during training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from triptych.errors import TriptychError


class MaskAnnealing(nn.Module):
    """Masks of attention that apply ever more rarely (Kerssies et al., EoMT, CVPR 2025).

    In each layer a query is free to look everywhere with a chance that rises from 0 to 1. In use
    masks apply to all queries or to none, whichever is nearer; a decoder trained to the end needs
    none.

    Args:
        first: training step at which the chance begins to rise; the training loop counts them (see
            :meth:`set_step`), so that a batch computed in parts is one step.
        last: at which it is 1.

    Raises:
        TriptychError: they do not rise.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        if not 0 <= first < last:
            raise TriptychError(
                f"annealing [{first}, {last}]: give two steps, the later one second"
            )
        self.first, self.last = first, last
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64, device="cpu"))
        self.seen: Tensor

    def set_step(self, step: int) -> None:
        """Say which training step is being done, from 1 on."""
        self.seen.fill_(step)

    def unmasked(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Which queries look everywhere: boolean, of any ``shape``."""
        chance = ((self.seen - self.first).float() / (self.last - self.first)).clamp(0, 1)
        drawn: Tensor | float = 0.5
        if self.training:
            drawn = torch.rand(tuple(shape), dtype=torch.float32, device=device)
        return (drawn < chance).expand(tuple(shape))
