"""MaskFormer: a backbone, a pyramid for the masks and DETR's decoder for the queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from triptych.checkpoints.keymap import Drop, Rename, under
from triptych.checkpoints.options import Options, with_defaults, without_defaults
from triptych.errors import TriptychError
from triptych.networks.backbones.published import (
    BACKBONE_RULES,
    read_backbone,
    unused_indices,
    unused_norm,
    write_backbone,
)
from triptych.networks.backbones.registry import build_backbone
from triptych.networks.backbones.swin import MASKFORMER_SWIN_RULES
from triptych.networks.decoders.detr import DETR_DECODER_RULES, DetrDecoder
from triptych.networks.decoders.fpn_pixel import FPN_PIXEL_RULES, PlainFPNPixelDecoder
from triptych.networks.models.family import Family, Published, label_count, unused_weights
from triptych.networks.models.maskformer_original import MASKFORMER_ORIGINAL
from triptych.networks.prediction import Prediction
from triptych.readings.settings import ReadingSettings


class MaskFormer(nn.Module):
    """Per-mask instead of per-pixel classification (Cheng et al., NeurIPS 2021)."""

    competition = "independent"
    size_divisor = 32

    def __init__(
        self, backbone: nn.Module, pixel_decoder: PlainFPNPixelDecoder, query_decoder: DetrDecoder
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.query_decoder = query_decoder

    def forward(self, pixels: Tensor) -> Prediction:
        """Predict ``N`` masks with classes for normalised pixels ``(B, 3, H, W)``.

        Masks come at ``(H/4, W/4)``. Any size of at least 32 a side is taken; fractions round up.
        """
        return self.query_decoder(self.pixel_decoder(self.backbone(pixels)))


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


MASKFORMER_RULES = (
    *under(
        # MaskFormer's own Swin first: what is written has the names of the first rule that fits.
        (*MASKFORMER_SWIN_RULES, *BACKBONE_RULES),
        "model.pixel_level_module.encoder.",
        "backbone.",
    ),
    *under(FPN_PIXEL_RULES, "model.pixel_level_module.decoder.", "pixel_decoder."),
    *under(DETR_DECODER_RULES, "model.transformer_module.", "query_decoder."),
    Rename("class_predictor.{p}", "query_decoder.head.classes.{p}"),
    # Every second module of our MLP is a ReLU.
    *(
        Rename(f"mask_embedder.{n}.0.{{p}}", f"query_decoder.head.embedding.{2 * n}.{{p}}")
        for n in range(3)
    ),
    Drop("criterion.empty_weight"),  # the weights of the classes in their loss
)
"""Names in files that transformers wrote (``MaskFormerForInstanceSegmentation``)."""


def read_config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments for a ``config.json`` of transformers.

    Its ``decoder_config`` describes a whole DETR, of which MaskFormer has the decoder alone. Rates
    of dropout within attention and feed-forward are not taken over: they are 0 in what is
    published.

    Raises:
        TriptychError: an option that is not supported here.
    """
    config = Options(entries)
    decoder = config.within("decoder_config")
    decoder.only("model_type", "detr")
    decoder.only("activation_function", "relu")
    # Theirs then feeds normed queries to the next layer, which is another network.
    decoder.only("auxiliary_loss", False)
    numbers = {
        "pyramid_dim": config.count("fpn_feature_size", 256),
        "mask_dim": config.count("mask_feature_size", 256),
        "queries": decoder.count("num_queries", 100),
        "dim": decoder.count("d_model", 256),
        "heads": decoder.count("decoder_attention_heads", 8),
        "feedforward": decoder.count("decoder_ffn_dim", 2048),
        "layers": decoder.count("decoder_layers", 6),
        "dropout": decoder.rate("dropout", 0.1),
        "auxiliary_norm": not config.flag("use_auxiliary_loss", False),
    }
    default = {
        "model_type": "swin",
        "embed_dim": 128,
        "depths": [2, 2, 18, 2],
        "num_heads": [4, 8, 16, 32],
        "window_size": 12,
        "drop_path_rate": 0.3,
    }
    return {
        "classes": label_count(config),
        **read_backbone(config, default),
        **without_defaults(maskformer, numbers),
    }


def write_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a ``config.json`` of transformers for the builder's arguments.

    Raises:
        TriptychError: transformers has no such network.
    """
    numbers = with_defaults(maskformer, arguments)
    if numbers["pyramid_dim"] % 32:
        raise TriptychError(
            f"transformers has no MaskFormer whose pyramid_dim is {numbers['pyramid_dim']}, only "
            "multiples of 32; use the format triptych"
        )
    return {
        "model_type": "maskformer",
        "backbone_config": write_backbone(numbers["backbone"], numbers["backbone_arguments"] or {}),
        "fpn_feature_size": numbers["pyramid_dim"],
        "mask_feature_size": numbers["mask_dim"],
        "use_auxiliary_loss": not numbers["auxiliary_norm"],
        "decoder_config": {
            "model_type": "detr",
            "num_queries": numbers["queries"],
            "d_model": numbers["dim"],
            "decoder_attention_heads": numbers["heads"],
            "decoder_ffn_dim": numbers["feedforward"],
            "decoder_layers": numbers["layers"],
            "dropout": numbers["dropout"],
        },
    }


def unused_tensors(arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the network of transformers has beyond ours."""
    backbone = write_config(arguments)["backbone_config"]
    prefix = "model.pixel_level_module.encoder.model."
    return (
        unused_weights(arguments["classes"])
        | unused_norm(backbone, f"{prefix}layernorm")
        | unused_indices(backbone, prefix)
    )


FAMILY = Family(
    build=maskformer,
    published=Published(
        architecture="MaskFormerForInstanceSegmentation",
        rules=MASKFORMER_RULES,
        read=read_config,
        write=write_config,
        processor={
            "image_processor_type": "MaskFormerImageProcessor",
            "size": {"shortest_edge": 800, "longest_edge": 1333},
            "size_divisor": 32,
        },
        unused=unused_tensors,
    ),
    original=MASKFORMER_ORIGINAL,
    # Its panoptic_inference gives a segment all pixels that its query wins.
    readings=ReadingSettings(segment_pixels="won"),
)
