"""What a query says about its class, before its mask is looked at."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.readings.masks import Masks


def pair_scores(mask_set: Masks) -> Tensor:
    """``(N, K)`` float32: the score of every (query, class) pair, without "no object".

    The softmax over ``K+1`` columns, its last one dropped; for promptable masks, the quality.

    Raises:
        TriptychError: a class logit or a quality is not finite.
    """
    given = mask_set.quality if mask_set.class_logits is None else mask_set.class_logits
    assert given is not None, "a pixel labeller has no scores of its own"
    if not torch.isfinite(given).all():
        name = "quality" if mask_set.class_logits is None else "class_logits"
        raise TriptychError(f"{name} hold NaN or infinity; the network or its weights are broken")
    if mask_set.class_logits is None:
        return given.float()[:, None]
    return given.float().softmax(1)[:, :-1]


def best_pairs(mask_set: Masks) -> tuple[Tensor, Tensor, Tensor]:
    """Of every query: its best class ``(N,)``, that class's score, and whether it is an object.

    A query is no object where "no object" scores higher than every class. Of equal classes the
    first one counts, and a class equal to "no object" counts as an object.
    """
    scores = pair_scores(mask_set)
    score, label = scores.max(1)
    if mask_set.class_logits is None:
        return label, score, torch.ones_like(label, dtype=torch.bool)
    logits = mask_set.class_logits.float()
    return label, score, logits[:, :-1].amax(1) >= logits[:, -1]
