"""MaskFormer: a backbone, a pyramid for the masks and DETR's decoder for the queries."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from triptych.networks.backbones.registry import build_backbone
from triptych.networks.contract import Ask, EncoderDecoder, Prediction
from triptych.networks.decoders.detr import DetrDecoder
from triptych.networks.decoders.fpn_pixel import PlainFPNPixelDecoder
from triptych.networks.decoders.pixel import PixelFeatures


class MaskFormer(EncoderDecoder):
    """Per-mask instead of per-pixel classification (Cheng et al., NeurIPS 2021)."""

    competition = "independent"
    size_divisor = 32
    features_type = PixelFeatures

    def __init__(
        self, backbone: nn.Module, pixel_decoder: PlainFPNPixelDecoder, query_decoder: DetrDecoder
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.query_decoder = query_decoder

    def encode(self, pixels: Tensor) -> PixelFeatures:
        """Pixel features of normalised pixels ``(B, 3, H, W)``."""
        features: PixelFeatures = self.pixel_decoder(self.backbone(pixels))
        return features

    def decode(self, features: PixelFeatures, ask: Ask | None = None) -> Prediction:
        """Predict ``N`` masks with classes.

        Masks come at ``(H/4, W/4)``. Any size of at least 32 a side is taken; fractions round up.
        """
        prediction: Prediction = self.query_decoder(features)
        return prediction


def maskformer(
    *,
    classes: int,
    backbone: str = "swin_tiny",
    backbone_arguments: dict[str, Any] | None = None,
    pyramid_dim: int = 256,
    mask_dim: int = 256,
    queries: int = 100,
    dim: int = 256,
    heads: int = 8,
    feedforward: int = 2048,
    layers: int = 6,
    dropout: float = 0.1,
    auxiliary_norm: bool = True,
) -> MaskFormer:
    """Assemble a MaskFormer with random weights; the defaults are the paper's.

    Args:
        classes: number of classes ``K``, without "no object".
        backbone: a name in ``triptych.networks.backbones.registry``.
        backbone_arguments: further arguments of that backbone.
        pyramid_dim: width of the pixel decoder's maps.
        mask_dim: width of the features that masks are made of.
        queries: number of queries ``N``.
        dim: width of the query decoder, like the arguments after it: see ``DetrDecoder``.
    """
    trunk = build_backbone(backbone, **(backbone_arguments or {}))
    channels: tuple[int, int, int, int] = trunk.channels  # type: ignore[assignment]
    query_decoder = DetrDecoder(
        inputs=channels[3],
        dim=dim,
        heads=heads,
        feedforward=feedforward,
        layers=layers,
        queries=queries,
        classes=classes,
        mask_dim=mask_dim,
        dropout=dropout,
        auxiliary_norm=auxiliary_norm,
    )
    return MaskFormer(trunk, PlainFPNPixelDecoder(channels, pyramid_dim, mask_dim), query_decoder)
