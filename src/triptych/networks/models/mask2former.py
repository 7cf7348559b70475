"""Mask2Former: a backbone, a pixel decoder and a masked-attention query decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.backbones.registry import build_backbone
from triptych.networks.contract import Ask, EncoderDecoder, Prediction
from triptych.networks.decoders.deformable_pixel import DeformablePixelDecoder
from triptych.networks.decoders.pixel import FPNPixelDecoder, PixelFeatures
from triptych.networks.decoders.query import QueryDecoder


class Mask2Former(EncoderDecoder):
    """Masked-attention mask transformer (Cheng et al., CVPR 2022)."""

    competition = "independent"
    size_divisor = 32
    features_type = PixelFeatures

    def __init__(
        self, backbone: nn.Module, pixel_decoder: nn.Module, query_decoder: QueryDecoder
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

        ``H`` and ``W`` are multiples of ``size_divisor``; masks come at ``(H/4, W/4)``.
        """
        prediction: Prediction = self.query_decoder(features)
        return prediction


def mask2former(
    *,
    classes: int,
    backbone: str = "swin_tiny",
    backbone_arguments: dict[str, Any] | None = None,
    pixel_decoder: str = "deformable",
    encoder_layers: int = 6,
    encoder_feedforward: int = 1024,
    separable: bool = False,
    separable_kernel: int = 5,
    position_bands: int = 0,
    queries: int = 100,
    dim: int = 256,
    heads: int = 8,
    feedforward: int = 2048,
    layers: int = 9,
    masked: bool = True,
    anchors: int = 0,
    annealing: Sequence[int] | None = None,
    nms: float | None = None,
) -> Mask2Former:
    """Assemble a Mask2Former with random weights; the defaults are the paper's.

    Args:
        classes: number of classes ``K``, without "no object".
        backbone: a name in ``triptych.networks.backbones.registry``.
        backbone_arguments: further arguments of that backbone.
        pixel_decoder: "deformable" (the paper's) or "fpn" (MaskFormer's, quicker on a CPU).
        encoder_layers: transformer layers in the pixel decoder.
        encoder_feedforward: their hidden width.
        separable: depthwise-separable convolutions in the "fpn" pixel decoder.
        separable_kernel: their edge: 3 as in the paper, or 5.
        position_bands: frequencies of the positions in its maps; 0 for none.
        queries: number of queries ``N``.
        dim: width of both decoders.
        heads: attention heads of both decoders.
        feedforward: hidden width of the query decoder.
        layers: query decoder layers.
        masked: masked (True) or plain (False) cross-attention.
        anchors: how many of the queries, the last ones, keep to a place; 0 as published.
        annealing: first and last training step between which the masks of attention fade away.
        nms: overlap from which on two masks of a class are taken for one object's; None,
            as published, leaves them as they are.
    """
    trunk = build_backbone(backbone, **(backbone_arguments or {}))
    channels: tuple[int, int, int, int] = trunk.channels  # type: ignore[assignment]
    shared = {
        "heads": heads,
        "feedforward": encoder_feedforward,
        "encoder_layers": encoder_layers,
    }
    if pixel_decoder == "deformable":
        pixels: nn.Module = DeformablePixelDecoder(channels, dim, **shared)
    elif pixel_decoder == "fpn":
        pixels = FPNPixelDecoder(
            channels,
            dim,
            separable=separable,
            separable_kernel=separable_kernel,
            position_bands=position_bands,
            **shared,
        )
    else:
        raise TriptychError(f"no pixel decoder is called {pixel_decoder!r}; use deformable or fpn")
    query_decoder = QueryDecoder(
        dim=dim,
        heads=heads,
        feedforward=feedforward,
        layers=layers,
        queries=queries,
        classes=classes,
        masked=masked,
        anchors=anchors,
        annealing=annealing,
        nms=nms,
    )
    return Mask2Former(trunk, pixels, query_decoder)
