"""MiT, the mix transformer of SegFormer: a hierarchy of attention without position embedding.

Xie et al., "SegFormer" (NeurIPS 2021), section 3.1. Positions are learnt from the zero padding of
the convolutions inside, so any input size will do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.layers.attention import merge_heads
from triptych.networks.layers.drop_path import DropPath, drop_path_rates
from triptych.networks.layers.initialise import initialise
from triptych.networks.layers.linear import Linear

# Inside this file features lie as (B, h, w, C): what linear layers and norms want, while a
# convolution sees the same memory as a channels-last map.


def convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution to features ``(B, h, w, C)``."""
    return convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ReducedAttention(nn.Module):
    """Self-attention whose keys and values come from the map shrunk ``reduction`` times.

    The spatial reduction of PVT (Wang et al., ICCV 2021), which SegFormer takes over: cost falls
    by ``reduction`` squared.
    """

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(dim, dim)
        self.key_value = Linear(dim, 2 * dim)
        self.out = Linear(dim, dim)
        self.reduce = nn.Conv2d(dim, dim, reduction, reduction) if reduction > 1 else None
        self.reduce_norm = nn.LayerNorm(dim) if reduction > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, C)`` to the same shape."""
        context = x
        if self.reduce is not None and self.reduce_norm is not None:
            context = self.reduce_norm(convolve(self.reduce, x))
        key, value = self._heads(self.key_value(context), 2).unbind(2)
        query = self._heads(self.query(x), 1).squeeze(2)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        return self.out(merge_heads(mixed)).view(x.shape)

    def _heads(self, x: Tensor, parts: int) -> Tensor:
        """``(B, h, w, parts * C)`` to ``(B, h * w, parts, heads, C / heads)``."""
        return x.flatten(1, 2).unflatten(2, (parts, self.heads, -1))


class MixFFN(nn.Module):
    """Feed-forward with a depthwise 3x3 convolution inside, which tells tokens where they lie."""

    def __init__(self, dim: int, hidden: int, mixing: bool = True) -> None:
        super().__init__()
        self.expand = Linear(dim, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden) if mixing else None
        self.project = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, C)`` to the same shape."""
        x = self.expand(x)
        if self.depthwise is not None:
            x = convolve(self.depthwise, x)
        return self.project(F.gelu(x))


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and around a shortcut."""

    recomputable = True  # see train/recompute.py

    def __init__(
        self,
        dim: int,
        heads: int,
        reduction: int,
        expansion: float,
        drop_path: float,
        eps: float,
        mixing: bool = True,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attention = ReducedAttention(dim, heads, reduction)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.feedforward = MixFFN(dim, int(dim * expansion), mixing)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, C)`` to the same shape."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.feedforward(self.norm2(x)))


class Positions(nn.Embedding):
    """A learnt vector for each place of a grid, resized bilinearly where the map is another.

    As ViT (Dosovitskiy et al., ICLR 2021, section 3.2) and SETR have them.
    """

    def __init__(self, height: int, width: int, dim: int) -> None:
        super().__init__(height * width, dim)
        self.grid = (height, width)
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Add them to ``(B, h, w, C)``."""
        size = (x.shape[1], x.shape[2])
        grid = self.weight.unflatten(0, self.grid)
        if size != self.grid:
            resized = F.interpolate(grid.permute(2, 0, 1)[None], size, mode="bilinear")
            grid = resized[0].permute(1, 2, 0)
        return x + grid


class Stage(nn.Module):
    """Overlapping patch embedding, blocks, norm."""

    def __init__(
        self,
        inputs: int,
        dim: int,
        kernel: int,
        stride: int,
        blocks: list[Block],
        eps: float,
        positions: Positions | None = None,
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(inputs, dim, kernel, stride, padding=kernel // 2)
        self.embed_norm = nn.LayerNorm(dim)
        self.positions = positions
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(dim, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, h, w, C)`` to ``(B, h / stride, w / stride, dim)``, rounded up."""
        x = self.embed_norm(convolve(self.embed, x))
        if self.positions is not None:
            x = self.positions(x)
        return self.norm(self.blocks(x))


class MiT(nn.Module):
    """The mix transformer encoder: pixels to four maps at strides 4, 8, 16 and 32.

    Args:
        channels: widths of the four maps.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        reductions: how many times shorter keys and values are along each side.
        kernels: sizes of the patch embeddings; larger than their stride, hence overlapping.
        strides: strides of the patch embeddings.
        expansions: hidden width of each stage's feed-forward, in multiples of its width.
        drop_path: drop path rate of the last block.
        eps: of the norms before, between and after blocks; the authors' code has 1e-6 (1e-5 in
            patch embeddings and reductions), transformers has 1e-5 everywhere.
        positions: height and width of an input for which each stage learns the positions of its
            tokens (an ablation: PVT, which SegFormer comes from); None has none.
        mixing: False leaves the convolution out of the feed-forward (an ablation: the paper's
            table 1c).

    Raises:
        TriptychError: a width is no multiple of its heads.
    """

    def __init__(
        self,
        channels: Sequence[int],
        depths: Sequence[int],
        *,
        heads: Sequence[int] = (1, 2, 5, 8),
        reductions: Sequence[int] = (8, 4, 2, 1),
        kernels: Sequence[int] = (7, 3, 3, 3),
        strides: Sequence[int] = (4, 2, 2, 2),
        expansions: Sequence[float] = (4, 4, 4, 4),
        drop_path: float = 0.1,
        eps: float = 1e-6,
        positions: Sequence[int] | None = None,
        mixing: bool = True,
    ) -> None:
        super().__init__()
        if any(dim % count for dim, count in zip(channels, heads, strict=True)):
            raise TriptychError(f"channels {list(channels)} do not divide by heads {list(heads)}")
        self.channels = tuple(channels)
        rates = drop_path_rates(drop_path, depths)
        total = [math.prod(strides[: index + 1]) for index in range(len(strides))]
        self.stages = nn.ModuleList()
        for index, dim in enumerate(channels):
            blocks = [
                Block(dim, heads[index], reductions[index], expansions[index], rate, eps, mixing)
                for rate in rates[index]
            ]
            inputs = 3 if index == 0 else channels[index - 1]
            places = None
            if positions is not None:
                height, width = (math.ceil(edge / total[index]) for edge in positions)
                places = Positions(height, width, dim)
            self.stages.append(
                Stage(inputs, dim, kernels[index], strides[index], blocks, eps, places)
            )
        # At multiples of this every map divides evenly and the reductions leave no row out.
        self.size_divisor = math.lcm(*(s * r for s, r in zip(total, reductions, strict=True)))
        self.apply(initialise)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map pixels ``(B, 3, H, W)`` to maps ``(B, C_i, H/s, W/s)``, rounded up."""
        x = pixels.permute(0, 2, 3, 1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x.permute(0, 3, 1, 2))
        return tuple(maps)
