"""What a ``post_process_*`` function of transformers is given, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.interop.accelerate.uncovered import Uncovered

Size = tuple[int, int]

CHANNELS = 4
"""Planes from which on torch resizes each by itself; of fewer it makes the channels of a pixel."""


def plain(*tensors: Any) -> None:
    """Check that our arithmetic is theirs on these tensors.

    Raises:
        Uncovered: one is not float32, on the CPU, and finite.
    """
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or tensor.device.type != "cpu":
            raise Uncovered("the outputs are not on the CPU")
        if tensor.dtype != torch.float32:
            raise Uncovered("the outputs are not float32")
        if tensor.requires_grad:
            raise Uncovered("the outputs want gradients")
        if not tensor.numel():
            raise Uncovered("the outputs are empty")
        # The extremes tell it, and are found five times as quickly as each number is looked at.
        if not all(map(math.isfinite, torch.stack(tensor.aminmax()).tolist())):
            raise Uncovered("the outputs are not finite")


def sizes_of(target_sizes: Any, batch: int) -> list[Size | None]:
    """One size ``(H, W)`` for each image of a batch, None where none was given.

    Raises:
        Uncovered: the sizes are no pairs of whole numbers, or not as many as images.
    """
    if target_sizes is None:
        return [None] * batch
    if isinstance(target_sizes, Tensor):
        raise Uncovered("the target sizes are a tensor")
    if not isinstance(target_sizes, Sequence) or len(target_sizes) != batch:
        raise Uncovered("the target sizes are not one for each image")
    for size in target_sizes:
        pair = isinstance(size, tuple | list) and len(size) == 2
        if not pair or not all(type(side) is int and side > 0 for side in size):
            raise Uncovered("a target size is not a pair of whole numbers")
    return [(size[0], size[1]) for size in target_sizes]


def rows_at(masks: Tensor, rows: Tensor, square: int | None) -> Tensor:
    """Some masks of an image, resized to a square as all of them together would be.

    Args:
        masks: ``(N, h, w)``.
        rows: ``(n,)`` int64.
        square: its side; None for masks that stay as they are.
    """
    if square is None:
        return masks[rows]
    if len(masks) < CHANNELS or not masks.is_contiguous():
        return resized(masks[None], square)[0, rows]
    filled = F.pad(rows, (0, max(0, CHANNELS - len(rows))))
    return resized(masks[filled][None], square)[0, : len(rows)]


def resized(masks: Tensor, square: int | None) -> Tensor:
    """``(B, N, h, w)`` in the size in which transformers reads them."""
    if square is None:
        return masks
    return F.interpolate(masks, size=(square, square), mode="bilinear", align_corners=False)
