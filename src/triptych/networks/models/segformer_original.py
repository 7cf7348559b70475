"""The files of SegFormer's authors: github.com/NVlabs/SegFormer, in mmsegmentation's manner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.checkpoints.keymap import Drop, under
from triptych.image.preprocess import Preprocess
from triptych.networks.backbones.mit import MIT_ORIGINAL_RULES
from triptych.networks.decoders.mlp import MLP_DECODER_ORIGINAL_RULES
from triptych.networks.models.family import Original, Shapes, count

_CITYSCAPES = 19


def _encoder(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """What the builder needs for the encoder. Heads leave no trace, but all sizes have the same."""
    numbers = range(1, 5)
    channels = [shapes[f"{prefix}patch_embed{n}.proj.weight"][0] for n in numbers]
    hidden = [shapes[f"{prefix}block{n}.0.mlp.fc1.weight"][0] for n in numbers]
    return {
        "channels": channels,
        "depths": [count(shapes, f"{prefix}block{n}.{{}}.norm1.weight") for n in numbers],
        # A stage that does not reduce has no such layer.
        "reductions": [shapes.get(f"{prefix}block{n}.0.attn.sr.weight", (1,))[-1] for n in numbers],
        "expansions": [wide // narrow for wide, narrow in zip(hidden, channels, strict=True)],
    }


def _arguments(shapes: Shapes) -> dict[str, Any]:
    return {
        "classes": shapes["decode_head.linear_pred.weight"][0],
        **_encoder(shapes, "backbone."),
        "decoder_dim": shapes["decode_head.linear_fuse.conv.weight"][0],
    }


def _encoder_arguments(shapes: Shapes) -> dict[str, Any]:
    encoder = _encoder(shapes, "")
    # As wide a decoder as the paper gives an encoder of this depth (table 6).
    wide = 768 if sum(encoder["depths"]) > 8 else 256
    return {"classes": 1, **encoder, "decoder_dim": wide}


def _preprocess(arguments: Mapping[str, Any]) -> Preprocess:
    """Sizes of the authors' test configurations.

    Cityscapes they cut into squares of 1024 that overlap; here the whole picture goes in.
    """
    if arguments["classes"] == _CITYSCAPES:
        return Preprocess(shortest_edge=1024, longest_edge=2048, pad=False)
    deepest = max(arguments["depths"]) == 40  # B5, which was trained on larger crops
    return Preprocess(
        shortest_edge=640 if deepest else 512, longest_edge=2048, size_divisor=32, stretch=True
    )


SEGFORMER_ORIGINAL = Original(
    name="NVlabs SegFormer (.pth)",
    marks=("backbone.patch_embed1.proj.weight", "decode_head.linear_fuse.conv.weight"),
    rules=(
        *under(MIT_ORIGINAL_RULES, "backbone.", "backbone."),
        *under(MLP_DECODER_ORIGINAL_RULES, "decode_head.", "decoder."),
    ),
    arguments=_arguments,
    preprocess=_preprocess,
    encoder=Original(
        name="NVlabs MiT (.pth)",
        marks=("patch_embed1.proj.weight", "block4.0.mlp.dwconv.dwconv.weight"),
        rules=(*under(MIT_ORIGINAL_RULES, "", "backbone."), Drop("head.{p}")),
        arguments=_encoder_arguments,
        preprocess=_preprocess,
    ),
)
