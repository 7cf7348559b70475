"""Mask NMS: of two queries that answer for one object, only one stays."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from triptych.networks.contract import Prediction

SUPPRESSED_LOGIT = 20.0
"""Logit of "no object" for a query that NMS drops; minus this, of the classes."""


def mask_nms(prediction: Prediction, overlap: float) -> Prediction:
    """Make a query "no object" where a better one of its class has nearly the same mask.

    Self-attention between queries is what keeps a set of masks free of doubles (Carion et al.,
    "DETR", ECCV 2020), after many layers and very many steps of training. A small decoder needs
    help: this is non-maximum suppression of masks in one step, without a loop over queries (Bolya
    et al., "YOLACT", ICCV 2019: Fast NMS), on the network's own grid. A query that is itself
    suppressed still suppresses others.

    Args:
        prediction: class logits ``(B, N, K+1)`` and masks ``(B, N, h, w)``.
        overlap: the least intersection over union of two masks that are taken for one object.
    """
    assert prediction.class_logits is not None, "a pixel labeller's masks do not overlap"
    scores, labels = prediction.class_logits.float().softmax(-1)[..., :-1].max(-1)
    common = overlaps(prediction.mask_logits)
    order = torch.arange(scores.shape[1], dtype=torch.long, device=scores.device)
    better = scores[:, None] > scores[..., None]  # [b, i, j]: j is better than i
    level = scores[:, None] == scores[..., None]
    better = better | (level & (order < order[:, None]))
    rival = better & (labels[:, None] == labels[..., None]) & (common >= overlap)
    nothing = torch.full_like(prediction.class_logits[:1, :1], -SUPPRESSED_LOGIT)
    nothing[..., -1] = SUPPRESSED_LOGIT
    lost = rival.any(-1)[..., None]
    return replace(prediction, class_logits=torch.where(lost, nothing, prediction.class_logits))


def overlaps(mask_logits: Tensor) -> Tensor:
    """Intersection over union of each two of ``(B, N, h, w)`` masks: ``(B, N, N)``.

    0 for a mask without pixels. In float32, which counts pixels exactly.
    """
    with torch.autocast(mask_logits.device.type, enabled=False):
        masks = (mask_logits > 0).flatten(2).float()
        both = masks @ masks.transpose(1, 2)
        area = masks.sum(-1)
        return both / (area[..., None] + area[:, None] - both).clamp(min=1)
