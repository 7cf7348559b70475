"""What every network returns for a batch of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Product(Protocol):
    """Masks that are not multiplied out yet: training reads a few rows and points of them."""

    def masks(self) -> Tensor:
        """Their logits, ``(B, N, h, w)``."""
        ...


@dataclass(frozen=True)
class Prediction:
    """Raw output of a network: a set of masks for each image, before any reading."""

    masks: Tensor | Product
    """Mask logits ``(B, N, h, w)``, or while training, with queries, what they are made of."""

    class_logits: Tensor | None
    """``(B, N, K+1)``, the last column being "no object"; None where query ``i`` is class ``i``."""

    auxiliary: tuple[Prediction, ...] = ()
    """What earlier decoder layers would have answered, first layer first. Filled only while
    training: nothing else reads it."""

    @property
    def mask_logits(self) -> Tensor:
        """``(B, N, h, w)``, before sigmoid (for pixel labellers, before softmax over ``N``)."""
        return self.masks if isinstance(self.masks, Tensor) else self.masks.masks()
