"""Swin: a hierarchy of attention within windows that shift from block to block.

Liu et al., "Swin Transformer" (ICCV 2021). As the backbone of MaskFormer and Mask2Former: maps of
any size are padded to whole windows, and each of the four outputs has a norm of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.layers.attention import attend, merge_heads
from triptych.networks.layers.chunks import CHUNK, by_chunks, in_chunks
from triptych.networks.layers.drop_path import DropPath, drop_path_rates
from triptych.networks.layers.initialise import initialise
from triptych.networks.layers.linear import Linear

# Inside this file features lie as (B, h, w, C), in windows as (B * windows, n, C), n = window².


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learnt bias for each relative position.

    Args:
        dim: width ``C``.
        heads: attention heads.
        window: side of a window.
    """

    bias_index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.register_buffer("bias_index", bias_index(window), persistent=False)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map ``(B * windows, n, C)`` to the same shape.

        Args:
            mask: ``(windows, 1, n, n)``, added to the attention scores; None adds nothing.
        """
        query, key, value = (
            self.query_key_value(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        ).unbind(0)
        bias = self.bias_table[self.bias_index].permute(2, 0, 1)
        if mask is not None:
            bias = (bias + mask).repeat(x.shape[0] // mask.shape[0], 1, 1, 1)
        else:
            bias = bias[None]
        mixed = attend(query, key, value, bias)
        return self.out(merge_heads(mixed))


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(Linear(dim, hidden), nn.GELU(), Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., C)`` to the same shape."""
        widen, _, narrow = self
        return narrow(widen(x, "gelu"))


