"""Mask2Former: a backbone, a pixel decoder and a masked-attention query decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from triptych.checkpoints.keymap import Drop, Rename, under
from triptych.checkpoints.options import Options, with_defaults, without_defaults
from triptych.errors import TriptychError
from triptych.networks.backbones.published import (
    BACKBONE_RULES,
    read_backbone,
    unused_norm,
    write_backbone,
)
from triptych.networks.backbones.registry import build_backbone
from triptych.networks.decoders.deformable_pixel import (
    DEFORMABLE_PIXEL_RULES,
    DeformablePixelDecoder,
)
from triptych.networks.decoders.pixel import FPNPixelDecoder
from triptych.networks.decoders.query import QUERY_DECODER_RULES, QueryDecoder
from triptych.networks.models.family import Family, Published, label_count, unused_weights
from triptych.networks.models.mask2former_original import MASK2FORMER_ORIGINAL
from triptych.networks.prediction import Prediction


class Mask2Former(nn.Module):
    """Masked-attention mask transformer (Cheng et al., CVPR 2022)."""

    competition = "independent"
    size_divisor = 32

    def __init__(
        self, backbone: nn.Module, pixel_decoder: nn.Module, query_decoder: QueryDecoder
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.query_decoder = query_decoder

    def forward(self, pixels: Tensor) -> Prediction:
        """Predict ``N`` masks with classes for normalised pixels ``(B, 3, H, W)``.

        ``H`` and ``W`` are multiples of ``size_divisor``; masks come at ``(H/4, W/4)``.
        """
        return self.query_decoder(self.pixel_decoder(self.backbone(pixels)))


def mask2former(
    *,
    classes: int,
    backbone: str = "swin_tiny",
    backbone_arguments: dict[str, Any] | None = None,
    pixel_decoder: str = "deformable",
    encoder_layers: int = 6,
    encoder_feedforward: int = 1024,
    separable: bool = False,
    position_bands: int = 0,
    queries: int = 100,
    dim: int = 256,
    heads: int = 8,
    feedforward: int = 2048,
    layers: int = 9,
    masked: bool = True,
    anchors: int = 0,
    annealing: Sequence[int] | None = None,
    suppression: float | None = None,
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
        position_bands: frequencies of the positions in its maps; 0 for none.
        queries: number of queries ``N``.
        dim: width of both decoders.
        heads: attention heads of both decoders.
        feedforward: hidden width of the query decoder.
        layers: query decoder layers.
        masked: masked (True) or plain (False) cross-attention.
        anchors: how many of the queries, the last ones, keep to a place; 0 as published.
        annealing: first and last training step between which the masks of attention fade away.
        suppression: overlap from which on two masks of a class are taken for one object's; None,
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
            channels, dim, separable=separable, position_bands=position_bands, **shared
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
        suppression=suppression,
    )
    return Mask2Former(trunk, pixels, query_decoder)


MASK2FORMER_RULES = (
    *under(BACKBONE_RULES, "model.pixel_level_module.encoder.", "backbone."),
    *under(DEFORMABLE_PIXEL_RULES, "model.pixel_level_module.decoder.", "pixel_decoder."),
    *under(QUERY_DECODER_RULES, "model.transformer_module.", "query_decoder."),
    Rename("class_predictor.{p}", "query_decoder.head.classes.{p}"),
    Drop("criterion.empty_weight"),
)
"""Names in files that transformers wrote (``Mask2FormerForUniversalSegmentation``)."""


def read_config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments for a ``config.json`` of transformers.

    Raises:
        TriptychError: an option that is not supported here.
    """
    config = Options(entries)
    dim = config.count("hidden_dim", 256)
    config.only("feature_size", dim)
    config.only("mask_feature_size", dim)
    config.only("pre_norm", False)
    config.only("enforce_input_projection", False)
    config.only("activation_function", "relu")
    config.only("common_stride", 4)
    config.only("feature_strides", [4, 8, 16, 32])
    numbers = {
        "encoder_layers": config.count("encoder_layers", 6),
        "encoder_feedforward": config.count("encoder_feedforward_dim", 1024),
        "queries": config.count("num_queries", 100),
        "dim": dim,
        "heads": config.count("num_attention_heads", 8),
        "feedforward": config.count("dim_feedforward", 2048),
        # Theirs counts the prediction before the first layer too.
        "layers": config.count("decoder_layers", 10) - 1,
    }
    return {
        "classes": label_count(config),
        **read_backbone(
            config, {"model_type": "swin", "depths": [2, 2, 18, 2], "drop_path_rate": 0.3}
        ),
        **without_defaults(mask2former, numbers),
    }


def write_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a ``config.json`` of transformers for the builder's arguments.

    Raises:
        TriptychError: transformers has no such network.
    """
    numbers = with_defaults(mask2former, arguments)
    plain = not numbers["masked"] or numbers["annealing"]
    own = numbers["anchors"] or numbers["suppression"]
    if numbers["pixel_decoder"] != "deformable" or plain or own:
        raise TriptychError(
            "transformers has no Mask2Former with an fpn pixel decoder, annealed or plain "
            "cross-attention, anchors or suppression; use the format triptych"
        )
    return {
        "model_type": "mask2former",
        "backbone_config": write_backbone(numbers["backbone"], numbers["backbone_arguments"] or {}),
        "hidden_dim": numbers["dim"],
        "feature_size": numbers["dim"],
        "mask_feature_size": numbers["dim"],
        "encoder_layers": numbers["encoder_layers"],
        "encoder_feedforward_dim": numbers["encoder_feedforward"],
        "num_queries": numbers["queries"],
        "num_attention_heads": numbers["heads"],
        "dim_feedforward": numbers["feedforward"],
        "decoder_layers": numbers["layers"] + 1,
    }


def unused_tensors(arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the network of transformers has beyond ours."""
    backbone = write_config(arguments)["backbone_config"]
    norm = unused_norm(backbone, "model.pixel_level_module.encoder.swin.layernorm")
    return unused_weights(arguments["classes"]) | norm


FAMILY = Family(
    build=mask2former,
    published=Published(
        architecture="Mask2FormerForUniversalSegmentation",
        rules=MASK2FORMER_RULES,
        read=read_config,
        write=write_config,
        processor={
            "image_processor_type": "Mask2FormerImageProcessor",
            "size": {"shortest_edge": 800, "longest_edge": 1333},
            "size_divisor": 32,
        },
        unused=unused_tensors,
    ),
    original=MASK2FORMER_ORIGINAL,
)
