"""Pixel decoders: four backbone maps to per-pixel embeddings and the memory queries look at."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.layers.attention import Attention
from triptych.networks.layers.linear import Linear, PointConv
from triptych.networks.layers.position import fourier_position, sine_position
from triptych.networks.layers.winograd import Conv3x3


class PixelFeatures(NamedTuple):
    """What a pixel decoder hands to the query decoder."""

    mask_features: Tensor
    """``(B, C, H/4, W/4)``: a mask is the dot product of a query's embedding with these."""

    memory: tuple[Tensor, ...]
    """Maps ``(B, C, h, w)`` that the queries attend to, coarse to fine (1/32, 1/16, 1/8)."""


class ConvNorm(nn.Sequential):
    """Convolution without bias, group norm, and ReLU unless ``activate`` is off."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, groups: int = 1, activate: bool = True
    ) -> None:
        convolution: nn.Conv2d
        if kernel == groups == 1:
            convolution = PointConv(inputs, outputs, bias=False)
        elif kernel == 3 and groups == 1:
            convolution = Conv3x3(inputs, outputs)
        else:
            convolution = nn.Conv2d(
                inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False
            )
        nn.init.kaiming_uniform_(convolution.weight, a=1)
        layers: list[nn.Module] = [
            convolution,
            nn.GroupNorm(32 if outputs % 32 == 0 else 8, outputs),
        ]
        if activate:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward over one map's positions, norms after the sums."""

    recomputable = True  # see train/recompute.py

    def __init__(self, dim: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = Linear(dim, feedforward)
        self.linear2 = Linear(feedforward, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Mix ``(B, S, C)`` tokens, with ``(S, C)`` positions added to queries and keys."""
        placed = tokens + position
        tokens = self.norm1(tokens + self.attention(placed, placed, tokens))
        return self.norm2(tokens + self.linear2(self.linear1(tokens, "relu")))


class FPNPixelDecoder(nn.Module):
    """A feature pyramid whose coarsest map is first mixed by a small transformer encoder.

    The pixel decoder of MaskFormer (Cheng et al. 2021, section 3.2, "Transformer encoder over the
    last map"), which hands its three coarse maps on so that a masked-attention decoder can follow.
    Convolutions only above 1/32, so it is the quick choice on a CPU.

    Args:
        channels: widths of the four backbone maps, fine to coarse.
        dim: width ``C`` of everything that comes out.
        heads: attention heads of the encoder.
        feedforward: hidden width of the encoder.
        encoder_layers: encoder layers over the 1/32 map; 0 for a plain pyramid.
        separable: depthwise-separable convolutions in the pyramid, for small models.
        separable_kernel: their edge.
        position_bands: frequencies of a position embedding that is added to every map that comes
            out, projected by one learned linear map each; 0 for none, as published. Convolutions
            hardly know where they are, so without it two objects that look alike have like
            features, and one query takes both (Wang et al., "SOLO", 2020, and Tian et al.,
            "CondInst", 2020, section 3.2, add coordinates for the same reason).
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        dim: int,
        *,
        heads: int = 8,
        feedforward: int = 1024,
        encoder_layers: int = 1,
        separable: bool = False,
        separable_kernel: int = 5,
        position_bands: int = 0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.position_bands = position_bands
        self.reduce = PointConv(channels[3], dim)
        self.encoder = nn.ModuleList(
            EncoderLayer(dim, heads, feedforward) for _ in range(encoder_layers)
        )
        # Coarse to fine: 1/16, 1/8, 1/4.
        self.lateral = nn.ModuleList(
            ConvNorm(width, dim, 1, activate=False) for width in reversed(channels[:3])
        )
        kernel = separable_kernel if separable else None
        self.smooth = nn.ModuleList(self._smooth(dim, kernel) for _ in range(4))
        self.mask_features = PointConv(dim, dim)
        # Coarse to fine.
        self.place = nn.ModuleList(
            PointConv(4 * position_bands, dim, bias=False)
            for _ in range(4 if position_bands else 0)
        )

    @staticmethod
    def _smooth(dim: int, separable_kernel: int | None) -> nn.Module:
        if separable_kernel is None:
            return ConvNorm(dim, dim, 3)
        return nn.Sequential(
            ConvNorm(dim, dim, separable_kernel, groups=dim, activate=False),
            ConvNorm(dim, dim, 1),
        )

    def forward(self, maps: tuple[Tensor, ...]) -> PixelFeatures:
        """Decode maps ``(B, C_i, H/s, W/s)`` at strides 4, 8, 16 and 32."""
        x = self.reduce(maps[3])
        if len(self.encoder):
            height, width = x.shape[-2:]
            position = sine_position(height, width, self.dim, x.device, x.dtype).flatten(1).T
            tokens = x.flatten(2).transpose(1, 2)
            for layer in self.encoder:
                tokens = layer(tokens, position)
            x = tokens.transpose(1, 2).unflatten(2, (height, width))
        x = self._placed(0, self.smooth[0](x))
        memory = [x]
        for level, finer in enumerate(reversed(maps[:3]), start=1):
            up = F.interpolate(x, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            x = self._placed(level, self.smooth[level](self.lateral[level - 1](finer).add_(up)))
            memory.append(x)
        return PixelFeatures(self.mask_features(memory.pop()), tuple(memory))

    def _placed(self, level: int, x: Tensor) -> Tensor:
        """Add the position embedding of a level (coarse to fine) to its map ``(B, C, h, w)``."""
        if not self.position_bands:
            return x
        height, width = x.shape[-2:]
        bands = fourier_position(height, width, self.position_bands, x.device, x.dtype)
        return x + self.place[level](bands[None])
