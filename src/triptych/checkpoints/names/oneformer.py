"""OneFormer's files: of transformers, and of its authors (SHI-Labs/OneFormer).

Of the text tower, which only a training with the contrastive loss needs (section 3.3), nothing is
read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from triptych.checkpoints.keymap import Drop, Rename, drop_below, under
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
    DETR_LAYERS_RULES,
    ONEFORMER_DECODER_RULES,
    QUERY_DECODER_ORIGINAL_RULES,
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
from triptych.networks.decoders.task import LENGTH
from triptych.networks.models.oneformer import oneformer

ONEFORMER_RULES = (
    *under(BACKBONE_RULES, "model.pixel_level_module.encoder.", "backbone."),
    *under(DEFORMABLE_PIXEL_RULES, "model.pixel_level_module.decoder.", "pixel_decoder."),
    *under(ONEFORMER_DECODER_RULES, "model.transformer_module.", "query_decoder."),
    Rename("model.task_encoder.task_mlp.layers.0.0.{p}", "query_decoder.task.linear1.{p}"),
    Rename("model.task_encoder.task_mlp.layers.1.0.{p}", "query_decoder.task.linear2.{p}"),
    *drop_below("model.text_mapper."),
    *drop_below("criterion."),
)
"""Names in files that transformers wrote (``OneFormerForUniversalSegmentation``)."""


def read_config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments for a ``config.json`` of transformers.

    What asks for attentions, hidden states or a text tower changes no mask, so it is ignored.

    Raises:
        TriptychError: an option that is not supported here.
    """
    config = Options(entries)
    dim = config.count("hidden_dim", 256)
    for name in ("conv_dim", "mask_dim"):
        # Where widths differ transformers has projections, which its files do not hold.
        Options({name: config.count(name, 256)}).only(name, dim)
    config.only("enforce_input_proj", False)  # for the same projections
    config.only("pre_norm", False)
    config.only("layer_norm_eps", 1e-5)
    config.only("common_stride", 4)
    config.only("strides", [4, 8, 16, 32])
    config.only("task_seq_len", LENGTH)
    numbers = {
        "encoder_layers": config.count("encoder_layers", 6),
        "encoder_feedforward": config.count("encoder_feedforward_dim", 1024),
        "queries": config.count("num_queries", 150),
        "dim": dim,
        "heads": config.count("num_attention_heads", 8),
        "feedforward": config.count("dim_feedforward", 2048),
        # Theirs counts the prediction before the first layer too.
        "layers": config.count("decoder_layers", 10) - 1,
        "query_layers": config.count("query_dec_layers", 2),
        "task_norm": config.flag("use_task_norm", True),
        "dropout": config.rate("dropout", 0.1),
    }
    return {
        "classes": label_count(config),
        **read_backbone(config, {"model_type": "swin", "drop_path_rate": 0.3}),
        **without_defaults(oneformer, numbers),
    }


def write_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a ``config.json`` of transformers for the builder's arguments.

    Raises:
        TriptychError: transformers has no such network.
    """
    numbers = with_defaults(oneformer, arguments)
    return {
        "model_type": "oneformer",
        "backbone_config": write_backbone(numbers["backbone"], numbers["backbone_arguments"] or {}),
        "hidden_dim": numbers["dim"],
        "conv_dim": numbers["dim"],
        "mask_dim": numbers["dim"],
        "encoder_layers": numbers["encoder_layers"],
        "encoder_feedforward_dim": numbers["encoder_feedforward"],
        "num_queries": numbers["queries"],
        "num_attention_heads": numbers["heads"],
        "dim_feedforward": numbers["feedforward"],
        "decoder_layers": numbers["layers"] + 1,
        "query_dec_layers": numbers["query_layers"],
        "use_task_norm": numbers["task_norm"],
        "dropout": numbers["dropout"],
    }


_TEMPERATURE = 0.07


def unused_tensors(arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the network of transformers has beyond ours."""
    backbone = write_config(arguments)["backbone_config"]
    norm = unused_norm(backbone, "model.pixel_level_module.encoder.swin.layernorm")
    # Of the contrastive loss, as it starts.
    scale = torch.tensor(math.log(1 / _TEMPERATURE), dtype=torch.float32, device="cpu")
    return unused_weights(arguments["classes"]) | {"criterion.logit_scale": scale} | norm


_LEVELS_TIMES_POINTS = 3 * 4
_TRANSFORMER = f"{PREDICTOR}class_transformer.decoder."


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
        "query_layers": count(shapes, f"{_TRANSFORMER}layers.{{}}.norm1.weight"),
    }


ONEFORMER_ORIGINAL = Original(
    name="OneFormer of detectron2 (.pth)",
    marks=(
        # The first two are Mask2Former's as well.
        f"{PREDICTOR}level_embed.weight",
        f"{PREDICTOR}decoder_norm.weight",
        f"{_TRANSFORMER}norm.weight",
        "task_mlp.layers.0.weight",
    ),
    rules=(
        *detectron2.BACKBONE_RULES,
        *under(DEFORMABLE_PIXEL_ORIGINAL_RULES, PIXEL[0], "pixel_decoder."),
        *under(QUERY_DECODER_ORIGINAL_RULES, PREDICTOR, "query_decoder.masked."),
        *under(DETR_LAYERS_RULES, _TRANSFORMER, "query_decoder.query_transformer."),
        Rename(f"{PREDICTOR}class_input_proj.{{p}}", "query_decoder.query_transformer.project.{p}"),
        Rename("task_mlp.layers.0.{p}", "query_decoder.task.linear1.{p}"),
        Rename("task_mlp.layers.1.{p}", "query_decoder.task.linear2.{p}"),
        *drop_below("text_encoder."),
        *drop_below("text_projector."),
        *drop_below("criterion."),
        Drop("prompt_ctx.weight"),
    ),
    arguments=_arguments,
    preprocess=detectron2.preprocess,
)

FAMILY = Family(
    published=Published(
        architecture="OneFormerForUniversalSegmentation",
        rules=ONEFORMER_RULES,
        read=read_config,
        write=write_config,
        processor={
            "image_processor_type": "OneFormerImageProcessor",
            "size": {"shortest_edge": 800, "longest_edge": 1333},
            "default_to_square": False,
        },
        unused=unused_tensors,
    ),
    original=ONEFORMER_ORIGINAL,
)
