"""Pixel labellers (SegFormer): masks that compete for every pixel by softmax, one a class."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.readouts.grid import Grid

NEGLIGIBLE = 20.0
"""Logits this far below the largest add less to a softmax than float32 can hold (e^-20 = 2e-9)."""


def label_pixels(grid: Grid, confidence: bool = False) -> tuple[Tensor, Tensor | None]:
    """The class with the largest upsampled logit at every pixel, ``(H, W)`` int64.

    With ``confidence`` also its softmax probability, ``(H, W)`` float32. Of equal classes the
    first wins.
    """
    ids = torch.empty(grid.size, dtype=torch.long, device=grid.device)
    certainty = torch.empty(grid.size, device=grid.device) if confidence else None
    for rows, strip in grid.strips():
        low, high = (strip.windows(strip.masks, f) for f in (torch.minimum, torch.maximum))
        floor, label = low.max(0)
        relevant = high >= floor - (NEGLIGIBLE if confidence else 0.0)
        strip_ids = strip.spread(label).flatten()
        strip_certainty = torch.ones(strip_ids.shape, device=grid.device)
        for places, logits in strip.pixels(relevant.sum(0) > 1):
            largest, strip_ids[places] = logits.max(1)
            if confidence:
                strip_certainty[places] = (largest - logits.logsumexp(1)).exp()
        ids[rows] = strip_ids.view(-1, ids.shape[1])
        if certainty is not None:
            certainty[rows] = strip_certainty.view(-1, ids.shape[1])
    return ids, certainty
