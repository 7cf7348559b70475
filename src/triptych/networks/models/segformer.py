"""SegFormer: a mix transformer and an all-MLP decoder, one mask for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from triptych.errors import TriptychError
from triptych.networks.backbones.mit import MiT
from triptych.networks.contract import Ask, EncoderDecoder, Prediction
from triptych.networks.decoders.mlp import MLPDecoder

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}
"""Channels and depths of the four stages, and the decoder's width (SegFormer, table 6)."""


class StageMaps(NamedTuple):
    """What the encoder hands on."""

    maps: tuple[Tensor, ...]
    """``(B, C, h, w)``, fine to coarse."""


class SegFormer(EncoderDecoder):
    """Pixel labeller of Xie et al. (NeurIPS 2021): ``N = K`` masks that compete by softmax."""

    competition = "softmax"
    features_type = StageMaps

    def __init__(self, backbone: MiT, decoder: MLPDecoder) -> None:
        super().__init__()
        self.size_divisor = backbone.size_divisor
        self.backbone = backbone
        self.decoder = decoder

    def encode(self, pixels: Tensor) -> StageMaps:
        """Maps of the four stages, for normalised pixels ``(B, 3, H, W)``.

        Any size of at least about ``size_divisor`` a side is taken; fractions round up.
        """
        return StageMaps(self.backbone(pixels))

    def decode(self, features: StageMaps, ask: Ask | None = None) -> Prediction:
        """Predict ``mask_logits (B, K, H/4, W/4)``."""
        return Prediction.from_logits(self.decoder(features.maps), None)


def segformer(
    *,
    classes: int,
    size: str = "b0",
    channels: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    decoder_dim: int | None = None,
    heads: Sequence[int] = (1, 2, 5, 8),
    reductions: Sequence[int] = (8, 4, 2, 1),
    kernels: Sequence[int] = (7, 3, 3, 3),
    strides: Sequence[int] = (4, 2, 2, 2),
    expansions: Sequence[float] = (4, 4, 4, 4),
    drop_path: float = 0.1,
    dropout: float = 0.1,
    eps: float = 1e-6,
    positions: Sequence[int] | None = None,
    mixing: bool = True,
) -> SegFormer:
    """Assemble a SegFormer with random weights.

    Args:
        classes: number of classes ``K``.
        size: "b0" to "b5"; gives the three numbers that follow where they are None.
        channels: widths of the four stages.
        depths: blocks of the four stages.
        decoder_dim: width of the decoder.
        heads: see ``MiT``, like the arguments after it.
        dropout: rate before the classifier.

    Raises:
        TriptychError: there is no such size.
    """
    if size not in SIZES:
        raise TriptychError(f"no SegFormer size is called {size!r}; choose from {', '.join(SIZES)}")
    sized = SIZES[size]
    backbone = MiT(
        channels or sized[0],
        depths or sized[1],
        heads=heads,
        reductions=reductions,
        kernels=kernels,
        strides=strides,
        expansions=expansions,
        drop_path=drop_path,
        eps=eps,
        positions=positions,
        mixing=mixing,
    )
    decoder = MLPDecoder(backbone.channels, decoder_dim or sized[2], classes, dropout=dropout)
    return SegFormer(backbone, decoder)
