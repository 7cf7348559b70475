"""The files of Mask2Former's authors: the model zoo of github.com/facebookresearch/Mask2Former."""

from __future__ import annotations

from typing import Any

from triptych.checkpoints.keymap import Drop, under
from triptych.networks.decoders.deformable_pixel import DEFORMABLE_PIXEL_ORIGINAL_RULES
from triptych.networks.decoders.query import QUERY_DECODER_ORIGINAL_RULES
from triptych.networks.models import detectron2
from triptych.networks.models.detectron2 import PIXEL, PREDICTOR, pixel_decoder
from triptych.networks.models.family import Original, Shapes, count

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
