"""The files of Mask2Former's authors: the model zoo of github.com/facebookresearch/Mask2Former."""

from __future__ import annotations

from typing import Any

from triptych.decoders.deformable_pixel import DEFORMABLE_PIXEL_ORIGINAL_RULES
from triptych.decoders.query import QUERY_DECODER_ORIGINAL_RULES
from triptych.keymap import Drop, under
from triptych.models import detectron2
from triptych.models.family import Original, Shapes, count

_HEAD = "sem_seg_head."
_PIXEL = _HEAD + "pixel_decoder."
_PREDICTOR = _HEAD + "predictor."
_LEVELS_TIMES_POINTS = 3 * 4


def _arguments(shapes: Shapes) -> dict[str, Any]:
    """What the builder needs. Both decoders have as many heads, which only the encoder shows."""
    pixel = _PIXEL if f"{_PIXEL}mask_features.weight" in shapes else _HEAD
    layers = f"{pixel}transformer.encoder.layers."
    queries, dim = shapes[f"{_PREDICTOR}query_embed.weight"]
    return {
        "classes": shapes[f"{_PREDICTOR}class_embed.weight"][0] - 1,
        **detectron2.backbone(shapes),
        "encoder_layers": count(shapes, f"{layers}{{}}.norm1.weight"),
        "encoder_feedforward": shapes[f"{layers}0.linear1.weight"][0],
        "queries": queries,
        "dim": dim,
        "heads": shapes[f"{layers}0.self_attn.attention_weights.weight"][0] // _LEVELS_TIMES_POINTS,
        "feedforward": shapes[f"{_PREDICTOR}transformer_ffn_layers.0.linear1.weight"][0],
        "layers": count(shapes, f"{_PREDICTOR}transformer_ffn_layers.{{}}.norm.weight"),
    }


MASK2FORMER_ORIGINAL = Original(
    name="Mask2Former of detectron2 (.pkl)",
    marks=(f"{_PREDICTOR}level_embed.weight", f"{_PREDICTOR}decoder_norm.weight"),
    rules=(
        *detectron2.BACKBONE_RULES,
        *under(DEFORMABLE_PIXEL_ORIGINAL_RULES, _PIXEL, "pixel_decoder."),
        # Where the pixel decoder's tensors were before it became a module of its own.
        *under(DEFORMABLE_PIXEL_ORIGINAL_RULES, _HEAD, "pixel_decoder."),
        *under(QUERY_DECODER_ORIGINAL_RULES, _PREDICTOR, "query_decoder."),
        Drop("criterion.empty_weight"),
    ),
    arguments=_arguments,
    preprocess=detectron2.preprocess,
)
