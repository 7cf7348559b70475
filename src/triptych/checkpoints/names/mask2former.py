"""Mask2Former's files: of transformers, and of its authors (facebookresearch/Mask2Former)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from triptych.checkpoints.keymap import Drop, Rename, under
from triptych.checkpoints.names import detectron2
from triptych.checkpoints.names.backbones import (
    BACKBONE_RULES,
    read_backbone,
    unused_norm,
    write_backbone,
)
from triptych.checkpoints.names.decoders import (
    DEFORMABLE_PIXEL_ORIGINAL_RULES,
    DEFORMABLE_PIXEL_RULES,
    QUERY_DECODER_ORIGINAL_RULES,
    QUERY_DECODER_RULES,
)
from triptych.checkpoints.names.detectron2 import PIXEL, PREDICTOR, pixel_decoder
from triptych.checkpoints.names.family import (
    Family,
    Original,
    Published,
    Shapes,
    count,
    label_count,
    unused_weights,
)
from triptych.checkpoints.options import Options, with_defaults, without_defaults
from triptych.errors import TriptychError
from triptych.networks.models.mask2former import mask2former

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
    own = numbers["anchors"] or numbers["nms"]
    if numbers["pixel_decoder"] != "deformable" or plain or own:
        raise TriptychError(
            "transformers has no Mask2Former with an fpn pixel decoder, annealed or plain "
            "cross-attention, anchors or nms; use the format triptych"
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


_LEVELS_TIMES_POINTS = 3 * 4


def _arguments(shapes: Shapes) -> dict[str, Any]:
    """What the builder needs. Both decoders have as many heads, which only the encoder shows."""
    layers = f"{pixel_decoder(shapes)}transformer.encoder.layers."
    queries, dim = shapes[f"{PREDICTOR}query_embed.weight"]
    return {
        "classes": shapes[f"{PREDICTOR}class_embed.weight"][0] - 1,
        **detectron2.backbone(shapes),
        "encoder_layers": count(shapes, f"{layers}{{}}.norm1.weight"),
        "encoder_feedforward": shapes[f"{layers}0.linear1.weight"][0],
        "queries": queries,
        "dim": dim,
        "heads": shapes[f"{layers}0.self_attn.attention_weights.weight"][0] // _LEVELS_TIMES_POINTS,
        "feedforward": shapes[f"{PREDICTOR}transformer_ffn_layers.0.linear1.weight"][0],
        "layers": count(shapes, f"{PREDICTOR}transformer_ffn_layers.{{}}.norm.weight"),
    }


MASK2FORMER_ORIGINAL = Original(
    name="Mask2Former of detectron2 (.pkl)",
    marks=(f"{PREDICTOR}level_embed.weight", f"{PREDICTOR}decoder_norm.weight"),
    rules=(
        *detectron2.BACKBONE_RULES,
        *(
            rule
            for prefix in PIXEL
            for rule in under(DEFORMABLE_PIXEL_ORIGINAL_RULES, prefix, "pixel_decoder.")
        ),
        *under(QUERY_DECODER_ORIGINAL_RULES, PREDICTOR, "query_decoder."),
        Drop("criterion.empty_weight"),
    ),
    arguments=_arguments,
    preprocess=detectron2.preprocess,
)

FAMILY = Family(
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
