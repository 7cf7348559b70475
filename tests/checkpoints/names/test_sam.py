"""Segment Anything's files: descriptions of transformers, and tensors of the authors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints import authors_sam
from tests.checkpoints.authors_names import Shapes
from tests.parity.conftest import randomise
from torch import Tensor
from transformers import SamConfig, SamModel

from triptych.checkpoints.keymap import to_ours
from triptych.checkpoints.names.registry import family
from triptych.checkpoints.names.sam import SAM_ORIGINAL_RULES, read_config, write_config
from triptych.checkpoints.skeleton import skeleton
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.contract import Prompts
from triptych.networks.models.sam import SIZES
from triptych.segmenter import load

# --- config.json -----------------------------------------------------------------------------


def published(size: str) -> dict[str, Any]:
    """As facebook/sam-vit-* has it, less what says nothing about the network."""
    dim, depth, heads, blocks = SIZES[size]
    return {
        "architectures": ["SamModel"],
        "initializer_range": 0.02,
        "mask_decoder_config": {
            "attention_downsample_rate": 2,
            "hidden_act": "relu",
            "hidden_size": 256,
            "iou_head_depth": 3,
            "iou_head_hidden_dim": 256,
            "layer_norm_eps": 1e-06,
            "mlp_dim": 2048,
            "model_type": "",
            "num_attention_heads": 8,
            "num_hidden_layers": 2,
            "num_multimask_outputs": 3,
        },
        "model_type": "sam",
        "prompt_encoder_config": {
            "hidden_act": "gelu",
            "hidden_size": 256,
            "image_embedding_size": 64,
            "image_size": 1024,
            "layer_norm_eps": 1e-06,
            "mask_input_channels": 16,
            "model_type": "",
            "num_point_embeddings": 4,
            "patch_size": 16,
        },
        "vision_config": {
            "attention_dropout": 0.0,
            "dropout": 0.0,
            "global_attn_indexes": list(blocks),
            "hidden_act": "gelu",
            "hidden_size": dim,
            "image_size": 1024,
            "initializer_factor": 1.0,
            "intermediate_size": 6144,
            "layer_norm_eps": 1e-06,
            "mlp_dim": 4 * dim,
            "mlp_ratio": 4.0,
            "model_type": "",
            "num_attention_heads": heads,
            "num_channels": 3,
            "num_hidden_layers": depth,
            "num_pos_feats": 128,
            "output_channels": 256,
            "patch_size": 16,
            "projection_dim": 512,
            "qkv_bias": True,
            "use_abs_pos": True,
            "use_rel_pos": True,
            "window_size": 14,
        },
    }


@pytest.mark.parametrize("size", SIZES)
def test_published_descriptions(size):
    named = {} if size == "b" else {"size": size}
    assert read_config(published(size)) == {"classes": 1, "decoder_eps": 1e-6, **named}


def test_a_description_that_says_nothing_is_of_the_base_size():
    assert read_config({"model_type": "sam"}) == read_config(published("b"))
    assert read_config({"vision_config": None}) == read_config(published("b"))
    assert read_config(SamConfig().to_dict()) == read_config(published("b"))


SLIM: dict[str, Any] = {
    "classes": 1,
    "dim": 168,
    "depth": 12,
    "heads": 12,
    "global_blocks": [2, 5, 8, 11],
    "hidden": 696,
}
"""Of SlimSAM-uniform-77, say."""


@pytest.mark.parametrize(
    "arguments",
    [
        {"classes": 1},
        {"classes": 1, "size": "h", "decoder_eps": 1e-6},
        SLIM,
        {"classes": 1, "image_size": 512, "patch": 8, "window": 7, "eps": 0.01, "width": 64},
        {
            "classes": 1,
            "size": "l",
            "mask_channels": 8,
            "prompt_eps": 1e-3,
            "decoder_layers": 3,
            "decoder_heads": 4,
            "decoder_feedforward": 100,
            "decoder_eps": 1e-4,
            "masks": 2,
            "quality_hidden": 20,
        },
    ],
)
def test_what_is_written_reads_back(arguments):
    written = json.loads(json.dumps(write_config(arguments)))
    assert read_config(written) == arguments
    theirs = SamConfig(**written)
    assert read_config(theirs.to_dict()) == arguments


@pytest.mark.parametrize(
    ("part", "entry", "value", "words"),
    [
        ("vision_config", "num_channels", 4, "is 4, which is not supported, only 3"),
        ("vision_config", "qkv_bias", False, "is False, which is not supported, only True"),
        ("vision_config", "use_abs_pos", False, "is False, which is not supported, only True"),
        ("vision_config", "use_rel_pos", False, "is False, which is not supported, only True"),
        ("vision_config", "hidden_act", "relu", "'relu', which is not supported, only 'gelu'"),
        ("vision_config", "num_pos_feats", 64, "is 64, which is not supported, only 128"),
        ("vision_config", "window_size", 0, "is 0; expected a whole number above 0"),
        ("vision_config", "image_size", [1024, 512], "expected a whole number above 0"),
        ("vision_config", "global_attn_indexes", [2, 12], "expected blocks from 0 to 11"),
        ("vision_config", "global_attn_indexes", 5, "is 5; expected blocks from 0 to 11"),
        ("prompt_encoder_config", "hidden_size", 128, "is 128, which is not supported, only 256"),
        ("prompt_encoder_config", "image_size", 512, "is 512, which is not supported, only 1024"),
        ("prompt_encoder_config", "patch_size", 8, "is 8, which is not supported, only 16"),
        ("prompt_encoder_config", "image_embedding_size", 32, "is 32, which is not supported"),
        ("prompt_encoder_config", "num_point_embeddings", 3, "is 3, which is not supported"),
        ("prompt_encoder_config", "hidden_act", "relu", "'relu', which is not supported"),
        ("mask_decoder_config", "hidden_size", 128, "is 128, which is not supported, only 256"),
        ("mask_decoder_config", "hidden_act", "gelu", "'gelu', which is not supported"),
        ("mask_decoder_config", "iou_head_depth", 2, "is 2, which is not supported, only 3"),
        ("mask_decoder_config", "attention_downsample_rate", 1, "is 1, which is not supported"),
    ],
)
def test_options_that_we_do_not_have_are_named(part, entry, value, words):
    entries = published("b")
    entries[part][entry] = value
    with pytest.raises(TriptychError) as caught:
        read_config(entries)
    assert str(caught.value).startswith(f"{part}.{entry} is ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_entry_left_out_is_held_against_the_others_too():
    with pytest.raises(TriptychError, match=r"prompt_encoder_config\.image_size is 1024.* 512$"):
        read_config({"vision_config": {"image_size": 512}})
    with pytest.raises(TriptychError, match="vision_config is 3; expected entries in braces"):
        read_config({"vision_config": 3})


# --- The authors' files ----------------------------------------------------------------------


def shapes_of(size: str) -> Shapes:
    dim, depth, heads, blocks = SIZES[size]
    return authors_sam.sam(dim, depth, dim // heads, blocks)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_told_by_its_tensors(size):
    original = family("sam").original
    assert original is not None
    shapes = shapes_of(size)
    arguments = original.arguments(shapes)
    assert arguments == {"classes": 1, **({} if size == "b" else {"size": size})}
    assert original.preprocess(arguments) == Preprocess(longest_edge=1024, size_divisor=1024)
    ours = skeleton(Path("a file"), "sam", arguments).state_dict()
    theirs = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    found = to_ours(theirs, SAM_ORIGINAL_RULES)
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in ours.items()}


# The names of transformers for what is called otherwise there, in the order of application.
_RENAMED = (
    ("image_encoder", "vision_encoder"),
    ("patch_embed.proj.", "patch_embed.projection."),
    (".blocks.", ".layers."),
    ("norm_final_attn", "layer_norm_final_attn"),
    (".norm", ".layer_norm"),
    ("neck.0.", "neck.conv1."),
    ("neck.1.", "neck.layer_norm1."),
    ("neck.2.", "neck.conv2."),
    ("neck.3.", "neck.layer_norm2."),
    ("point_embeddings", "point_embed"),
    ("mask_downscaling.0.", "mask_embed.conv1."),
    ("mask_downscaling.1.", "mask_embed.layer_norm1."),
    ("mask_downscaling.3.", "mask_embed.conv2."),
    ("mask_downscaling.4.", "mask_embed.layer_norm2."),
    ("mask_downscaling.6.", "mask_embed.conv3."),
    ("output_upscaling.0.", "upscale_conv1."),
    ("output_upscaling.1.", "upscale_layer_norm."),
    ("output_upscaling.3.", "upscale_conv2."),
    (
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "shared_image_embedding.positional_embedding",
    ),
)


def renamed(name: str) -> str:
    for old, new in _RENAMED:
        if old == ".norm" and "layer_norm" in name:
            continue
        name = name.replace(old, new)
    if "_head." in name or "hypernetworks" in name:
        for old, new in (("0", "proj_in"), ("1", "layers.0"), ("2", "proj_out")):
            name = name.replace(f".layers.{old}.w", f".{new}.w")
            name = name.replace(f".layers.{old}.b", f".{new}.b")
    return name


@pytest.mark.parametrize("blocks", [(1,), (0, 2), ()])
def test_an_authors_file_computes_what_transformers_computes(tmp_path, close_to, blocks):
    """transformers' network with the authors' eps in its decoder is the authors'."""
    torch.manual_seed(0)
    shapes = authors_sam.sam(
        24, 3, 8, blocks, side=5, patch=8, window=3, hidden=40, width=32, feedforward=24, quality=12
    )
    shape = {"image_size": 40, "patch_size": 8}
    config = SamConfig(
        vision_config={
            "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "mlp_dim": 40,
            "window_size": 3, "global_attn_indexes": list(blocks), "output_channels": 32,
            "num_pos_feats": 16, **shape,
        },
        prompt_encoder_config={"hidden_size": 32, **shape},
        mask_decoder_config={
            "hidden_size": 32, "mlp_dim": 24, "iou_head_hidden_dim": 12, "layer_norm_eps": 1e-5,
        },
    )  # fmt: skip
    theirs = SamModel(config).eval()
    randomise(theirs)
    with torch.no_grad():
        theirs.shared_image_embedding.positional_embedding.normal_()
    state = theirs.state_dict()
    tensors = {name: state[renamed(name)] for name in shapes}
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == shapes
    torch.save(tensors, tmp_path / "sam_vit_b.pth")

    segmenter = load(tmp_path / "sam_vit_b.pth", device="cpu")
    assert segmenter.classes.names == ("object",)
    assert segmenter.preprocess == Preprocess(longest_edge=40, size_divisor=40)
    assert segmenter.notes["format"] == "segment-anything (.pth)"
    pixels = torch.randn(1, 3, 40, 40)
    points, boxes = 40 * torch.rand(2, 2, 2), 40 * torch.rand(2, 4)
    labels = torch.tensor([[1, 0], [0, 1]])
    model: Any = segmenter.model
    with torch.inference_mode():
        masks, quality = model.answer(
            model.encode(pixels), Prompts(points + 0.5, labels, boxes + 0.5)
        )
        wanted = theirs(pixels, points[None], labels[None], boxes[None])
    close_to(masks, wanted.pred_masks[0])
    close_to(quality, wanted.iou_scores[0])


@pytest.fixture
def close_to():
    def check(ours: Tensor, theirs: Tensor) -> None:
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()

    return check


def test_a_tensor_less_is_missed_by_its_name(tmp_path):
    shapes = authors_sam.sam(
        8, 1, 4, (0,), side=2, patch=4, window=3, hidden=8, width=32, feedforward=8, quality=8
    )
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    del tensors["mask_decoder.mask_tokens.weight"]
    torch.save(tensors, tmp_path / "sam.pth")
    with pytest.raises(TriptychError, match=r"but holds no mask_decoder\.mask_tokens\.weight"):
        load(tmp_path / "sam.pth")
    tensors["mask_decoder.mask_tokens.weight"] = torch.randn(4, 32)
    tensors["mask_decoder.hf_token.weight"] = torch.randn(1, 32)
    torch.save(tensors, tmp_path / "sam_hq.pth")
    with pytest.raises(TriptychError, match=r"unknown key: mask_decoder\.hf_token\.weight"):
        load(tmp_path / "sam_hq.pth")
