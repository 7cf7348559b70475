"""What the model zoos of MaskFormer and Mask2Former share: detectron2's backbones and image sizes.

Facts of the configurations in facebookresearch/MaskFormer and facebookresearch/Mask2Former.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from triptych.checkpoints.keymap import under
from triptych.checkpoints.names.backbones import read_backbone
from triptych.checkpoints.names.family import Shapes, count
from triptych.checkpoints.names.resnet import DETECTRON2_RESNET_RULES
from triptych.checkpoints.names.swin import SWIN_ORIGINAL_RULES
from triptych.checkpoints.options import Options
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess

# The two backbones' names have nothing in common, so one set of rules reads both.
BACKBONE_RULES = under((*SWIN_ORIGINAL_RULES, *DETECTRON2_RESNET_RULES), "backbone.", "backbone.")
"""Names of a backbone's tensors, and ours."""

PREDICTOR = "sem_seg_head.predictor."
"""Before the names of the query decoder's tensors."""
PIXEL = ("sem_seg_head.pixel_decoder.", "sem_seg_head.")
"""Before those of the pixel decoder's; the second in files of the time before it was a module of
its own."""

_EDGES = {
    8: (1024, 2048),  # Cityscapes, things only
    19: (1024, 2048),  # Cityscapes
    65: (2048, 2048),  # Mapillary Vistas
    100: (640, 2560),  # ADE20K, things only
    150: (512, 2048),  # ADE20K; see below
    171: (640, 2560),  # COCO-Stuff
    847: (512, 2048),  # ADE20K, all of it
}
"""Shortest edge and limit of the longest in tests, by the number of classes."""
_COCO_EDGES = (800, 1333)
_WIDE_ADE_EDGES = (640, 2560)


def pixel_decoder(shapes: Shapes) -> str:
    """Which of :data:`PIXEL` a checkpoint has."""
    return next((at for at in PIXEL if f"{at}mask_features.weight" in shapes), PIXEL[0])


def backbone(shapes: Shapes) -> dict[str, Any]:
    """Read the backbone off a checkpoint: ``backbone`` and ``backbone_arguments`` of the builders.

    Raises:
        KeyError: a tensor is missing.
        TriptychError: it is none of our backbones.
    """
    if "backbone.patch_embed.proj.weight" in shapes:
        found = _swin(shapes)
    elif "backbone.stem.conv2.weight" in shapes:
        raise TriptychError(
            "the backbone is a ResNet that starts with three convolutions (R101c), which is not "
            "supported; take the R50 or R101 of the same table"
        )
    elif "backbone.stem.conv1.weight" in shapes:
        found = _resnet(shapes)
    else:
        raise TriptychError("the backbone is not supported, only swin and resnet")
    # In the words of a transformers config, so that one place knows the names of sizes.
    return read_backbone(Options({}), found)


def _swin(shapes: Shapes) -> dict[str, Any]:
    first = [f"backbone.layers.{stage}.blocks.0." for stage in range(4)]
    tables = [shapes[f"{block}attn.relative_position_bias_table"] for block in first]
    dim, _, patch, _ = shapes["backbone.patch_embed.proj.weight"]
    return {
        "model_type": "swin",
        "embed_dim": dim,
        "depths": [
            count(shapes, f"backbone.layers.{stage}.blocks.{{}}.norm1.weight") for stage in range(4)
        ],
        "num_heads": [heads for _, heads in tables],
        # A row for each step from one cell of a window to another: 2 * window - 1 squared.
        "window_size": (math.isqrt(tables[0][0]) + 1) // 2,
        "patch_size": patch,
        "mlp_ratio": shapes[f"{first[0]}mlp.fc1.weight"][0] / dim,
        "drop_path_rate": 0.3,
    }


def _resnet(shapes: Shapes) -> dict[str, Any]:
    stages = [f"backbone.res{number}." for number in range(2, 6)]
    return {
        "model_type": "resnet",
        "depths": [count(shapes, f"{stage}{{}}.conv1.weight") for stage in stages],
        "hidden_sizes": [shapes[f"{stage}0.conv3.weight"][0] for stage in stages],
        "embedding_size": shapes["backbone.stem.conv1.weight"][0],
    }


def preprocess(arguments: Mapping[str, Any]) -> Preprocess:
    """Sizes of the authors' test configurations, told by the number of classes.

    On ADE20K the wide Swins see larger pictures.
    """
    short, long = _EDGES.get(arguments["classes"], _COCO_EDGES)
    if arguments["classes"] == 150 and arguments["backbone"] in ("swin_base", "swin_large"):
        short, long = _WIDE_ADE_EDGES
    return Preprocess(shortest_edge=short, longest_edge=long, size_divisor=32)
