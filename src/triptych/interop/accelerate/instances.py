"""Instances as transformers reads them: the same masks, ids and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.interop.accelerate.given import Size, plain, rows_at, sizes_of
from triptych.interop.accelerate.uncovered import Uncovered

RunLengths = Callable[[Tensor], Any]
"""Their function from a map of segments to run lengths."""


def instances(
    outputs: Any,
    threshold: float = 0.5,
    mask_threshold: float = 0.5,
    overlap_mask_area_threshold: float = 0.8,
    target_sizes: Any = None,
    return_coco_annotation: bool | None = False,
    return_binary_maps: bool | None = False,
    *,
    square: int | None = None,
    run_lengths: RunLengths,
) -> list[dict[str, Any]]:
    """``post_process_instance_segmentation`` of MaskFormer and Mask2Former.

    Their rule: the best pairs of query and class, each with a mask of the logits above 0, which is
    enlarged by nearest neighbour; later ones lie on earlier ones. Neither ``mask_threshold`` nor
    ``overlap_mask_area_threshold`` changes anything there.

    Args:
        square: the side to which masks are resized first; None for none.
        run_lengths: for ``return_coco_annotation``.

    Returns:
        ``segmentation`` and ``segments_info`` for each image.

    Raises:
        Uncovered: theirs has to run.
    """
    if return_coco_annotation and return_binary_maps:
        raise Uncovered("two kinds of maps are wanted")
    classes, masks = outputs.class_queries_logits, outputs.masks_queries_logits
    plain(classes, masks)
    sizes = sizes_of(target_sizes, len(classes))
    results = []
    for index, size in enumerate(sizes):
        found, segments = _found(classes[index], masks[index], threshold, size, square)
        segmentation: Any = _painted(found, size)
        if return_coco_annotation:
            segmentation = run_lengths(segmentation)
        if return_binary_maps and segments:
            segmentation = found.float() if size is None else _nearest(found.float(), size)
        results.append({"segmentation": segmentation, "segments_info": segments})
    return results


def _found(
    classes: Tensor, masks: Tensor, threshold: float, size: Size | None, square: int | None
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Masks ``(n, h, w)`` bool of an image, before they are enlarged, and what they are."""
    count = classes.shape[-1] - 1
    scores = F.softmax(classes, dim=-1)[:, :-1]
    best, pairs = scores.flatten(0, 1).topk(len(classes), sorted=False)
    # A mask's own score is an average of probabilities: it takes no pair above the threshold.
    hopeful = (best * (1 + 1e-5) >= threshold).nonzero()[:, 0]
    # Two at least: torch sums a single row in another order where it has several threads.
    some = hopeful if len(hopeful) > 1 else F.pad(hopeful, (0, min(2, len(classes)) - len(hopeful)))
    logits = rows_at(masks, pairs[some] // count, square)
    inside = logits > 0
    weights = inside.float().flatten(1)
    sums = (logits.sigmoid().flatten(1) * weights).sum(1) / (weights.sum(1) + 1e-6)
    final = (best[some] * sums)[: len(hopeful)].tolist()
    inside = inside[: len(hopeful)]
    there = _seen(inside, size).tolist()
    labels = (pairs[hopeful] % count).tolist()
    kept: list[int] = []
    segments: list[dict[str, Any]] = []
    for row, (score, label) in enumerate(zip(final, labels, strict=True)):
        if there[row] and score >= threshold:
            segments.append(
                {
                    "id": len(kept),
                    "label_id": label,
                    "was_fused": False,
                    "score": round(score, 6),
                }
            )
            kept.append(row)
    return inside[kept], segments


def _seen(inside: Tensor, size: Size | None) -> Tensor:
    """Which masks ``(n, h, w)`` have a pixel in the image: ``(n,)`` bool.

    Where the image is smaller, a small mask may lie between those that are taken.
    """
    if size is not None and (size[0] < inside.shape[1] or size[1] < inside.shape[2]):
        rows, columns = _sources(inside.shape[1], size[0]), _sources(inside.shape[2], size[1])
        inside = inside[:, rows][:, :, columns]
    return inside.flatten(1).any(1)


def _sources(inner: int, outer: int) -> Tensor:
    """Which of ``inner`` cells are taken when they are resized to ``outer``."""
    cells = torch.arange(inner, dtype=torch.float32, device="cpu").view(1, 1, inner, 1)
    return F.interpolate(cells, size=(outer, 1), mode="nearest").flatten().long().unique()


def _painted(found: Tensor, size: Size | None) -> Tensor:
    """Ids ``(H, W)`` float32, -1 for none; later masks lie on earlier ones."""
    ids = torch.full(found.shape[1:], -1.0, dtype=torch.float32, device="cpu")
    for index, mask in enumerate(found):
        ids[mask] = index
    return ids if size is None else _nearest(ids[None], size)[0]


def _nearest(planes: Tensor, size: Size) -> Tensor:
    return F.interpolate(planes[None], size=size, mode="nearest")[0]
