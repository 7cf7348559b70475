"""Where the pictures of a batch lie in the network's input, noted with the masks.

transformers does not hand it on to its ``post_process_*`` functions, which take padding for a part
of the picture. The authors cut it off.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from triptych.image.geometry import Geometry

_NOTE = "_triptych_place"
_STRIDE = 4

Size = tuple[int, int]


def _mask_logits(outputs: Any) -> Tensor:
    masks: Tensor | None = getattr(outputs, "masks_queries_logits", None)
    return outputs.logits if masks is None else masks


def remember(outputs: Any, pixels: Tensor, pixel_mask: Any = None) -> None:
    """Note it with the mask logits of ``outputs``.

    Args:
        pixels: the network's input, ``(B, 3, H, W)``.
        pixel_mask: ``(B, H, W)``, where the input is picture; None for all of it.
    """
    whole = (pixels.shape[-2], pixels.shape[-1])
    valid = [whole] * len(pixels)
    if isinstance(pixel_mask, Tensor) and pixel_mask.shape == (len(pixels), *whole):
        seen = pixel_mask != 0
        down, across = seen.any(2).sum(1).tolist(), seen.any(1).sum(1).tolist()
        # A mask without a picture, or one of holes, says nothing about padding.
        valid = [(h or whole[0], w or whole[1]) for h, w in zip(down, across, strict=True)]
    setattr(_mask_logits(outputs), _NOTE, (whole, valid))


def recall(outputs: Any, sizes: list[Size | None]) -> list[Geometry]:
    """How the masks of ``outputs`` lie in pictures of some sizes.

    Without a note the masks are taken for quarters of an input without padding. A picture without
    a size is as large as its part of the input.
    """
    masks = _mask_logits(outputs)
    grid = (masks.shape[-2] * _STRIDE, masks.shape[-1] * _STRIDE)
    whole, valid = getattr(masks, _NOTE, (grid, [grid] * len(masks)))
    return [Geometry(whole, own, size or own) for own, size in zip(valid, sizes, strict=True)]
