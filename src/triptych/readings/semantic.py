"""The semantic reading: one class for every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.classes import Classes
from triptych.readings.dense import argmax, class_scores, resized_class_scores, tile_chunks
from triptych.readings.grid import Canvas, Grid, first_true, reading
from triptych.readings.labeller import label_pixels
from triptych.readings.masks import Masks
from triptych.readings.scores import pair_scores
from triptych.truth import ignored_id

ROUNDING = 1e-5
"""More than float32 sums over hundreds of queries can be off by, as a share of the sum."""

NEGLIGIBLE = 3e-3
"""A query that shifts classes by less in a tile, as a share of the winner's score, is only looked
at where that could decide."""

SPARSE = 0.3
"""Up to this share of the cost of a dense tile, the queries and classes that matter are computed
alone. Should that decide too few pixels, the tile is computed densely after all."""


@dataclass(frozen=True, eq=False)
class SemanticMap:
    """A class for every pixel of the image."""

    ids: Tensor
    """``(H, W)`` int64, class ids 0 to ``K-1``, or :attr:`void`."""
    classes: Classes

    @property
    def void(self) -> int:
        """What stands where none of the classes wins: 255, or 65535 if there are more classes.

        Truth, metrics and label files have the same. Only a pixel labeller whose classes were
        regrouped gives it.
        """
        return ignored_id(len(self.classes))

    def areas(self) -> Tensor:
        """``(K,)`` int64: how many pixels each class has."""
        return self.ids.flatten().bincount(minlength=len(self.classes))[: len(self.classes)]


def read_semantic(mask_set: Masks) -> SemanticMap:
    """Give each pixel the class ``argmax_k sum_i p_i(k) sigmoid(m_i)``.

    ``p_i`` is the softmax of query ``i``'s class logits with the "no object" column dropped
    afterwards; ``m_i`` its mask logits (Cheng et al., Masked-attention Mask Transformer for
    Universal Image Segmentation, 2022, section 3.3 and its released code). The settings of the
    mask set say what is resized to the image: ``semantic_resize`` of
    :class:`triptych.readings.settings.ReadingSettings`. Of equal classes the first wins. For a
    pixel labeller: the largest upsampled logit; if its classes were regrouped, the largest sum of
    probabilities, and void where what no group lists has the largest.

    Raises:
        TriptychError: the masks have no classes (a promptable network), or are not finite.
    """
    mask_set.require("semantic")
    with reading(mask_set) as grid:
        if mask_set.competition == "softmax":
            found = SemanticMap(label_pixels(grid, groups=mask_set.groups)[0], mask_set.classes)
            if mask_set.groups is not None:
                found.ids.masked_fill_(found.ids == len(found.classes), found.void)
            return found
        geometry = mask_set.geometry
        # Where nothing is resized after the network's input, both ways are one.
        resized = (
            mask_set.readings.semantic_resize == "scores"
            and geometry.valid_size != geometry.image_size
        )
        ids = _largest_total(grid, pair_scores(mask_set), resized)
        return SemanticMap(ids, mask_set.classes)


def _largest_total(grid: Grid, scores: Tensor, resized: bool) -> Tensor:
    """``(H, W)`` int64: ``argmax_k`` of the sums over queries of ``scores (N, K) * sigmoid(m)``.

    ``resized``: the sums are those at the network's input, resized.
    """
    canvas = Canvas(grid, torch.long)
    if grid.small:
        grid.check_finite()
        tiles = torch.arange(grid.shape[0] * grid.shape[1], dtype=torch.long, device=grid.device)
        can_win = torch.ones((len(tiles), scores.shape[1]), dtype=torch.bool, device=grid.device)
        _put_all(grid, scores, tiles, can_win, canvas, resized)
        return canvas.image()
    least, most = grid.bounds
    label = torch.empty(len(least), dtype=torch.long, device=grid.device)
    contested = torch.empty(len(least), dtype=torch.bool, device=grid.device)
    for band in grid.bands(sum(scores.shape)):
        floor, label[band] = (least[band].sigmoid_() @ scores).max(1)
        can_win = most[band].sigmoid_() @ scores * (1 + ROUNDING) >= floor[:, None]
        contested[band] = can_win.sum(1) > 1
    canvas.fill(label)
    places = [label[:0]]
    for tiles in grid.bands(sum(scores.shape), contested.nonzero()[:, 0]):
        places += _contest(grid, scores, tiles, canvas, resized)
    ids = canvas.image()
    for some, logits in grid.at(torch.cat(places)):
        ids.view(-1)[some] = (scores.T @ logits.sigmoid_()).max(0).indices
    return ids


def _contest(
    grid: Grid, scores: Tensor, tiles: Tensor, canvas: Canvas, resized: bool
) -> Iterator[Tensor]:
    """Put the labels of all pixels of some tiles.

    Yields:
        Places in the flattened image of those at which queries that were left out could matter.
    """
    low, high = (bound[tiles].sigmoid_() for bound in grid.bounds)
    best = (low @ scores).amax(1, keepdim=True)
    can_win = high @ scores * (1 + ROUNDING) >= best
    if resized:
        _put_all(grid, scores, tiles, can_win, canvas, resized)
        return
    # Only as far as a query weighs the classes differently can it shift one against another, and
    # only as far as it varies over the tile can it do so more at one pixel than at the next.
    sway = (scores.amax(1) - scores.amin(1)) * (high - low) / 2
    matters = sway > NEGLIGIBLE * best
    rivals = can_win.sum(1)
    dense = _sparse_cost(matters.sum(1), rivals) > SPARSE * _dense_cost(*scores.shape)
    slack = sway.masked_fill_(matters, 0).sum(1) + ROUNDING * best[:, 0]
    fixed = (low.add_(high) / 2).masked_fill_(matters, 0) @ scores
    weights = scores.T.contiguous()
    few = (~dense).nonzero()[:, 0]
    for part in grid.parts(tiles[few], matters[few], others=rivals[few]):
        index = few[part.index]
        labels, real = first_true(can_win[index], int(rivals[index].max()))
        share = weights[labels[:, :, None], part.queries[:, None]] * part.present[:, None]
        base = fixed[index].gather(1, labels).masked_fill_(~real, -math.inf)
        totals = torch.baddbmm(base[:, :, None], share, part.logits.sigmoid_())
        most, winner = totals.max(1, keepdim=True)
        lead = most - totals.scatter_(1, winner, -math.inf).amax(1, keepdim=True)
        canvas.put(part.tiles, labels.gather(1, winner[:, 0]))
        doubtful = lead[:, 0] <= slack[index, None]
        dense[index] = doubtful.sum(1) * 2 > doubtful.shape[1]
        yield grid.pixels(part.tiles, doubtful & ~dense[index, None])
    _put_all(grid, scores, tiles[dense], can_win[dense], canvas, resized)


def _put_all(
    grid: Grid, scores: Tensor, tiles: Tensor, can_win: Tensor, canvas: Canvas, resized: bool
) -> None:
    """Put the labels of tiles on which all queries are computed, and the classes that can win."""
    totals = resized_class_scores if resized else class_scores
    places = torch.arange(len(tiles), dtype=torch.long, device=tiles.device)
    for some in tile_chunks(grid, places, max(scores.shape)):
        labels = can_win[some].any(0).nonzero()[:, 0]
        found = argmax(totals(grid, tiles[some], scores[:, labels]))
        canvas.put(tiles[some], labels[found])


def _sparse_cost(queries: Tensor, classes: Tensor) -> Tensor:
    """Nanoseconds a pixel on one core, about, of the queries and classes that matter."""
    return 2.5 * queries + 3.0 * classes + 0.3 * queries * classes


def _dense_cost(queries: int, classes: int) -> float:
    """The same, of all of them; see :mod:`triptych.readings.dense`."""
    return 3.0 * queries + 0.6 * classes + 0.036 * queries * classes
