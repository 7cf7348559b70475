"""The semantic reading: one class for every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.masks import Classes, MaskSet
from triptych.readouts.grid import Grid, reading
from triptych.readouts.labeller import label_pixels
from triptych.readouts.scores import pair_scores

ROUNDING = 1e-5
"""More than float32 sums over hundreds of queries can be off by."""


@dataclass(frozen=True, eq=False)
class SemanticMap:
    """A class for every pixel of the image."""

    ids: Tensor
    """``(H, W)`` int64, class ids 0 to ``K-1``."""
    classes: Classes


def read_semantic(mask_set: MaskSet) -> SemanticMap:
    """Give each pixel the class ``argmax_k sum_i p_i(k) sigmoid(m_i)``.

    ``p_i`` is the softmax of query ``i``'s class logits with the "no object" column dropped
    afterwards; ``m_i`` its mask logits at image resolution (Cheng et al., Masked-attention Mask
    Transformer for Universal Image Segmentation, 2022, section 3.3 and its released code). Of
    equal classes the first wins. For a pixel labeller: the largest upsampled logit.

    Raises:
        TriptychError: the masks have no classes (a promptable network), or are not finite.
    """
    with reading(mask_set) as grid:
        if mask_set.competition == "softmax":
            return SemanticMap(label_pixels(grid)[0], mask_set.classes)
        if mask_set.class_logits is None:
            raise TriptychError(
                "a promptable network's masks have no classes to make a semantic map of; "
                "use instances()"
            )
        return SemanticMap(_largest_total(grid, pair_scores(mask_set)), mask_set.classes)


def _largest_total(grid: Grid, scores: Tensor) -> Tensor:
    """``(H, W)`` int64: ``argmax_k`` of the sums over queries of ``scores (N, K) * sigmoid(m)``."""
    ids = torch.empty(grid.size, dtype=torch.long, device=grid.device)
    weights = scores.T.contiguous()
    # Only as far as a query weighs the classes differently can it shift one against another.
    sway = (weights.amax(0) - weights.amin(0))[None]
    for rows, strip in grid.strips():
        values = strip.masks.sigmoid()
        totals = (weights @ values.flatten(1)).unflatten(1, values.shape[1:])
        best, label = totals.max(0)
        lead = best - totals.scatter(0, label[None], -1).amax(0)
        # Interpolated totals are not totals of interpolated logits, but both stay in the range of
        # the window's cells. So a class that leads at every cell by more than all queries' ranges
        # can shift, leads at every pixel of the window. (No two classes can so lead at different
        # cells: going from one cell to the other, the lead of one would shift by more than that.)
        ranges = strip.windows(values, torch.maximum) - strip.windows(values, torch.minimum)
        shift = (sway @ ranges.flatten(1)).view(ranges.shape[1:]) + ROUNDING
        sure = strip.windows(lead, torch.minimum) > shift
        strip_ids = strip.spread(label[: sure.shape[0], : sure.shape[1]]).flatten()
        for places, logits in strip.pixels(~sure):
            strip_ids[places] = (weights @ logits.sigmoid_().T).max(0).indices
        ids[rows] = strip_ids.view(-1, ids.shape[1])
    return ids
