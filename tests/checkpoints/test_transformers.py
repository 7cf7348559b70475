"""Configurations as published, and folders that are wrong in one way or another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoints.published_configs import MASK2FORMER, PUBLISHED
from tests.tiny_model import tiny_segformer
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)

from triptych.checkpoints.keymap import to_theirs
from triptych.checkpoints.load import read_checkpoint
from triptych.checkpoints.names.family import Published
from triptych.checkpoints.names.registry import family
from triptych.checkpoints.skeleton import skeleton
from triptych.checkpoints.transformers import read_transformers
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import FAMILIES
from triptych.segmenter import load

THEIRS: dict[str, Any] = {
    "segformer": (SegformerConfig, SegformerForSemanticSegmentation),
    "mask2former": (Mask2FormerConfig, Mask2FormerForUniversalSegmentation),
    "maskformer": (MaskFormerConfig, MaskFormerForInstanceSegmentation),
    "oneformer": (OneFormerConfig, OneFormerForUniversalSegmentation),
}


def published(name: str) -> Published:
    found = family(name).published
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", PUBLISHED)
def test_published_configs_build_the_network_of_transformers(checkpoint):
    config, arguments = PUBLISHED[checkpoint]
    name = config["model_type"]
    entry = published(name)
    kind, model = THEIRS[name]
    with torch.device("meta"):  # shapes only
        theirs = model(kind.from_dict(config))
        ours = skeleton(Path(), name, entry.read(config))
        written = to_theirs(ours.state_dict(), entry.rules) | entry.unused(arguments)
    assert sorted(tuple(t.shape) for t in written.values()) == sorted(
        tuple(t.shape) for t in theirs.state_dict().values()
    )


@pytest.mark.parametrize("checkpoint", PUBLISHED)
def test_published_configs_come_to_the_arguments_that_are_known(checkpoint):
    config, arguments = PUBLISHED[checkpoint]
    entry = published(config["model_type"])
    found = entry.read(config)
    assert found | arguments == found
    labels = {"id2label": {str(i): str(i) for i in range(arguments["classes"])}}
    assert entry.read(entry.write(found) | labels) == found
    if config["model_type"] != "maskformer":  # whose norms of earlier layers are another story
        assert found == arguments


def test_the_real_config_file_of_segformer_b0(shared_data):
    path = shared_data / "hub-configs" / "segformer-b0-finetuned-ade-512-512" / "config.json"
    found = published("segformer").read(json.loads(path.read_text()))
    assert found == PUBLISHED["nvidia/segformer-b0-finetuned-ade-512-512"][1]


@pytest.mark.parametrize(
    ("entries", "arguments"),
    [
        ({"backbone": "resnet50", "use_timm_backbone": True}, {"backbone": "resnet50"}),
        (
            {
                "backbone": "resnet101.a1h_in1k",
                "use_timm_backbone": True,
                "use_pretrained_backbone": True,
                "backbone_kwargs": {"out_indices": [1, 2, 3, 4]},
            },
            {"backbone": "resnet101"},
        ),
        (
            {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet50"}},
            {"backbone": "resnet50"},
        ),
        ({"backbone": "microsoft/resnet-101", "backbone_config": None}, {"backbone": "resnet101"}),
        (
            {"backbone": "microsoft/swin-tiny-patch4-window7-224"},
            {"backbone": "swin_tiny", "backbone_arguments": {"drop_path": 0.1}},
        ),
        (
            {"backbone": "microsoft/swin-base-patch4-window7-224-in22k"},
            {"backbone": "swin_base", "backbone_arguments": {"window": 7, "drop_path": 0.1}},
        ),
        (
            {"backbone": {"model_type": "resnet", "depths": [1, 1, 1, 1]}},
            {"backbone": "resnet", "backbone_arguments": {"depths": [1, 1, 1, 1]}},
        ),
        ({}, {"backbone": "swin_small"}),
    ],
)
def test_every_way_to_say_which_backbone(entries, arguments):
    found = published("mask2former").read(MASK2FORMER | entries)
    assert found == {"classes": 2} | arguments


@pytest.mark.parametrize(
    ("name", "entries", "words"),
    [
        ("segformer", {"hidden_act": "relu"}, "hidden_act is 'relu', which is not supported"),
        ("segformer", {"num_channels": 4}, "num_channels is 4"),
        ("segformer", {"num_encoder_blocks": 3}, "num_encoder_blocks is 3"),
        ("segformer", {"reshape_last_stage": False}, "reshape_last_stage is False"),
        ("segformer", {"depths": [2, 2]}, "depths is [2, 2]; expected 4 whole numbers above 0"),
        ("segformer", {"mlp_ratios": [4, 4, 4, -1]}, "mlp_ratios is [4, 4, 4, -1]"),
        ("segformer", {"id2label": ["a"]}, "id2label is ['a']; expected entries in braces"),
        ("mask2former", {"pre_norm": True}, "pre_norm is True, which is not supported, only False"),
        ("mask2former", {"mask_feature_size": 128}, "mask_feature_size is 128"),
        ("mask2former", {"enforce_input_projection": True}, "enforce_input_projection is True"),
        ("mask2former", {"feature_strides": [8, 16]}, "feature_strides is [8, 16]"),
        ("mask2former", {"num_queries": 0}, "num_queries is 0; expected a whole number above 0"),
        (
            "mask2former",
            {"backbone_config": {"model_type": "dinat"}},
            "backbone_config is of the type 'dinat', which is not supported, only swin and resnet",
        ),
        (
            "mask2former",
            {"backbone_config": {"model_type": "swin", "qkv_bias": False}},
            "backbone_config.qkv_bias is False, which is not supported, only True",
        ),
        (
            "mask2former",
            {"backbone_config": {"model_type": "resnet", "layer_type": "basic"}},
            "backbone_config.layer_type is 'basic'",
        ),
        (
            "oneformer",
            {"backbone_config": {"model_type": "dinat"}},
            "backbone_config is of the type 'dinat', which is not supported, only swin and resnet",
        ),
        ("oneformer", {"pre_norm": True}, "pre_norm is True, which is not supported, only False"),
        ("oneformer", {"enforce_input_proj": True}, "enforce_input_proj is True"),
        ("oneformer", {"mask_dim": 128}, "mask_dim is 128, which is not supported, only 256"),
        ("oneformer", {"hidden_dim": 64}, "conv_dim is 256, which is not supported, only 64"),
        ("oneformer", {"task_seq_len": 32}, "task_seq_len is 32"),
        ("oneformer", {"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
        ("oneformer", {"common_stride": 8}, "common_stride is 8"),
        ("oneformer", {"strides": [2, 4, 8, 16]}, "strides is [2, 4, 8, 16]"),
        ("oneformer", {"use_task_norm": "no"}, "use_task_norm is 'no'; expected true or false"),
        ("oneformer", {"query_dec_layers": 0}, "query_dec_layers is 0; expected a whole number"),
        ("mask2former", {"backbone": "resnet18"}, "backbone is 'resnet18', which is not supported"),
        ("mask2former", {"backbone_config": 3}, "backbone_config is 3; expected entries in braces"),
    ],
)
def test_options_that_are_not_supported_are_named(name, entries, words):
    with pytest.raises(TriptychError) as caught:
        published(name).read(entries)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pixel_decoder": "fpn"}, "no Mask2Former with an fpn pixel decoder"),
        ({"anchors": 2}, "anchors or nms"),
        ({"nms": 0.5}, "anchors or nms"),
        ({"masked": False}, "plain cross-attention"),
        ({"backbone": "efficientnet_lite0"}, "no backbone like efficientnet_lite0"),
        ({"colour": "red"}, "'colour'; correct the arguments of mask2former"),
    ],
)
def test_networks_that_transformers_does_not_have(arguments, words):
    with pytest.raises(TriptychError, match=words):
        published("mask2former").write({"classes": 3} | arguments)


def test_a_oneformer_that_transformers_does_not_have():
    with pytest.raises(TriptychError, match="no backbone like efficientnet_lite0"):
        published("oneformer").write({"classes": 3, "backbone": "efficientnet_lite0"})
    with pytest.raises(TriptychError, match="'colour'; correct the arguments of oneformer"):
        published("oneformer").write({"classes": 3, "colour": "red"})


@pytest.fixture
def folder(tmp_path) -> Path:
    segmenter = tiny_segformer()
    segmenter.preprocess = Preprocess(size=(64, 64))
    segmenter.save(tmp_path / "model", format="transformers")
    return tmp_path / "model"


def refused(folder: Path) -> str:
    with pytest.raises(TriptychError) as caught:
        load(folder, device="cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class TestFolder:
    def test_what_it_notes(self, folder):
        _, config = read_transformers(folder)
        assert config.family == "segformer"
        assert config.notes == {"format": "transformers", "classes": "ADE20K"}

    def test_a_family_that_is_not_supported(self, folder):
        edit(folder / "config.json", model_type="upernet")
        message = refused(folder)
        assert "the family 'upernet' is not supported" in message
        known = [name for name in FAMILIES if family(name).published]
        assert len(known) >= 2
        assert message.endswith(f"supported are {', '.join(known)}")

    def test_a_network_without_the_head(self, folder):
        edit(folder / "config.json", architectures=["SegformerForImageClassification"])
        assert "is an encoder without a head that segments; train one" in refused(folder)
        edit(folder / "config.json", architectures=["SegformerForPoetry"])
        assert "is of a SegformerForPoetry, which does not segment" in refused(folder)

    def test_a_quantised_network(self, folder):
        edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})
        assert "is of a quantised checkpoint (bitsandbytes), which is not read" in refused(folder)

    def test_weights_that_are_whole_numbers(self, folder):
        path = folder / "model.safetensors"
        state = load_file(path)
        name = "decode_head.classifier.weight"
        save_file({**state, name: state[name].to(torch.int8)}, path)
        assert f"{name} holds int8 and not floating-point numbers" in refused(folder)

    def test_a_counter_that_was_saved_as_a_float(self, folder):
        path = folder / "model.safetensors"
        state = load_file(path)
        counters = [name for name in state if name.endswith("num_batches_tracked")]
        assert counters
        save_file(state | {name: torch.tensor(7.0) for name in counters}, path)
        state = read_checkpoint(folder)[0].state_dict()
        assert state["decoder.norm.num_batches_tracked"].dtype == torch.int64
        assert state["decoder.norm.num_batches_tracked"] == 7

    def test_the_processor_of_newer_versions(self, folder):
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        nested = {"image_processor": settings | {"image_mean": [0, 0, 0]}, "processor_class": "X"}
        (folder / "processor_config.json").write_text(json.dumps(nested))
        assert read_checkpoint(folder)[1].preprocess.mean == (0, 0, 0)
        (folder / "preprocessor_config.json").unlink()
        assert read_checkpoint(folder)[1].preprocess.mean == (0, 0, 0)
        # Of a processor without one for images, the other file counts.
        (folder / "processor_config.json").write_text('{"processor_class": "X"}')
        assert read_checkpoint(folder)[1].preprocess.mean == Preprocess().mean
        (folder / "processor_config.json").write_text('{"image_processor": 3}')
        assert "processor_config.json: holds no settings in braces" in refused(folder)

    def test_an_option_that_is_not_supported(self, folder):
        edit(folder / "config.json", hidden_act="relu")
        assert "config.json: hidden_act is 'relu'" in refused(folder)
        edit(folder / "config.json", hidden_act="gelu", num_attention_heads=[3, 3, 3, 3])
        assert "do not divide by heads [3, 3, 3, 3]" in refused(folder)

    def test_settings_for_images_that_are_not_supported(self, folder):
        edit(folder / "preprocessor_config.json", resample=5)
        assert "preprocessor_config.json: resample is 5" in refused(folder)
        (folder / "preprocessor_config.json").write_text("[]")
        assert "preprocessor_config.json: holds no settings in braces" in refused(folder)
        (folder / "preprocessor_config.json").write_text("{")
        assert "preprocessor_config.json: is damaged" in refused(folder)

    def test_missing_and_unknown_names_and_other_shapes(self, folder):
        path = folder / "model.safetensors"
        state = load_file(path)
        del state["decode_head.classifier.bias"]
        state["decode_head.stranger"] = torch.zeros(1)
        save_file(state, path)
        assert "1 unknown key: decode_head.stranger" in refused(folder)
        del state["decode_head.stranger"]
        save_file(state, path)
        assert "1 missing key: decode_head.classifier.bias" in refused(folder)
        state["decode_head.classifier.bias"] = torch.zeros(9)
        save_file(state, path)
        assert "decode_head.classifier.bias gives [9], not [4]" in refused(folder)

    def test_no_weights(self, folder):
        (folder / "model.safetensors").unlink()
        assert "holds no weights" in refused(folder)

    def test_a_truncated_file(self, folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        assert "is truncated or damaged" in refused(folder)

    def test_the_weights_stay_in_the_file(self, folder):
        model, _ = read_checkpoint(folder)
        maps = Path("/proc/self/maps")
        if not maps.exists():
            pytest.skip("no list of mapped files on this system")
        lines = [line for line in maps.read_text().splitlines() if str(folder) in line]
        spans = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines]
        copied = {
            name
            for name, parameter in model.named_parameters()
            if not any(start <= parameter.data_ptr() < end for start, end in spans)
        }
        # Two of their tensors are one of ours.
        assert copied == {n for n, _ in model.named_parameters() if ".key_value." in n}
        assert copied
