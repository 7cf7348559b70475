"""The panoptic contest: which query wins which pixels, and which queries win enough of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.readings.dense import DENSE_GAIN, argmax, tile_chunks, upsample
from triptych.readings.grid import Canvas, Grid, blank
from triptych.readings.settings import SegmentPixels


@dataclass(frozen=True, eq=False)
class Contest:
    """What became of ``A`` queries that competed for the pixels of an image."""

    pixels: Tensor
    """``(A,)`` int64: how many pixels the segment of each query would have; 0 where the query has
    no own pixel."""
    stays: Tensor
    """``(A,)`` bool: the segment has pixels, and the query won enough."""
    _tally: _Tally

    def paint(self, segment_of: Tensor) -> Tensor:
        """``(H, W)`` int32: the value of each pixel's winner.

        Args:
            segment_of: ``(A + 1,)`` int32: of void, then of each query.
        """
        if not segment_of.any():
            return blank(self._tally.grid.size, torch.int32, segment_of.device)
        canvas = Canvas(self._tally.grid, torch.int32)
        canvas.fill(segment_of[self._tally.winner])
        for tiles, winners in self._tally.shared:
            canvas.put(tiles, segment_of[winners.long()])
        return canvas.image()


def compete(grid: Grid, scores: Tensor, overlap: float, segment_pixels: SegmentPixels) -> Contest:
    """Let the queries of ``grid`` compete for the pixels.

    Args:
        grid: the ``A`` queries that take part.
        scores: ``(A,)``, above 0.
        overlap: lowest ratio of the pixels that a query wins to its own pixels.
        segment_pixels: which pixels a segment gets; see
            :class:`triptych.readings.settings.ReadingSettings`.
    """
    tally = _Tally(grid, scores, segment_pixels == "kept")
    if len(scores):
        for band in grid.bands(4 * len(scores)):
            tally.count_tiles(band)
        tally.count_faint_tiles(overlap)
    pixels = tally.pixels[1:] * tally.own.gt(0)
    return Contest(pixels, pixels.gt(0) & tally.passes_overlap(overlap), tally)


class _Tally:
    """Pixels counted so far. Winners are 0 for void, or 1 + the place of the query."""

    def __init__(self, grid: Grid, scores: Tensor, kept: bool) -> None:
        """``kept``: segments get only those won pixels that are the query's own."""
        self.grid, self.scores, self.kept = grid, scores, kept
        self.areas = areas = grid.areas()
        self.winner = torch.zeros_like(areas)
        """``(T,)``: of each tile; 0 where several queries share it."""
        self.shared: list[tuple[Tensor, Tensor]] = []
        """Tiles that several share, ``(t,)``, and the winner of each pixel, ``(t, p * q)``."""
        self.won, self.pixels = (areas.new_zeros(len(scores) + 1) for _ in range(2))
        """``(1 + A,)``: won, and of these the ones that the segment gets; void first."""
        self.own = areas.new_zeros(len(scores))
        """``(A,)``: pixels at which ``sigmoid(m) >= 1/2``."""
        self.faint: list[tuple[Tensor, Tensor]] = []
        """Tiles ``(t,)`` on which several queries compete, ``(t, A)`` bool, none of them with own
        pixels there. They are void, and matter only for who won how much."""

    def passes_overlap(self, overlap: float) -> Tensor:
        """``(A,)`` bool: the queries that won enough so far."""
        # A division is exact where the share is: 55 of 100 is 0.55.
        return self.own.gt(0) & (self.won[1:].double() / self.own >= overlap)

    def count_tiles(self, band: Tensor) -> None:
        """Count some tiles ``(t,)``; the bounds of their logits settle most of them."""
        least, most = (bound[band] for bound in self.grid.bounds)
        areas = self.areas[band]
        floor, leader = (least.sigmoid() * self.scores).max(1, keepdim=True)
        contender = most.sigmoid() * self.scores >= floor
        # sigmoid(m) >= 1/2 is m >= 0, without the rounding of the sigmoid.
        inside, edge = least >= 0, (least < 0) & (most >= 0)
        self.own += (inside * areas[:, None]).sum(0)
        disputed, ends = contender.sum(1) > 1, edge.any(1)
        faint = disputed & ~ends & ~(contender & inside).any(1) & self.kept
        self.faint.append((band[faint], contender[faint]))
        winner = (leader[:, 0] + 1) * ~(disputed | ends)
        self.won.index_add_(0, winner, areas)
        if self.kept:
            winner = winner * inside.gather(1, leader)[:, 0]
        self.pixels.index_add_(0, winner, areas)
        self.winner[band] = winner
        some = ((disputed | ends) & ~faint).nonzero()[:, 0]
        self._count_pixels(band[some], contender[some], edge[some], draw=True)

    def count_faint_tiles(self, overlap: float) -> None:
        """Count the faint tiles, as far as they decide whether a query won enough."""
        if not self.faint:
            return
        tiles, contender = (torch.cat(parts) for parts in zip(*self.faint, strict=True))
        within_reach = (contender * self.areas[tiles, None]).sum(0)
        for some in torch.arange(len(tiles), dtype=torch.long, device=tiles.device).split(
            self.grid.tiles_at_once
        ):
            reachable = (self.won[1:] + within_reach).double() / self.own >= overlap
            open_ = self.pixels[1:].gt(0) & ~self.passes_overlap(overlap) & reachable
            if not open_.any():
                return
            within_reach -= (contender[some] * self.areas[tiles[some], None]).sum(0)
            needed = some[(contender[some] & open_).any(1)]
            self._count_pixels(tiles[needed], contender[needed], None, draw=False)

    def _count_pixels(
        self, tiles: Tensor, contender: Tensor, edge: Tensor | None, draw: bool
    ) -> None:
        """Count the pixels of some tiles one by one.

        Args:
            tiles: ``(t,)``.
            contender: ``(t, A)`` bool: who may win a pixel.
            edge: ``(t, A)`` bool: whose own pixels are still to be counted.
            draw: remember the winners.
        """
        matters = contender if edge is None else contender | edge
        crowded = DENSE_GAIN * matters.sum(1) > matters.shape[1]
        for some in tile_chunks(self.grid, crowded.nonzero()[:, 0], matters.shape[1]):
            logits = upsample(self.grid, tiles[some])
            valid = self.grid.valid(tiles[some])
            if edge is not None:
                own = ((logits >= 0) & valid[:, :, None]).sum(1)
                self.own += (own * edge[some]).sum(0)
            probable = logits.sigmoid().mul_(self.scores)
            best = argmax(probable)
            self._add(tiles[some], best, logits.gather(2, best[:, :, None])[:, :, 0], valid, draw)
        few = (~crowded).nonzero()[:, 0]
        for part in self.grid.parts(tiles[few], matters[few]):
            valid = self.grid.valid(part.tiles)
            if edge is not None:
                positive = (part.logits >= 0) & valid[:, None]
                ends = edge[few[part.index]].gather(1, part.queries) & part.present
                own = positive.sum(2) * ends
                self.own.index_add_(0, part.queries.flatten(), own.flatten())
            weights = self.scores[part.queries] * part.present
            best = (part.logits.sigmoid() * weights[:, :, None]).max(1).indices
            strength = part.logits.gather(1, best[:, None])[:, 0]
            self._add(part.tiles, part.queries.gather(1, best), strength, valid, draw)

    def _add(
        self, tiles: Tensor, best: Tensor, strength: Tensor, valid: Tensor, draw: bool
    ) -> None:
        """Count winners ``best (t, p * q)`` whose logits there are ``strength``."""
        winner = (best + 1) * valid
        self.won += winner.flatten().bincount(minlength=len(self.won))
        if self.kept:
            winner = winner * (strength >= 0)
        self.pixels += winner.flatten().bincount(minlength=len(self.pixels))
        if draw:
            self.shared.append((tiles, winner.int()))
