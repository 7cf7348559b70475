"""Pixel labellers (SegFormer): masks that compete for every pixel by softmax, one a class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from triptych.readouts.grid import Canvas, Grid

NEGLIGIBLE = 20.0
"""Logits this far below the largest add less to a softmax than float32 can hold (e^-20 = 2e-9)."""


def label_pixels(grid: Grid, confidence: bool = False) -> tuple[Tensor, Tensor | None]:
    """The class with the largest upsampled logit at every pixel, ``(H, W)`` int64.

    With ``confidence`` also its softmax probability, ``(H, W)`` float32. Of equal classes the
    first wins.
    """
    low, high = grid.bounds
    floor, label = low.max(1)
    ids, certainty = Canvas(grid, torch.long), Canvas(grid, torch.float32)
    ids.fill(label)
    certainty.fill(torch.ones_like(floor))
    relevant = high >= floor[:, None] - (NEGLIGIBLE if confidence else 0.0)
    contested = (relevant.sum(1) > 1).nonzero()[:, 0]
    for part in grid.parts(contested, relevant[contested]):
        logits = part.logits.masked_fill_(~part.present[:, :, None], -math.inf)
        largest, best = logits.max(1)
        ids.put(part.tiles, part.queries.gather(1, best))
        if confidence:
            certainty.put(part.tiles, (largest - logits.logsumexp(1)).exp_())
    return ids.image(), certainty.image() if confidence else None
