"""OneFormer: one network for the three readings, told by a sentence which one is wanted."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.backbones.registry import build_backbone
from triptych.networks.contract import Ask, EncoderDecoder, Prediction, Task, TaskName
from triptych.networks.decoders.deformable_pixel import DeformablePixelDecoder
from triptych.networks.decoders.oneformer import OneFormerDecoder
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.networks.decoders.task import TASKS


class OneFormer(EncoderDecoder):
    """Task-conditioned universal segmentation (Jain et al., CVPR 2023).

    Nothing of an image's encoding depends on the task, so that it is encoded once and decoded for
    each reading.
    """

    competition = "independent"
    size_divisor = 32
    asks = frozenset({Task})
    features_type = PixelFeatures

    def __init__(
        self,
        backbone: nn.Module,
        pixel_decoder: DeformablePixelDecoder,
        query_decoder: OneFormerDecoder,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.query_decoder = query_decoder

    def encode(self, pixels: Tensor) -> PixelFeatures:
        """Pixel features of normalised pixels ``(B, 3, H, W)``."""
        # Keys and values of the decoder depend on the image alone too. To keep those of the query
        # transformer would save a fifth of a decoding and take four times the memory of the mask
        # features, so they are made again for each task.
        features: PixelFeatures = self.pixel_decoder(self.backbone(pixels))
        return features

    def decode(self, features: PixelFeatures, ask: Ask | None = None) -> Prediction:
        """Predict ``N`` masks with classes for a :class:`Task`; without one, for "panoptic".

        Masks come at ``(H/4, W/4)``. Any size of at least 32 a side is taken; fractions round up.

        Raises:
            TriptychError: the ask is no task, or the task has another name.
        """
        prediction: Prediction = self.query_decoder(features, _task(ask))
        return prediction


def _task(ask: Ask | None) -> TaskName:
    known = "semantic, instance or panoptic"
    if ask is None:
        return "panoptic"
    if not isinstance(ask, Task):
        kind = type(ask).__name__
        raise TriptychError(f"OneFormer is asked for a Task ({known}), not with {kind}")
    if ask.name not in TASKS:
        raise TriptychError(f"OneFormer has no task {ask.name!r}; ask for {known}")
    return ask.name


def oneformer(
    *,
    classes: int,
    backbone: str = "swin_tiny",
    backbone_arguments: dict[str, Any] | None = None,
    encoder_layers: int = 6,
    encoder_feedforward: int = 1024,
    queries: int = 150,
    dim: int = 256,
    heads: int = 8,
    feedforward: int = 2048,
    layers: int = 9,
    query_layers: int = 2,
    task_norm: bool = True,
    dropout: float = 0.1,
) -> OneFormer:
    """Assemble a OneFormer with random weights; the defaults are the paper's.

    Args:
        classes: number of classes ``K``, without "no object".
        backbone: a name in ``triptych.networks.backbones.registry``.
        backbone_arguments: further arguments of that backbone.
        encoder_layers: transformer layers in the pixel decoder.
        encoder_feedforward: their hidden width.
        queries: number of queries ``N``, the task token among them; at least 2.
        dim: width of both decoders.
        heads: attention heads of both decoders.
        feedforward: hidden width of the decoder.
        layers: masked-attention layers.
        query_layers: layers of the transformer that makes the queries.
        task_norm: whether the task token is normed.
        dropout: rate in the transformer that makes the queries.

    Raises:
        TriptychError: there is no query beside the task token.
    """
    if queries < 2:
        raise TriptychError(
            f"queries is {queries}; OneFormer needs 2 or more, as the last one is the task token"
        )
    trunk = build_backbone(backbone, **(backbone_arguments or {}))
    channels: tuple[int, int, int, int] = trunk.channels  # type: ignore[assignment]
    pixel_decoder = DeformablePixelDecoder(
        channels,
        dim,
        heads=heads,
        feedforward=encoder_feedforward,
        encoder_layers=encoder_layers,
    )
    query_decoder = OneFormerDecoder(
        dim=dim,
        heads=heads,
        feedforward=feedforward,
        layers=layers,
        query_layers=query_layers,
        queries=queries,
        classes=classes,
        task_norm=task_norm,
        dropout=dropout,
    )
    return OneFormer(trunk, pixel_decoder, query_decoder)
