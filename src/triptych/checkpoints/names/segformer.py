"""SegFormer's files: of transformers, and of its authors (NVlabs/SegFormer)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.checkpoints.keymap import Drop, under
from triptych.checkpoints.names.decoders import MLP_DECODER_ORIGINAL_RULES, MLP_DECODER_RULES
from triptych.checkpoints.names.family import (
    Family,
    Original,
    Published,
    Shapes,
    count,
    label_count,
)
from triptych.checkpoints.names.mit import MIT_ORIGINAL_RULES, MIT_RULES
from triptych.checkpoints.options import Options, with_defaults, without_defaults
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.segformer import SIZES, segformer

SEGFORMER_RULES = (
    *under(MIT_RULES, "segformer.", "backbone."),
    *under(MLP_DECODER_RULES, "decode_head.", "decoder."),
)
"""Names in files that transformers wrote (``SegformerForSemanticSegmentation``)."""


def read_config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments for a ``config.json`` of transformers.

    Rates of dropout inside the encoder are not taken over: they are 0 in what is published.

    Raises:
        TriptychError: an option that is not supported here.
    """
    config = Options(entries)
    config.only("num_channels", 3)
    config.only("num_encoder_blocks", 4)
    config.only("hidden_act", "gelu")
    config.only("reshape_last_stage", True)
    shape: dict[str, Any] = {
        "channels": config.counts("hidden_sizes", SIZES["b0"][0]),
        "depths": config.counts("depths", SIZES["b0"][1]),
        "decoder_dim": config.count("decoder_hidden_size", SIZES["b0"][2]),
    }
    for size, (channels, depths, dim) in SIZES.items():
        if list(shape.values()) == [list(channels), list(depths), dim]:
            shape = {"size": size}
    rest = {
        "heads": config.counts("num_attention_heads", (1, 2, 5, 8)),
        "reductions": config.counts("sr_ratios", (8, 4, 2, 1)),
        "kernels": config.counts("patch_sizes", (7, 3, 3, 3)),
        "strides": config.counts("strides", (4, 2, 2, 2)),
        "expansions": config.rates("mlp_ratios", (4, 4, 4, 4)),
        "drop_path": config.rate("drop_path_rate", 0.1),
        "dropout": config.rate("classifier_dropout_prob", 0.1),
        "eps": 1e-5,  # what its code has; it does not look at the file's layer_norm_eps
    }
    return {"classes": label_count(config)} | shape | without_defaults(segformer, rest)


def write_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a ``config.json`` of transformers for the builder's arguments.

    Raises:
        TriptychError: transformers has no such network.
    """
    numbers = with_defaults(segformer, arguments)
    if numbers["positions"] or not numbers["mixing"]:
        raise TriptychError(
            "transformers has no SegFormer with learnt positions or a feed-forward without "
            "convolution; use the format triptych"
        )
    channels, depths, dim = SIZES[numbers["size"]]
    return {
        "model_type": "segformer",
        "hidden_sizes": list(numbers["channels"] or channels),
        "depths": list(numbers["depths"] or depths),
        "decoder_hidden_size": numbers["decoder_dim"] or dim,
        "num_attention_heads": list(numbers["heads"]),
        "sr_ratios": list(numbers["reductions"]),
        "patch_sizes": list(numbers["kernels"]),
        "strides": list(numbers["strides"]),
        "mlp_ratios": list(numbers["expansions"]),
        "drop_path_rate": numbers["drop_path"],
        "classifier_dropout_prob": numbers["dropout"],
    }


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

FAMILY = Family(
    published=Published(
        architecture="SegformerForSemanticSegmentation",
        rules=SEGFORMER_RULES,
        read=read_config,
        write=write_config,
        encoders={
            "SegformerForImageClassification": (
                *under(MIT_RULES, "segformer.", "backbone."),
                Drop("classifier.{p}"),
            ),
            "SegformerModel": under(MIT_RULES, "", "backbone."),
        },
        processor={
            "image_processor_type": "SegformerImageProcessor",
            "size": {"height": 512, "width": 512},
        },
    ),
    original=SEGFORMER_ORIGINAL,
)
