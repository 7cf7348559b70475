"""The semantic reading: one class for every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.masks import Classes, MaskSet
from triptych.readouts.grid import Canvas, Grid, first_true, reading
from triptych.readouts.labeller import label_pixels
from triptych.readouts.scores import pair_scores

ROUNDING = 1e-5
"""More than float32 sums over hundreds of queries can be off by."""

NEGLIGIBLE = 3e-3
"""A query that shifts classes by less in a tile is only looked at where that could decide."""


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
    least, most = grid.bounds
    label = torch.empty(len(least), dtype=torch.long, device=grid.device)
    contested = torch.empty(len(least), dtype=torch.bool, device=grid.device)
    for band in grid.bands(sum(scores.shape)):
        floor, label[band] = (least[band].sigmoid_() @ scores).max(1)
        can_win = most[band].sigmoid_() @ scores + ROUNDING >= floor[:, None]
        contested[band] = can_win.sum(1) > 1
    canvas = Canvas(grid, torch.long)
    canvas.fill(label)
    doubtful = [label[:0]]
    for tiles in grid.bands(sum(scores.shape), contested.nonzero()[:, 0]):
        doubtful += _contest(grid, scores, tiles, canvas)
    ids = canvas.image()
    for places, logits in grid.at(torch.cat(doubtful)):
        ids.view(-1)[places] = (scores.T @ logits.sigmoid_()).max(0).indices
    return ids


def _contest(grid: Grid, scores: Tensor, tiles: Tensor, canvas: Canvas) -> Iterator[Tensor]:
    """Put the labels of all pixels of some tiles.

    Yields:
        Places in the flattened image of those at which queries that were left out could matter.
    """
    low, high = (bound[tiles].sigmoid_() for bound in grid.bounds)
    can_win = high @ scores + ROUNDING >= (low @ scores).amax(1, keepdim=True)
    # Only as far as a query weighs the classes differently can it shift one against another, and
    # only as far as it varies over the tile can it do so more at one pixel than at the next.
    sway = (scores.amax(1) - scores.amin(1)) * (high - low) / 2
    matters = sway > NEGLIGIBLE
    slack = sway.masked_fill_(matters, 0).sum(1, keepdim=True) + ROUNDING
    fixed = (low.add_(high) / 2).masked_fill_(matters, 0) @ scores
    rivals = can_win.sum(1)
    weights = scores.T.contiguous()
    for part in grid.parts(tiles, matters, others=rivals):
        labels, real = first_true(can_win[part.index], int(rivals[part.index].max()))
        share = weights[labels[:, :, None], part.queries[:, None]] * part.present[:, None]
        base = fixed[part.index].gather(1, labels).masked_fill_(~real, -math.inf)
        totals = torch.baddbmm(base[:, :, None], share, part.logits.sigmoid_())
        best, winner = totals.max(1, keepdim=True)
        lead = best - totals.scatter_(1, winner, -math.inf).amax(1, keepdim=True)
        canvas.put(part.tiles, labels.gather(1, winner[:, 0]))
        yield grid.pixels(part.tiles, lead[:, 0] <= slack[part.index])