class Block(nn.Module):
    """Window attention and feed-forward, each behind a norm and around a shortcut.

    Args:
        shift: how far the windows are shifted up and left; 0 for the regular grid.
    """

    recomputable = True  # see train/recompute.py

    def __init__(
        self, dim: int, heads: int, window: int, shift: int, expansion: float, drop_path: float
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        hidden = int(dim * expansion)
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.feedforward = FeedForward(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map ``(B, h, w, C)`` to the same shape; ``mask`` is used by shifted blocks only."""
        x = x + self.drop_path(self._attend(self.norm1(x), mask if self.shift else None))
        # Hidden layers in the cache: 1.7 times as quick on the largest map of Swin-T at 640x640.
        return self._feed_forward(x) if self.training else by_chunks(self._feed_forward, x)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.feedforward(self.norm2(x)))

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        height, width = x.shape[1:3]
        row_by_row = in_rows(x)
        # Padding comes after the norm, so that padded tokens are zero: part of the trained weights.
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = x.shape
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        if row_by_row:
            self._attend_in_rows(x, mask)
        else:
            x = from_windows(self.attention(to_windows(x, self.window), mask), self.window, padded)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :height, :width]

    def _attend_in_rows(self, x: Tensor, mask: Tensor | None) -> None:
        """Attend within whole windows of ``(B, h, w, C)``, in place, and row by row of windows.

        Args:
            mask: of a first and a last row, for the rows between them are like the first.
        """
        across = x.shape[2] // self.window
        for start in range(0, x.shape[1], self.window):
            row = x[:, start : start + self.window]
            last = start + self.window == x.shape[1]
            seen = None if mask is None else mask[-across:] if last else mask[:across]
            mixed = self.attention(to_windows(row, self.window), seen)
            row.copy_(from_windows(mixed, self.window, row.shape))


class Stage(nn.ModuleList):
    """Blocks on one map; every second one is shifted by half a window."""

    def __init__(
        self, dim: int, heads: int, window: int, expansion: float, rates: Sequence[float]
    ) -> None:
        super().__init__(
            Block(dim, heads, window, window // 2 if block % 2 else 0, expansion, rate)
            for block, rate in enumerate(rates)
        )
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, C)`` to the same shape."""
        height, width = x.shape[1:3]
        if in_rows(x):
            height = min(height, 2 * self.window)  # a first and a last row of windows
        mask = shift_mask(height, width, self.window, x.dtype, x.device)
        for block in self:
            x = block(x, mask)
        return x


class PatchMerging(nn.Module):
    """Halve a map: each 2x2 patch becomes one token of twice the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, C)`` to ``(B, h/2, w/2, 2C)``, rounded up."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        # The order of the published weights: down the patch's columns.
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(self.norm(x))


class Swin(nn.Module):
    """The Swin encoder: pixels to four normed maps at strides 4, 8, 16 and 32.

    The defaults are Swin-T's.

    Args:
        dim: width of the first map; each further one is twice as wide.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: side of a window.
        patch: side of a patch, the stride of the first map.
        expansion: hidden width of the feed-forward, in multiples of its width.
        drop_path: drop path rate of the last block.
    """

    def __init__(
        self,
        dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        *,
        window: int = 7,
        patch: int = 4,
        expansion: float = 4,
        drop_path: float = 0.3,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.channels = tuple(dim * 2**stage for stage in range(len(depths)))
        self.embed = nn.Conv2d(3, dim, patch, patch)
        self.embed_norm = nn.LayerNorm(dim)
        rates = drop_path_rates(drop_path, depths)
        self.stages = nn.ModuleList(
            Stage(width, heads[stage], window, expansion, rates[stage])
            for stage, width in enumerate(self.channels)
        )
        self.merges = nn.ModuleList(PatchMerging(width) for width in self.channels[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)
        self.apply(initialise)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map pixels ``(B, 3, H, W)`` to maps ``(B, C_i, H/s, W/s)``, rounded up."""
        height, width = pixels.shape[-2:]
        pixels = F.pad(pixels, (0, -width % self.patch, 0, -height % self.patch))
        x = self.embed_norm(self.embed(pixels).permute(0, 2, 3, 1))
        maps = []
        for index, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            if index:
                x = self.merges[index - 1](x)
            x = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
        return tuple(maps)


def in_rows(x: Tensor) -> bool:
    """Whether the windows of ``(B, h, w, C)`` are treated row by row.

    Queries, keys, values and the bias of each window then stay in the cache.
    """
    return in_chunks(x) and x.shape[1] * x.shape[2] > 4 * CHUNK


def to_windows(x: Tensor, window: int) -> Tensor:
    """Cut ``(B, h, w, C)``, whole windows a side, into ``(B * windows, n, C)``, row by row."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return x.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def from_windows(x: Tensor, window: int, shape: Sequence[int]) -> Tensor:
    """Put windows back together to ``shape (B, h, w, C)``: the inverse of :func:`to_windows`."""
    _, height, width, channels = shape
    x = x.reshape(-1, height // window, width // window, window, window, channels)
    return x.transpose(2, 3).reshape(shape)


def shift_mask(
    height: int, width: int, window: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Additive mask ``(windows, 1, n, n)`` for windows shifted by half: -100 across the seams.

    After a cyclic shift the last window of a row or column holds pixels of both image borders,
    which must not see each other. -100 is the published constant; it is zero after softmax.
    """
    height, width = height + -height % window, width + -width % window
    shift = window // 2

    def sides(length: int) -> Tensor:
        position = torch.arange(length, dtype=torch.long, device=device)
        return (position >= length - window).int() + (position >= length - shift).int()

    regions = sides(height)[:, None] * 3 + sides(width)
    regions = to_windows(regions[None, :, :, None], window).squeeze(2)
    apart = regions[:, None, :, None] != regions[:, None, None, :]
    return apart.to(dtype) * -100


def bias_index(window: int) -> Tensor:
    """Row of the bias table for each pair of a window's positions: ``(n, n)``."""
    position = torch.arange(window**2, dtype=torch.long, device="cpu")
    row, column = position // window, position % window
    down = row[:, None] - row + window - 1
    right = column[:, None] - column + window - 1
    return down * (2 * window - 1) + right


SIZES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "swin_tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin_base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin_large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
"""``dim``, ``depths`` and ``heads`` of the published sizes (Swin Transformer, section 3.3)."""


def swin_tiny(*, window: int = 7, drop_path: float = 0.3) -> Swin:
    """Swin-T: 27.5 M parameters."""
    return Swin(*SIZES["swin_tiny"], window=window, drop_path=drop_path)


def swin_small(*, window: int = 7, drop_path: float = 0.3) -> Swin:
    """Swin-S: 48.8 M parameters."""
    return Swin(*SIZES["swin_small"], window=window, drop_path=drop_path)


def swin_base(*, window: int = 12, drop_path: float = 0.3) -> Swin:
    """Swin-B: 86.9 M parameters. MaskFormer and Mask2Former use windows of 12."""
    return Swin(*SIZES["swin_base"], window=window, drop_path=drop_path)


def swin_large(*, window: int = 12, drop_path: float = 0.3) -> Swin:
    """Swin-L: 195.2 M parameters. MaskFormer and Mask2Former use windows of 12."""
    return Swin(*SIZES["swin_large"], window=window, drop_path=drop_path)
