"""Panoptic maps as transformers reads them: the same pixels, ids and scores."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.interop.accelerate.bilinear import Resized
from triptych.interop.accelerate.given import Size, plain, rows_at, sizes_of


def panoptic(
    outputs: Any,
    threshold: float = 0.5,
    mask_threshold: float = 0.5,
    overlap_mask_area_threshold: float = 0.8,
    label_ids_to_fuse: Collection[int] | None = None,
    target_sizes: Any = None,
    *,
    square: int | None = None,
) -> list[dict[str, Any]]:
    """``post_process_panoptic_segmentation`` of MaskFormer and Mask2Former.

    Their rule: a pixel belongs to the query whose probability there, times its score, is largest.
    A query is a segment if it wins more than a share of the pixels at which that product reaches
    ``mask_threshold``.

    Args:
        square: the side to which masks are resized first; None for none.

    Returns:
        ``segmentation``, int32 (float32, all -1, where no query passes ``threshold``), and
        ``segments_info`` for each image.

    Raises:
        Uncovered: theirs has to run.
    """
    classes, masks = outputs.class_queries_logits, outputs.masks_queries_logits
    plain(classes, masks)
    results = []
    for index, size in enumerate(sizes_of(target_sizes, len(classes))):
        scores, labels = F.softmax(classes[index], dim=-1).max(-1)
        passed = labels.ne(classes.shape[-1] - 1) & (scores > threshold)
        kept = passed.nonzero()[:, 0]
        if len(kept):
            shares = rows_at(masks[index], kept, square).sigmoid()
            segmentation, segments = _segments(
                Resized(shares, size, scores[kept]),
                scores[kept],
                labels[kept].tolist(),
                (mask_threshold, overlap_mask_area_threshold),
                label_ids_to_fuse or (),
            )
        else:
            segmentation, segments = _nothing(size, masks, square), []
        results.append({"segmentation": segmentation, "segments_info": segments})
    return results


def _nothing(size: Size | None, masks: Tensor, square: int | None) -> Tensor:
    own = tuple(masks.shape[-2:]) if square is None else (square, square)
    return torch.full(size or own, -1.0, dtype=torch.float32, device="cpu")


def _segments(
    weighed: Resized,
    scores: Tensor,
    labels: list[int],
    thresholds: tuple[float, float],
    fused: Collection[int],
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Ids ``(H, W)`` int32, 0 for none, and what they are."""
    mask_threshold, overlap = thresholds
    winner = weighed.argmax()
    won = torch.bincount(winner.flatten(), minlength=len(labels))
    winners = won.nonzero()[:, 0].tolist()
    own = torch.zeros_like(won)
    own[winners] = weighed.count_at_least(mask_threshold, winners)
    ratios = (won / own).tolist()
    ids = [0] * len(labels)
    segments = []
    last = 0
    stuff: dict[int, int] = {}
    for query in winners:
        if not own[query] or not ratios[query] > overlap:
            continue
        label = labels[query]
        # After a merged segment their counting goes on from its id.
        last = stuff.get(label, last + 1)
        ids[query] = last
        segments.append(
            {
                "id": last,
                "label_id": label,
                "was_fused": label in fused,
                "score": round(scores[query].item(), 6),
            }
        )
        if label in fused:
            stuff[label] = last
    table = torch.tensor(ids, dtype=torch.int32, device="cpu")
    return table[winner], segments
