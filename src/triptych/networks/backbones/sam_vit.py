"""The image encoder of Segment Anything: a plain ViT whose blocks attend within windows.

Kirillov et al., "Segment Anything" (ICCV 2023), section 3 and appendix A, after Li et al.,
"Exploring Plain Vision Transformer Backbones for Object Detection" (ECCV 2022), section 3. A few
blocks see the whole map. Relative positions are decomposed into rows and columns (Li et al.,
"MViTv2", CVPR 2022, section 4.1).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.backbones.swin import FeedForward, from_windows, to_windows
from triptych.networks.layers.attention import attend, merge_heads
from triptych.networks.layers.channel_norm import ChannelNorm
from triptych.networks.layers.chunks import by_chunks, in_chunks
from triptych.networks.layers.initialise import initialise
from triptych.networks.layers.linear import Linear, PointConv

# Inside this file features lie as (B, h, w, C).

QUERIES = 256
"""Queries that attend at once. Their scores and biases, 4 MB for a head on a map of 64x64, stay in
the cache: twice as quick as all heads and queries at once, which also takes 800 MB."""


class RelativeAttention(nn.Module):
    """Self-attention on a map, with learnt terms for how far apart rows and columns are.

    Args:
        dim: width ``C``.
        heads: attention heads.
        side: rows, and columns, of the map.
    """

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.heads = heads
        self.query_key_value = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)
        self.rows = nn.Parameter(torch.empty(2 * side - 1, dim // heads))
        self.columns = nn.Parameter(torch.empty(2 * side - 1, dim // heads))
        nn.init.zeros_(self.rows)
        nn.init.zeros_(self.columns)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, side, side, C)`` to the same shape."""
        _, height, width, _ = x.shape
        query, key, value = (
            self.query_key_value(x)
            .flatten(1, 2)
            .unflatten(2, (3, self.heads, -1))
            .permute(2, 0, 3, 1, 4)
        ).unbind(0)
        query = query.unflatten(2, (height, width))
        rows, columns = by_distance(self.rows, height), by_distance(self.columns, width)
        if in_chunks(x):
            mixed = query.new_empty(value.shape)
            step = max(QUERIES // width, 1)
            for head in range(self.heads):
                one = slice(head, head + 1)
                for start in range(0, height, step):
                    some = slice(start, start + step)
                    mixed[:, one, start * width : (start + step) * width] = _attend(
                        query[:, one, some], key[:, one], value[:, one], rows[some], columns
                    )
        else:
            mixed = _attend(query, key, value, rows, columns)
        return self.out(merge_heads(mixed)).unflatten(1, (height, width))


def by_distance(table: Tensor, side: int) -> Tensor:
    """Rows of a table for each pair of coordinates.

    Args:
        table: ``(2 * side - 1, d)``, for distances from ``1 - side`` to ``side - 1``.
        side: number of coordinates.

    Returns:
        ``(side, side, d)``, for each query and each key.
    """
    at = torch.arange(side, dtype=torch.long, device=table.device)
    return table[at[:, None] - at + side - 1]


def _attend(query: Tensor, key: Tensor, value: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attend from some rows of a map to all of it.

    Args:
        query: ``(B, heads, r, w, d)``.
        key: ``(B, heads, h * w, d)``, like ``value``.
        rows: ``(r, h, d)``, relative positions of the query's rows and the key's.
        columns: ``(w, w, d)``, the same for columns.

    Returns:
        ``(B, heads, r * w, d)``.
    """
    # The published terms take the query as it is, while scores scale it by 1 / sqrt(d).
    up = query @ rows.transpose(1, 2)
    along = (query.transpose(2, 3) @ columns.transpose(1, 2)).transpose(2, 3)
    bias = (up[..., :, None] + along[..., None, :]).flatten(-2).flatten(2, 3)
    return attend(query.flatten(2, 3), key, value, bias)


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and around a shortcut.

    Args:
        dim: width ``C``.
        heads: attention heads.
        hidden: width inside the feed-forward.
        side: rows, and columns, of the map.
        window: side of the windows that it attends within; None for the whole map.
        eps: of the norms.
    """

    def __init__(
        self, dim: int, heads: int, hidden: int, side: int, window: int | None, eps: float
    ) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attention = RelativeAttention(dim, heads, window or side)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.feedforward = FeedForward(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, C)`` to the same shape."""
        y = self.norm1(x)
        x = x + (self.attention(y) if self.window is None else self._in_windows(y, self.window))
        return self._feed_forward(x) if self.training else by_chunks(self._feed_forward, x)

    def _in_windows(self, x: Tensor, window: int) -> Tensor:
        height, width = x.shape[1:3]
        # Padding comes after the norm and is attended to like the rest: part of the trained
        # weights.
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        tokens = self.attention(to_windows(x, window).unflatten(1, (window, window)))
        return from_windows(tokens, window, x.shape)[:, :height, :width]

    def _feed_forward(self, x: Tensor) -> Tensor:
        return x + self.feedforward(self.norm2(x))


class Neck(nn.Module):
    """Tokens to the width that the decoder has: two convolutions, each with a norm."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.reduce = PointConv(dim, width, bias=False)
        self.norm1 = ChannelNorm(width)
        self.mix = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = ChannelNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, C)`` to ``(B, width, h, w)``."""
        x = self.norm1(self.reduce(x.permute(0, 3, 1, 2)))
        return self.norm2(self.mix(x))


class SAMViT(nn.Module):
    """The image encoder: pixels of one size to one map at stride ``patch``.

    The defaults are ViT-B's.

    Args:
        dim: width ``C`` of the tokens.
        depth: number of blocks.
        heads: attention heads.
        hidden: width inside the feed-forward.
        global_blocks: which blocks attend to the whole map, counted from 0.
        image_size: height and width of the pixels; a multiple of ``patch``.
        patch: side of a patch.
        window: side of the windows of the other blocks.
        width: channels of the result.
        eps: of the norms in the blocks.

    Raises:
        ValueError: ``heads`` does not divide ``dim``, or ``patch`` not ``image_size``.
    """

    def __init__(
        self,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        *,
        hidden: int = 3072,
        global_blocks: Collection[int] = (2, 5, 8, 11),
        image_size: int = 1024,
        patch: int = 16,
        window: int = 14,
        width: int = 256,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if image_size % patch:
            raise ValueError(f"patches of {patch} pixels do not fill {image_size}")
        self.image_size = image_size
        self.channels = width
        side = image_size // patch
        self.embed = nn.Conv2d(3, dim, patch, patch)
        self.positions = nn.Parameter(torch.empty(1, side, side, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads, hidden, side, None if index in global_blocks else window, eps)
            for index in range(depth)
        )
        self.neck = Neck(dim, width)
        self.apply(initialise)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels ``(B, 3, S, S)`` to ``(B, width, S / patch, S / patch)``.

        Raises:
            TriptychError: they are of another size: its positions are learnt for one.
        """
        height, width = pixels.shape[-2:]
        size = self.image_size
        if (height, width) != (size, size):
            raise TriptychError(
                f"this network takes {size} x {size} pixels and no other size, not {width} x "
                f"{height}; resize the longest edge to {size} and pad"
            )
        x = self.embed(pixels).permute(0, 2, 3, 1) + self.positions
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.neck(x)
        return features
