"""MaskFormer's files: of transformers, and of its authors (facebookresearch/MaskFormer)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from triptych.checkpoints.keymap import Drop, Rename, under
from triptych.checkpoints.names import detectron2
from triptych.checkpoints.names.backbones import (
    BACKBONE_RULES,
    read_backbone,
    unused_indices,
    unused_norm,
    write_backbone,
)
from triptych.checkpoints.names.decoders import (
    DETR_DECODER_ORIGINAL_RULES,
    DETR_DECODER_RULES,
    FPN_PIXEL_ORIGINAL_RULES,
    FPN_PIXEL_RULES,
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
from triptych.checkpoints.names.swin import MASKFORMER_SWIN_RULES
from triptych.checkpoints.options import Options, with_defaults, without_defaults
from triptych.errors import TriptychError
from triptych.networks.models.maskformer import maskformer
from triptych.readings.settings import ReadingSettings

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


_LAYER = f"{PREDICTOR}transformer.decoder.layers."


def _arguments(shapes: Shapes) -> dict[str, Any]:
    """What the builder needs. Heads leave no trace, but every configuration has eight."""
    pixel = pixel_decoder(shapes)
    if f"{pixel}transformer.encoder.layers.0.norm1.weight" in shapes:
        raise TriptychError(
            "the pixel decoder has a transformer of its own (as for COCO panoptic with a ResNet), "
            "which is not supported; take the one with a Swin of the same table"
        )
    queries, dim = shapes[f"{PREDICTOR}query_embed.weight"]
    return {
        "classes": shapes[f"{PREDICTOR}class_embed.weight"][0] - 1,
        **detectron2.backbone(shapes),
        "pyramid_dim": shapes[f"{pixel}layer_4.weight"][0],
        "mask_dim": shapes[f"{pixel}mask_features.weight"][0],
        "queries": queries,
        "dim": dim,
        "feedforward": shapes[f"{_LAYER}0.linear1.weight"][0],
        "layers": count(shapes, f"{_LAYER}{{}}.norm1.weight"),
    }


MASKFORMER_ORIGINAL = Original(
    name="MaskFormer of detectron2 (.pkl)",
    marks=(f"{PREDICTOR}transformer.decoder.norm.weight", f"{PREDICTOR}query_embed.weight"),
    rules=(
        *detectron2.BACKBONE_RULES,
        *(
            rule
            for prefix in PIXEL
            for rule in under(FPN_PIXEL_ORIGINAL_RULES, prefix, "pixel_decoder.")
        ),
        *under(DETR_DECODER_ORIGINAL_RULES, PREDICTOR, "query_decoder."),
        Drop("criterion.empty_weight"),
    ),
    arguments=_arguments,
    preprocess=detectron2.preprocess,
)

FAMILY = Family(
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
