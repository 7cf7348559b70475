"""Pixel labellers under a table of classes: probabilities add up in every pixel.

The logit of a group is the logarithm of the sum of its members' powers of e. It rises with each of
them, so the bounds of the masks on a tile (:mod:`triptych.readings.grid`) bound the groups as well.
What no group lists is a rest, which competes like a group and is void where it wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from triptych.readings.dense import DENSE_GAIN, argmax, tile_chunks, upsample
from triptych.readings.grid import Canvas, Grid

NEGLIGIBLE = 24.0
"""A logit this far below the winner's adds less than float32 can hold, even hundreds of them do
(500 e^-24 = 2e-8)."""

ROUNDING = 1e-5
"""More than the bounds of two groups can be off by, as a share of the logits."""

HIGHEST = 60.0
"""Powers of e up to this stay in float32, sums of thousands of them too."""


def label_groups(
    grid: Grid, groups: Sequence[int], confidence: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The group with the largest probability at every pixel, ``(H, W)`` int64.

    With ``confidence`` also that probability, ``(H, W)`` float32. Of equal groups the first wins.

    Args:
        grid: of all ``N`` masks.
        groups: ``(N,)`` the group of each mask; the rest has the highest number.
        confidence: see above.
    """
    group_of = torch.tensor(groups, dtype=torch.long, device=grid.device)
    shares = torch.nn.functional.one_hot(group_of).float()
    """``(N, G)``: 1 for the group of each mask."""
    label, matters = _settle(grid, group_of, shares, confidence)
    ids, certainty = Canvas(grid, torch.long), Canvas(grid, torch.float32)
    ids.fill(label)
    certainty.fill(torch.ones_like(label, dtype=torch.float32))
    contested = matters.any(1)
    crowded = DENSE_GAIN * matters.sum(1) > len(groups)
    for tiles in tile_chunks(grid, crowded.nonzero()[:, 0], len(groups)):
        logits = upsample(grid, tiles)
        powers = logits.sub_(logits.amax(2, keepdim=True)).exp_()
        totals = powers @ shares
        best = argmax(totals)
        ids.put(tiles, best)
        if confidence:
            won = totals.gather(2, best[:, :, None])[:, :, 0]
            certainty.put(tiles, won / totals.sum(2))
    few = (contested & ~crowded).nonzero()[:, 0]
    for part in grid.parts(few, matters[few]):
        logits = part.logits.masked_fill_(~part.present[:, :, None], -math.inf)
        powers = logits.sub_(logits.amax(1, keepdim=True)).exp_()
        own = group_of[part.queries]
        # Each mask gets the sum over its group: (t, M, M) says who is in one.
        totals = (own[:, :, None] == own[:, None]).float() @ powers
        largest = totals.amax(1, keepdim=True)
        # Masks are not in the order of their groups, and of equal groups the first counts.
        best = torch.where(totals == largest, own[:, :, None], len(groups)).amin(1)
        ids.put(part.tiles, best)
        if confidence:
            certainty.put(part.tiles, largest[:, 0] / powers.sum(1))
    return ids.image(), certainty.image() if confidence else None


def _settle(
    grid: Grid, group_of: Tensor, shares: Tensor, confidence: bool
) -> tuple[Tensor, Tensor]:
    """What the bounds of the masks say about the groups on each tile.

    Returns:
        ``(T,)`` int64, the group that leads, and ``(T, N)`` bool, which masks decide about it, or
        about its probability with ``confidence``; none where it is certain.
    """
    low, high = grid.bounds
    label = torch.zeros(len(low), dtype=torch.long, device=low.device)
    matters = torch.ones_like(low, dtype=torch.bool)
    if grid.small:  # the bounds are infinite
        return label, matters
    for band in grid.bands(2 * sum(shares.shape)):
        top = low[band].amax(1, keepdim=True)
        least, label[band] = ((low[band] - top).exp_() @ shares).max(1)
        floor = top + least.log_()[:, None]
        # Beside the sum that the leader has at least; what is far above it wins anyhow.
        most = (high[band] - floor).clamp_(max=HIGHEST).exp_() @ shares
        slack = ROUNDING * (1 + floor.abs()) + (NEGLIGIBLE if confidence else 0.0)
        can_win = most >= (-slack).exp_()
        adds = high[band] >= floor - NEGLIGIBLE
        if not confidence:
            adds &= can_win[:, group_of]
        matters[band] = adds & (can_win.sum(1, keepdim=True) > 1)
    return label, matters
