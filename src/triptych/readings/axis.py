"""One axis of the way from the coarse grid to image pixels: as taps, and cut into blocks."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_CELLS = 4
"""Coarse cells along a block: fewer tell more of its pixels, more cost fewer calls."""

BLOCK_PIXELS = 8
"""Pixels along a block, at least."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """An axis in ``t`` blocks of ``p`` pixels, each computed from ``c`` neighbouring cells."""

    start: Tensor
    """``(t,)`` int64: the first cell of each block."""
    taps: Tensor
    """``(t, p, c)`` float32: the weights of the block's cells at each pixel. The last block may
    reach beyond the image, where it repeats the last pixel."""
    valid: Tensor
    """``(t, p)`` bool: False beyond the image."""

    def cells(self) -> Tensor:
        """``(t, c)``: the cells of each block."""
        return _runs(self.start, self.taps.shape[2])


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of the resize: pixel ``j`` is a weighted sum of ``n`` cells from ``start[j]`` on."""

    start: Tensor
    """``(pixels,)`` int64, never decreasing."""
    taps: Tensor
    """``(pixels, n)`` float32; ``n`` is 2 for one bilinear step, 3 or 4 for two."""

    @classmethod
    @functools.lru_cache(maxsize=32)  # small, and the same for every image of a stream
    def of(cls, cells: int, padded: int, valid: int, pixels: int, device: torch.device) -> Axis:
        """Resize ``cells`` to ``padded``, crop to ``valid``, resize to ``pixels``."""
        # Resizing the unit vectors gives exactly the weights that the two operations use.
        basis = torch.eye(cells, dtype=torch.float32, device=device)[None]
        if padded != cells:
            basis = F.interpolate(basis, size=padded, mode="linear", align_corners=False)
        basis = basis[:, :, :valid]
        if pixels != valid:
            basis = F.interpolate(basis, size=pixels, mode="linear", align_corners=False)
        weights = basis[0].T
        used = (weights != 0).to(torch.uint8)
        first, last = used.argmax(1), cells - 1 - used.flip(1).argmax(1)
        width = int((last - first).max()) + 1
        start = first.clamp(max=cells - width)
        return cls(start, weights.gather(1, _runs(start, width)))

    def __len__(self) -> int:
        return len(self.start)

    def cells(self) -> Tensor:
        """``(pixels, n)``: the cells that the taps weigh."""
        return _runs(self.start, self.taps.shape[1])

    @functools.cached_property
    def blocks(self) -> Blocks:
        """The axis in blocks of about :data:`BLOCK_CELLS` cells."""
        pixels, cells = len(self), int(self.start[-1]) + self.taps.shape[1]
        return self.cut(max(round(BLOCK_CELLS * pixels / cells), BLOCK_PIXELS))

    def cut(self, edge: int) -> Blocks:
        """The axis in blocks of ``edge`` pixels."""
        pixels, cells = len(self), int(self.start[-1]) + self.taps.shape[1]
        places = torch.arange(
            -(-pixels // edge) * edge, dtype=torch.long, device=self.start.device
        ).view(-1, edge)
        inside = places.clamp(max=pixels - 1)
        first, last = self.start[inside[:, 0]], self.start[inside[:, -1]]
        width = int((last - first).max()) + self.taps.shape[1]
        start = first.clamp(max=cells - width)
        within = self.cells()[inside] - start[:, None, None]
        taps = self.taps.new_zeros(*places.shape, width).scatter_(2, within, self.taps[inside])
        return Blocks(start, taps, places < pixels)

    def under(self, blocks: Blocks) -> Blocks:
        """Blocks of the pixels of this axis that are the cells of ``blocks``."""
        pixels, width = blocks.cells(), self.taps.shape[1]
        start = self.start[pixels[:, 0]]
        length = int((self.start[pixels[:, -1]] - start).max()) + width
        start = start.clamp(max=int(self.start[-1]) + width - length)
        within = self.cells()[pixels] - start[:, None, None]
        taps = self.taps.new_zeros(*pixels.shape, length).scatter_(2, within, self.taps[pixels])
        return Blocks(start, taps, torch.ones_like(pixels, dtype=torch.bool))


def _runs(start: Tensor, length: int) -> Tensor:
    """``(len(start), length)``: ``start``, ``start + 1``, ..."""
    return start[:, None] + torch.arange(length, dtype=torch.long, device=start.device)
