"""OneFormer against transformers: each task's classes and masks, from the folder to the logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.parity.conftest import randomise
from torch import nn
from transformers import (
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    ResNetConfig,
    SwinConfig,
)
from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil

from triptych.networks.contract import Task
from triptych.networks.decoders.task import LENGTH, TASKS
from triptych.segmenter import load

STAGES = ["stage1", "stage2", "stage3", "stage4"]
IDS = {
    "semantic": [49406, 518, 10549, 533, 29119, 1550, 49407],
    "instance": [49406, 518, 10549, 533, 34572, 49407],
    "panoptic": [49406, 518, 10549, 533, 1072, 24755, 49407],
}
"""CLIP's tokens of "the task is ...": made once with the vocabulary in the authors' repository."""


def swin(window: int = 4) -> SwinConfig:
    return SwinConfig(
        embed_dim=8,
        depths=[2, 1, 2, 1],
        num_heads=[1, 2, 2, 4],
        window_size=window,
        out_features=STAGES,
    )


def resnet() -> ResNetConfig:
    return ResNetConfig(
        embedding_size=4, hidden_sizes=[8, 16, 32, 64], depths=[1, 2, 1, 1], out_features=STAGES
    )


def config(backbone: Any = None, *, dim: int = 32, **numbers: Any) -> OneFormerConfig:
    small = {
        "num_labels": 3,
        "num_queries": 5,
        "num_attention_heads": 4,
        "encoder_layers": 2,
        "encoder_feedforward_dim": 24,
        "decoder_layers": 4,  # one more than there are layers
        "dim_feedforward": 40,
    } | numbers
    widths = {"hidden_dim": dim, "conv_dim": dim, "mask_dim": dim}
    return OneFormerConfig(backbone_config=backbone or swin(), **widths, **small)


def saved(wanted: OneFormerConfig, folder: Path) -> nn.Module:
    """A random network of transformers, also in ``folder``."""
    theirs = OneFormerForUniversalSegmentation(wanted).eval()
    randomise(theirs)
    theirs.save_pretrained(folder)
    return theirs


def compare(close, ours: Any, theirs: nn.Module, pixels: torch.Tensor) -> None:
    """All three tasks, decoded from one encoding here, with a forward pass for each there."""
    answers = []
    with torch.inference_mode():
        features = ours.encode(pixels)
        for task in TASKS:
            ids = torch.zeros(len(pixels), LENGTH, dtype=pixels.dtype)
            ids[:, : len(IDS[task])] = torch.tensor(IDS[task]).to(ids)
            wanted = theirs(pixels, ids)
            found = ours.decode(features, Task(task))
            close(found.class_logits, wanted.class_queries_logits)
            close(found.mask_logits, wanted.masks_queries_logits)
            answers.append(found)
        default = ours(pixels)
    # Otherwise a task that is not heard would pass.
    for one, other in ((0, 1), (0, 2), (1, 2)):
        apart = (answers[one].mask_logits - answers[other].mask_logits).abs().max()
        assert apart > 0.001 * answers[one].mask_logits.abs().max()
    assert torch.equal(default.mask_logits, answers[TASKS.index("panoptic")].mask_logits)


@pytest.mark.parametrize(
    ("options", "batch", "size"),
    [
        ({}, 1, (64, 96)),
        ({}, 2, (97, 70)),
        ({"num_queries": 2, "query_dec_layers": 1}, 1, (64, 65)),
        ({"num_queries": 9, "query_dec_layers": 3, "decoder_layers": 6}, 2, (75, 64)),
        ({"decoder_layers": 2, "encoder_layers": 1, "num_labels": 1}, 2, (64, 64)),
        ({"use_task_norm": False}, 2, (70, 101)),
        ({"dim": 64, "num_attention_heads": 8, "dim_feedforward": 16}, 1, (96, 64)),
        ({"backbone": swin(7), "dropout": 0.3}, 1, (128, 90)),
        ({"backbone": resnet()}, 2, (97, 128)),
    ],
)
def test_every_task_over_the_options(close, tmp_path, options, batch, size):
    theirs = saved(config(**options), tmp_path)
    compare(close, load(tmp_path, device="cpu").model, theirs, torch.randn(batch, 3, *size))


@pytest.mark.slow
def test_the_full_size_swin_tiny(close, tmp_path):
    # shi-labs/oneformer_ade20k_swin_tiny: 150 classes, 150 queries, the paper's sizes.
    wanted = OneFormerConfig(backbone_config=SwinConfig(out_features=STAGES), num_labels=150)
    theirs = saved(wanted, tmp_path)
    ours = load(tmp_path, device="cpu")
    assert ours.arguments["backbone"] == "swin_tiny"
    # In float32 a rounding may tip the mask of a query's attention, of which there are many here.
    pixels = torch.randn(1, 3, 96, 128, dtype=torch.float64)
    compare(close, ours.model.double(), theirs.double(), pixels)


def test_the_way_back(close, tmp_path):
    wanted = config(num_queries=6, query_dec_layers=3, use_task_norm=False, dropout=0.2)
    theirs = saved(wanted, tmp_path / "theirs")
    ours = load(tmp_path / "theirs", device="cpu")
    ours.save(tmp_path / "back", format="transformers")
    again, told = OneFormerForUniversalSegmentation.from_pretrained(
        tmp_path / "back", output_loading_info=True
    )
    assert not any(told.values()), told
    for name in ("num_queries", "query_dec_layers", "use_task_norm", "dropout", "conv_dim"):
        assert getattr(again.config, name) == getattr(theirs.config, name)
    compare(close, ours.model, again.eval(), torch.randn(2, 3, 70, 64))

    back, sent = (load_file(tmp_path / f / "model.safetensors") for f in ("back", "theirs"))
    assert back.keys() == sent.keys()
    idle = {name for name in back if name.startswith("criterion.") or "swin.layernorm" in name}
    assert len(idle) == 4
    for name, tensor in back.items():
        assert tensor.shape == sent[name].shape
        assert name in idle or torch.equal(tensor, sent[name]), name


def test_a_picture_from_the_folder_with_its_processor(close, tmp_path):
    theirs = saved(config(), tmp_path)
    processor = OneFormerImageProcessorPil(size={"shortest_edge": 60, "longest_edge": 100})
    processor.save_pretrained(tmp_path)
    ours = load(tmp_path, device="cpu")
    for height, width in ((50, 77), (120, 64), (33, 33)):
        picture = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8)
        pixels = processor(picture.numpy(), return_tensors="pt")["pixel_values"]
        ids = torch.zeros(1, LENGTH)
        ids[0, : len(IDS["panoptic"])] = torch.tensor(IDS["panoptic"]).float()
        with torch.inference_mode():
            wanted = theirs(pixels, ids)
        found = ours(picture)
        close(found.mask_logits, wanted.masks_queries_logits[0])
        close(found.class_logits, wanted.class_queries_logits[0])
        assert found.panoptic().ids.shape == (height, width)


def test_the_text_tower_of_a_training_is_left_out(close, tmp_path):
    tower = {"text_encoder_width": 64, "text_encoder_num_layers": 2, "text_encoder_vocab_size": 9}
    # Theirs drops values whenever the configuration says that it trains, in eval mode too.
    theirs = saved(config(is_training=True, dropout=0.0, **tower), tmp_path)
    assert any("text_mapper" in name for name in load_file(tmp_path / "model.safetensors"))
    inner: Any = theirs.model
    inner.is_training = False  # which takes the texts of a training
    compare(close, load(tmp_path, device="cpu").model, theirs, torch.randn(1, 3, 64, 64))


def test_earlier_layers_answer_while_training(close, tmp_path):
    theirs = saved(config(dropout=0.0), tmp_path)
    ours: Any = load(tmp_path, device="cpu").model
    pixels = torch.randn(1, 3, 64, 96)
    ids = torch.zeros(1, LENGTH)
    ids[0, : len(IDS["instance"])] = torch.tensor(IDS["instance"]).float()
    with torch.inference_mode():
        wanted = theirs(pixels, ids, output_auxiliary_logits=True).auxiliary_predictions
        ours.query_decoder.train()
        told = ours(pixels, Task("instance")).auxiliary
    assert len(told) == len(wanted) == 3
    for mine, other in zip(told, wanted, strict=True):
        close(mine.class_logits, other["class_queries_logits"])
        close(mine.mask_logits, other["masks_queries_logits"])
