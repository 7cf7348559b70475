"""Segment Anything's files: of transformers, and of its authors (segment-anything)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.checkpoints.keymap import Rename, Rules, Stack, under
from triptych.checkpoints.names.family import Family, Original, Published, Shapes, count
from triptych.checkpoints.options import Options, with_defaults, without_defaults
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.sam import SIZES, sam

_ATTENTION = (
    Rename("q_proj.{p}", "query.{p}"),
    Rename("k_proj.{p}", "key.{p}"),
    Rename("v_proj.{p}", "value.{p}"),
    Rename("out_proj.{p}", "out.{p}"),
)


def _encoder(block: str, norm: str) -> Rules:
    """Names of the image encoder less its first layer and its neck, which are called otherwise."""
    theirs, ours = f"{block}.{{n}}.", "blocks.{n}."
    return (
        Rename("pos_embed", "positions"),
        Rename(f"{theirs}{norm}1.{{p}}", f"{ours}norm1.{{p}}"),
        Rename(f"{theirs}{norm}2.{{p}}", f"{ours}norm2.{{p}}"),
        Rename(f"{theirs}attn.qkv.{{p}}", f"{ours}attention.query_key_value.{{p}}"),
        Rename(f"{theirs}attn.proj.{{p}}", f"{ours}attention.out.{{p}}"),
        Rename(f"{theirs}attn.rel_pos_h", f"{ours}attention.rows"),
        Rename(f"{theirs}attn.rel_pos_w", f"{ours}attention.columns"),
        Rename(f"{theirs}mlp.lin1.{{p}}", f"{ours}feedforward.0.{{p}}"),
        Rename(f"{theirs}mlp.lin2.{{p}}", f"{ours}feedforward.2.{{p}}"),
    )


def _neck(*layers: str) -> Rules:
    """Names of the neck's four layers."""
    ours = ("reduce", "norm1", "mix", "norm2")
    return tuple(
        Rename(f"neck.{one}.{{p}}", f"neck.{own}.{{p}}")
        for one, own in zip(layers, ours, strict=True)
    )


def _prompts(kinds: str, masks: str, *layers: str) -> Rules:
    """Names of the prompt encoder less its frequencies."""
    ours = ("conv1", "norm1", "conv2", "norm2", "conv3")
    return (
        Stack(tuple(f"{kinds}.{kind}.weight" for kind in range(4)), "kinds"),
        Rename("not_a_point_embed.weight", "not_a_point"),
        Rename("no_mask_embed.weight", "no_mask"),
        *(
            Rename(f"{masks}.{one}.{{p}}", f"mask_embedding.{own}.{{p}}")
            for one, own in zip(layers, ours, strict=True)
        ),
    )


def _decoder(norm: str, last_norm: str) -> Rules:
    """Names of the mask decoder less what scales up and the heads."""
    theirs, ours = "transformer.layers.{n}.", "transformer.blocks.{n}."
    return (
        Rename("iou_token.weight", "quality_token"),
        Rename("mask_tokens.weight", "mask_tokens"),
        *under(_ATTENTION, f"{theirs}self_attn.", f"{ours}self_attention."),
        *under(_ATTENTION, f"{theirs}cross_attn_token_to_image.", f"{ours}to_image."),
        *under(_ATTENTION, f"{theirs}cross_attn_image_to_token.", f"{ours}to_tokens."),
        Rename(f"{theirs}mlp.lin1.{{p}}", f"{ours}linear1.{{p}}"),
        Rename(f"{theirs}mlp.lin2.{{p}}", f"{ours}linear2.{{p}}"),
        *(Rename(f"{theirs}{norm}{i}.{{p}}", f"{ours}norm{i}.{{p}}") for i in range(1, 5)),
        *under(_ATTENTION, "transformer.final_attn_token_to_image.", "transformer.to_image."),
        Rename(f"transformer.{last_norm}.{{p}}", "transformer.norm.{p}"),
    )


def _three(*layers: str) -> Rules:
    """Names of three linear layers with activations between them."""
    return tuple(
        Rename(f"{one}.{{p}}", f"{own}.{{p}}") for one, own in zip(layers, "024", strict=True)
    )


_HF_HEAD = _three("proj_in", "layers.0", "proj_out")
_HF_FREQUENCIES = ("shared_image_embedding", "prompt_encoder.shared_embedding")
"""One tensor under two names, of which most files have the first alone, which we write."""

