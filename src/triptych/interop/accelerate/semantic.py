"""Class maps as transformers reads them, pixel for pixel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from triptych.interop.accelerate.bilinear import Resized
from triptych.interop.accelerate.given import plain, resized, sizes_of
from triptych.interop.accelerate.uncovered import Uncovered


def label_maps(
    outputs: Any, target_sizes: Any = None, return_segmentation_scores: bool = False
) -> list[Tensor]:
    """``post_process_semantic_segmentation`` of SegFormer.

    Returns:
        ``(H, W)`` int64 for each image.

    Raises:
        Uncovered: theirs has to run.
    """
    _check(target_sizes, return_segmentation_scores)
    logits = outputs.logits
    plain(logits)
    sizes = sizes_of(target_sizes, len(logits))
    return [Resized(planes, size).argmax() for planes, size in zip(logits, sizes, strict=True)]


def class_maps(
    outputs: Any,
    target_sizes: Any = None,
    return_segmentation_scores: bool = False,
    *,
    square: int | None = None,
) -> list[Tensor]:
    """``post_process_semantic_segmentation`` of MaskFormer, Mask2Former and OneFormer.

    Args:
        square: the side to which masks are resized before they are summed; None for none.

    Returns:
        ``(H, W)`` int64 for each image.

    Raises:
        Uncovered: theirs has to run.
    """
    _check(target_sizes, return_segmentation_scores)
    classes, masks = outputs.class_queries_logits, outputs.masks_queries_logits
    plain(classes, masks)
    sizes = sizes_of(target_sizes, len(classes))
    # The sums are theirs, of all images at once: a product of another shape rounds otherwise.
    shares = resized(masks, square).sigmoid()
    scores = torch.einsum("bqc, bqhw -> bchw", classes.softmax(dim=-1)[..., :-1], shares)
    return [Resized(planes, size).argmax() for planes, size in zip(scores, sizes, strict=True)]


def _check(target_sizes: Any, return_segmentation_scores: bool) -> None:
    if return_segmentation_scores:
        raise Uncovered("the scores of all classes are wanted")
    if target_sizes is None:
        raise Uncovered("nothing is resized")
