"""Mask2Former's pixel decoder: deformable attention across three scales, then one finer step."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.decoders.pixel import ConvNorm, PixelFeatures
from triptych.networks.layers.chunks import CHUNK, chunks, in_chunks
from triptych.networks.layers.deformable import DeformableAttention, grid_reference
from triptych.networks.layers.deformable_bags import Shapes
from triptych.networks.layers.linear import Linear, PointConv
from triptych.networks.layers.position import sine_position


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward over all maps' cells, norms after the sums."""

    recomputable = True  # see train/recompute.py

    def __init__(self, dim: int, heads: int, feedforward: int, levels: int, points: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(dim, heads, levels, points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = Linear(dim, feedforward)
        self.linear2 = Linear(feedforward, dim)
        self.norm2 = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self, tokens: Tensor, position: Tensor, reference: Tensor, shapes: Shapes
    ) -> Tensor:
        """Mix ``(B, S, C)`` tokens; ``position (S, C)`` is added to what chooses the points."""
        if not in_chunks(tokens):
            mixed = self.attention(tokens + position, reference, tokens, shapes)
            return self._feed_forward(tokens, mixed)
        # All that follows the values goes token by token.
        out = torch.empty_like(tokens)
        for image, table in enumerate(self.attention.tables(tokens, shapes)):
            for some in chunks(tokens.shape[1], CHUNK):
                own = tokens[image, some]
                mixed = self.attention.read(own + position[some], reference[some], table, shapes)
                out[image, some] = self._feed_forward(own, mixed)
        return out

    def _feed_forward(self, tokens: Tensor, mixed: Tensor) -> Tensor:
        tokens = self.norm1(tokens + mixed)
        return self.norm2(tokens + self.linear2(self.linear1(tokens, "relu")))


class DeformablePixelDecoder(nn.Module):
    """Pixel decoder of Mask2Former (Cheng et al. 2022, section 3.2.1 and appendix A).

    The maps at 1/32, 1/16 and 1/8 exchange information through deformable attention and become
    the memory; the 1/8 result, upsampled and joined with the backbone's 1/4 map, gives the mask
    features.

    Args:
        channels: widths of the four backbone maps, fine to coarse.
        dim: width ``C`` of everything that comes out; a multiple of 8 and of ``heads``.
        heads: attention heads.
        feedforward: hidden width of the encoder.
        encoder_layers: deformable encoder layers.
        points: points that a head reads in each map.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        dim: int = 256,
        *,
        heads: int = 8,
        feedforward: int = 1024,
        encoder_layers: int = 6,
        points: int = 4,
    ) -> None:
        super().__init__()
        self.dim = dim
        # Coarse to fine: 1/32, 1/16, 1/8.
        self.project = nn.ModuleList(_projection(width, dim) for width in reversed(channels[1:]))
        self.level = nn.Embedding(3, dim)
        self.encoder = nn.ModuleList(
            DeformableEncoderLayer(dim, heads, feedforward, 3, points)
            for _ in range(encoder_layers)
        )
        self.lateral = ConvNorm(channels[0], dim, 1, activate=False)
        self.smooth = ConvNorm(dim, dim, 3)
        self.mask_features = PointConv(dim, dim)
        nn.init.kaiming_uniform_(self.mask_features.weight, a=1)

    def forward(self, maps: tuple[Tensor, ...]) -> PixelFeatures:
        """Decode maps ``(B, C_i, H/s, W/s)`` at strides 4, 8, 16 and 32."""
        coarse = [project(x) for project, x in zip(self.project, reversed(maps[1:]), strict=True)]
        shapes = tuple((x.shape[-2], x.shape[-1]) for x in coarse)
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in coarse], dim=1)
        position = torch.cat(
            [
                sine_position(*shape, self.dim, tokens.device, tokens.dtype).flatten(1).T + level
                for shape, level in zip(shapes, self.level.weight, strict=True)
            ]
        )
        reference = grid_reference(shapes, tokens.device)
        for layer in self.encoder:
            tokens = layer(tokens, position, reference, shapes)
        cells = tokens.transpose(1, 2).split([height * width for height, width in shapes], dim=2)
        memory = [x.unflatten(2, shape) for x, shape in zip(cells, shapes, strict=True)]
        up = F.interpolate(memory[-1], maps[0].shape[-2:], mode="bilinear", align_corners=False)
        finest = self.smooth(self.lateral(maps[0]).add_(up))
        return PixelFeatures(self.mask_features(finest), tuple(memory))


def _projection(inputs: int, outputs: int) -> nn.Sequential:
    convolution = PointConv(inputs, outputs)
    nn.init.xavier_uniform_(convolution.weight)
    return nn.Sequential(convolution, nn.GroupNorm(math.gcd(32, outputs), outputs))