SAM_RULES = (
    Rename("vision_encoder.patch_embed.projection.{p}", "encoder.embed.{p}"),
    *under(_encoder("layers", "layer_norm"), "vision_encoder.", "encoder."),
    *under(_neck("conv1", "layer_norm1", "conv2", "layer_norm2"), "vision_encoder.", "encoder."),
    *(
        Rename(f"{one}.positional_embedding", "prompt_encoder.positions.frequencies")
        for one in _HF_FREQUENCIES
    ),
    *under(
        _prompts(
            "point_embed", "mask_embed", "conv1", "layer_norm1", "conv2", "layer_norm2", "conv3"
        ),
        "prompt_encoder.",
        "prompt_encoder.",
    ),
    *under(_decoder("layer_norm", "layer_norm_final_attn"), "mask_decoder.", "mask_decoder."),
    Rename("mask_decoder.upscale_conv1.{p}", "mask_decoder.upscale1.{p}"),
    Rename("mask_decoder.upscale_layer_norm.{p}", "mask_decoder.upscale_norm.{p}"),
    Rename("mask_decoder.upscale_conv2.{p}", "mask_decoder.upscale2.{p}"),
    *under(
        _HF_HEAD, "mask_decoder.output_hypernetworks_mlps.{n}.", "mask_decoder.hypernetworks.{n}."
    ),
    *under(_HF_HEAD, "mask_decoder.iou_prediction_head.", "mask_decoder.quality."),
)
"""Names in files that transformers wrote (``SamModel``)."""

_HEAD = _three("layers.0", "layers.1", "layers.2")

SAM_ORIGINAL_RULES = (
    Rename("image_encoder.patch_embed.proj.{p}", "encoder.embed.{p}"),
    *under(_encoder("blocks", "norm"), "image_encoder.", "encoder."),
    *under(_neck("0", "1", "2", "3"), "image_encoder.", "encoder."),
    Rename(
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "prompt_encoder.positions.frequencies",
    ),
    *under(
        _prompts("point_embeddings", "mask_downscaling", "0", "1", "3", "4", "6"),
        "prompt_encoder.",
        "prompt_encoder.",
    ),
    *under(_decoder("norm", "norm_final_attn"), "mask_decoder.", "mask_decoder."),
    Rename("mask_decoder.output_upscaling.0.{p}", "mask_decoder.upscale1.{p}"),
    Rename("mask_decoder.output_upscaling.1.{p}", "mask_decoder.upscale_norm.{p}"),
    Rename("mask_decoder.output_upscaling.3.{p}", "mask_decoder.upscale2.{p}"),
    *under(_HEAD, "mask_decoder.output_hypernetworks_mlps.{n}.", "mask_decoder.hypernetworks.{n}."),
    *under(_HEAD, "mask_decoder.iou_prediction_head.", "mask_decoder.quality."),
)
"""Names in the authors' files (``sam_vit_b_01ec64.pth``)."""


