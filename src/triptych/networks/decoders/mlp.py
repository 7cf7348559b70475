"""The all-MLP decoder of SegFormer: every map to one width, resized, summed up, classified."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.layers.cache import Cached
from triptych.networks.layers.chunks import in_chunks
from triptych.networks.layers.initialise import initialise
from triptych.networks.layers.linear import PointConv


class MLPDecoder(nn.Module):
    """Project four maps to ``dim``, bring them to the finest grid, fuse and classify.

    Xie et al., "SegFormer" (NeurIPS 2021), section 3.2. The paper concatenates the projected,
    enlarged maps and fuses them by one linear layer. Nothing non-linear stands between projection
    and fusion, and resizing mixes pixels but not channels, so this decoder multiplies the two
    layers' weights first and enlarges what comes out: the same sum at a fraction of the work.

    Args:
        channels: widths of the four maps, fine to coarse.
        dim: width of the fused features.
        classes: number of classes ``K``.
        dropout: rate at which whole feature channels are zeroed before the classifier.
    """

    def __init__(
        self, channels: Sequence[int], dim: int, classes: int, *, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(width, dim) for width in channels)
        self.fuse = nn.Conv2d(len(channels) * dim, dim, 1, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = PointConv(dim, classes)
        self._cached: Cached[list[tuple[Tensor, Tensor]]] = Cached()
        self.apply(initialise)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Map ``(B, C_i, h_i, w_i)``, fine to coarse, to logits ``(B, K, h_0, w_0)``."""
        size = maps[0].shape[-2:]
        fused: Tensor | None = None
        for x, (weight, bias) in zip(maps, self._merged(), strict=True):
            y = F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
            if fused is None:
                fused = y
            else:
                # In place: a new map of this size costs as much as the sum.
                fused.add_(F.interpolate(y, size=size, mode="bilinear", align_corners=False))
        assert fused is not None
        fused = self.norm(fused) if self.training else fused
        return self.classifier(self.dropout(F.relu(fused, inplace=True)))

    def _merged(self) -> list[tuple[Tensor, Tensor]]:
        """For each map, weight and bias of its projection and its share of the fusion in one.

        In evaluation the norm is a scale and a shift of what they give, and is put in, too.
        """
        if self.training or not in_chunks(self.fuse.weight):
            return self._merge()
        return self._cached.get([*self.parameters(), *self.norm.buffers()], self._merge)

    def _merge(self) -> list[tuple[Tensor, Tensor]]:
        # The published order of concatenation is coarse to fine.
        shares = reversed(self.fuse.weight.flatten(1).chunk(len(self.projections), dim=1))
        merged = [
            (share @ projection.get_parameter("weight"), share @ projection.get_parameter("bias"))
            for share, projection in zip(shares, self.projections, strict=True)
        ]
        if self.training:
            return merged
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = norm.bias - scale * norm.running_mean
        merged = [(scale[:, None] * weight, scale * bias) for weight, bias in merged]
        return [(merged[0][0], merged[0][1] + shift), *merged[1:]]
