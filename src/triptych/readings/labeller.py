"""Pixel labellers (SegFormer): masks that compete for every pixel by softmax, one a class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from triptych.readings.dense import DENSE_GAIN, argmax, tile_chunks, upsample
from triptych.readings.grid import Canvas, Grid
from triptych.readings.grouped import label_groups

NEGLIGIBLE = 20.0
"""Logits this far below the largest add less to a softmax than float32 can hold (e^-20 = 2e-9)."""


def label_pixels(
    grid: Grid, confidence: bool = False, groups: Sequence[int] | None = None
) -> tuple[Tensor, Tensor | None]:
    """The class with the largest upsampled logit at every pixel, ``(H, W)`` int64.

    With ``confidence`` also its softmax probability, ``(H, W)`` float32. Of equal classes the
    first wins. With ``groups``, those of :class:`triptych.readings.masks.Masks`, probabilities
    add up; the number of classes stands where none of them wins.
    """
    if groups is not None:
        return label_groups(grid, groups, confidence)
    low, high = grid.bounds
    floor, label = low.max(1)
    ids, certainty = Canvas(grid, torch.long), Canvas(grid, torch.float32)
    ids.fill(label)
    certainty.fill(torch.ones_like(floor))
    relevant = high >= floor[:, None] - (NEGLIGIBLE if confidence else 0.0)
    count = relevant.sum(1)
    crowded = DENSE_GAIN * count > relevant.shape[1]
    for tiles in tile_chunks(grid, crowded.nonzero()[:, 0], relevant.shape[1]):
        logits = upsample(grid, tiles)
        best = argmax(logits)
        ids.put(tiles, best)
        if confidence:
            largest = logits.gather(2, best[:, :, None])[:, :, 0]
            certainty.put(tiles, (largest - logits.logsumexp(2)).exp_())
    contested = ((count > 1) & ~crowded).nonzero()[:, 0]
    for part in grid.parts(contested, relevant[contested]):
        logits = part.logits.masked_fill_(~part.present[:, :, None], -math.inf)
        largest, best = logits.max(1)
        ids.put(part.tiles, part.queries.gather(1, best))
        if confidence:
            certainty.put(part.tiles, (largest - logits.logsumexp(1)).exp_())
    return ids.image(), certainty.image() if confidence else None