def _sized(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments, with a size in place of numbers where one has them."""
    numbers = dict(numbers)
    shape = {name: numbers.pop(name) for name in ("dim", "depth", "heads", "global_blocks")}
    hidden = numbers.pop("hidden")
    if hidden != 4 * shape["dim"]:
        numbers["hidden"] = hidden
    for size, known in SIZES.items():
        if tuple(map(_plain, shape.values())) == tuple(map(_plain, known)):
            shape = {"size": size}
    return {"classes": 1, **without_defaults(sam, shape | numbers)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _global_blocks(vision: Options, depth: int) -> list[int]:
    """Which blocks have no windows.

    Raises:
        TriptychError: not a list of such blocks.
    """
    found = vision.entries.get("global_attn_indexes")
    found = [2, 5, 8, 11] if found is None else found
    if not isinstance(found, list | tuple) or not all(
        type(index) is int and 0 <= index < depth for index in found
    ):
        raise TriptychError(
            f"vision_config.global_attn_indexes is {found!r}; expected blocks from 0 to {depth - 1}"
        )
    return list(found)


def read_config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments for a ``config.json`` of transformers.

    Rates of dropout are not taken over: they are 0 in what is published.

    Raises:
        TriptychError: an option that is not supported here.
    """
    config = Options(entries)
    vision = config.within("vision_config")
    prompts = config.within("prompt_encoder_config")
    decoder = config.within("mask_decoder_config")
    vision.only("num_channels", 3)
    for flag in ("qkv_bias", "use_abs_pos", "use_rel_pos"):
        vision.only(flag, True)
    vision.only("hidden_act", "gelu")
    dim, depth = vision.count("hidden_size", 768), vision.count("num_hidden_layers", 12)
    image_size, patch = vision.count("image_size", 1024), vision.count("patch_size", 16)
    width = vision.count("output_channels", 256)
    _alike(vision, "num_pos_feats", 128, width // 2)
    _alike(prompts, "hidden_size", 256, width)
    _alike(prompts, "image_size", 1024, image_size)
    _alike(prompts, "patch_size", 16, patch)
    prompts.only("image_embedding_size", image_size // patch)
    prompts.only("num_point_embeddings", 4)
    prompts.only("hidden_act", "gelu")
    _alike(decoder, "hidden_size", 256, width)
    decoder.only("hidden_act", "relu")
    decoder.only("iou_head_depth", 3)
    # Their blocks do not look at it; only the last attention does.
    decoder.only("attention_downsample_rate", 2)
    return _sized(
        {
            "dim": dim,
            "depth": depth,
            "heads": vision.count("num_attention_heads", 12),
            "global_blocks": _global_blocks(vision, depth),
            "hidden": vision.count("mlp_dim", int(dim * vision.rate("mlp_ratio", 4.0))),
            "image_size": image_size,
            "patch": patch,
            "window": vision.count("window_size", 14),
            "eps": vision.rate("layer_norm_eps", 1e-6),
            "width": width,
            "mask_channels": prompts.count("mask_input_channels", 16),
            "prompt_eps": prompts.rate("layer_norm_eps", 1e-6),
            "decoder_layers": decoder.count("num_hidden_layers", 2),
            "decoder_heads": decoder.count("num_attention_heads", 8),
            "decoder_feedforward": decoder.count("mlp_dim", 2048),
            "decoder_eps": decoder.rate("layer_norm_eps", 1e-6),
            "masks": decoder.count("num_multimask_outputs", 3),
            "quality_hidden": decoder.count("iou_head_hidden_dim", 256),
        }
    )


def _alike(config: Options, name: str, default: int, wanted: int) -> None:
    """Refuse an entry that differs from what another one asks for, given or by default.

    Raises:
        TriptychError: naming the entry, its value and what is supported.
    """
    Options({name: config.count(name, default)}, config.part).only(name, wanted)


def write_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a ``config.json`` of transformers for the builder's arguments."""
    numbers = with_defaults(sam, arguments)
    dim, depth, heads, global_blocks = SIZES[numbers["size"]]
    dim, width = numbers["dim"] or dim, numbers["width"]
    own = numbers["global_blocks"]
    size = {"image_size": numbers["image_size"], "patch_size": numbers["patch"]}
    return {
        "model_type": "sam",
        "vision_config": {
            "hidden_size": dim,
            "num_hidden_layers": numbers["depth"] or depth,
            "num_attention_heads": numbers["heads"] or heads,
            "global_attn_indexes": list(global_blocks if own is None else own),
            "mlp_dim": numbers["hidden"] or 4 * dim,
            "window_size": numbers["window"],
            "layer_norm_eps": numbers["eps"],
            "output_channels": width,
            "num_pos_feats": width // 2,
            **size,
        },
        "prompt_encoder_config": {
            "hidden_size": width,
            "image_embedding_size": numbers["image_size"] // numbers["patch"],
            "mask_input_channels": numbers["mask_channels"],
            "layer_norm_eps": numbers["prompt_eps"],
            **size,
        },
        "mask_decoder_config": {
            "hidden_size": width,
            "num_hidden_layers": numbers["decoder_layers"],
            "num_attention_heads": numbers["decoder_heads"],
            "mlp_dim": numbers["decoder_feedforward"],
            "layer_norm_eps": numbers["decoder_eps"],
            "num_multimask_outputs": numbers["masks"],
            "iou_head_hidden_dim": numbers["quality_hidden"],
        },
    }


def _arguments(shapes: Shapes) -> dict[str, Any]:
    """What the builder needs. The decoder's heads leave no trace; all files have 8."""
    block = "image_encoder.blocks.{}."
    depth = count(shapes, f"{block}norm1.weight")
    dim, _, _, patch = shapes["image_encoder.patch_embed.proj.weight"]
    side = shapes["image_encoder.pos_embed"][1]
    tables = [shapes[f"{block.format(n)}attn.rel_pos_h"] for n in range(depth)]
    windows = [(length + 1) // 2 for length, _ in tables]
    layers = "mask_decoder.transformer.layers.{}.norm1.weight"
    return _sized(
        {
            "dim": dim,
            "depth": depth,
            "heads": dim // tables[0][1],
            "global_blocks": [n for n, window in enumerate(windows) if window == side],
            "hidden": shapes[f"{block.format(0)}mlp.lin1.weight"][0],
            "image_size": side * patch,
            "patch": patch,
            "window": next((window for window in windows if window != side), 14),
            "width": shapes["image_encoder.neck.0.weight"][0],
            "mask_channels": shapes["prompt_encoder.mask_downscaling.3.weight"][0],
            "decoder_layers": count(shapes, layers),
            "decoder_feedforward": shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
            "masks": shapes["mask_decoder.mask_tokens.weight"][0] - 1,
            "quality_hidden": shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        }
    )


def _preprocess(arguments: Mapping[str, Any]) -> Preprocess:
    """The longest edge resized to the network's size, and the rest of the square padded."""
    side = with_defaults(sam, arguments)["image_size"]
    return Preprocess(longest_edge=side, size_divisor=side)


FAMILY = Family(
    published=Published(
        architecture="SamModel",
        rules=SAM_RULES,
        read=read_config,
        write=write_config,
        processor={
            "image_processor_type": "SamImageProcessor",
            "size": {"longest_edge": 1024},
            "do_pad": True,
            "pad_size": {"height": 1024, "width": 1024},
        },
    ),
    original=Original(
        name="segment-anything (.pth)",
        marks=(
            "image_encoder.patch_embed.proj.weight",
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
            "mask_decoder.iou_token.weight",
        ),
        rules=SAM_ORIGINAL_RULES,
        arguments=_arguments,
        preprocess=_preprocess,
    ),
    classes=Classes.of(["object"], things=["object"]),
)
