"""What every network returns for a batch of images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """Raw output of a network: a set of masks for each image, before any reading."""

    mask_logits: Tensor
    """``(B, N, h, w)``, before sigmoid (or, for pixel labellers, before softmax over ``N``)."""

    class_logits: Tensor | None
    """``(B, N, K+1)``, the last column being "no object"; None where query ``i`` is class ``i``."""

    auxiliary: tuple[Prediction, ...] = ()
    """What earlier decoder layers would have answered, first layer first. Filled only while
    training: nothing else reads it."""
