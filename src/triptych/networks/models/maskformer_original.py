"""The files of MaskFormer's authors: the model zoo of github.com/facebookresearch/MaskFormer."""

from __future__ import annotations

from typing import Any

from triptych.checkpoints.keymap import Drop, under
from triptych.errors import TriptychError
from triptych.networks.decoders.detr import DETR_DECODER_ORIGINAL_RULES
from triptych.networks.decoders.fpn_pixel import FPN_PIXEL_ORIGINAL_RULES
from triptych.networks.models import detectron2
from triptych.networks.models.detectron2 import PIXEL, PREDICTOR, pixel_decoder
from triptych.networks.models.family import Original, Shapes, count

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
