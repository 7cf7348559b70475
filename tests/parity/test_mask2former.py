"""Mask2Former against transformers: every layer's classes and masks, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    ResNetConfig,
    SwinConfig,
)

from triptych.checkpoints.keymap import adopt_published, to_ours, to_theirs
from triptych.checkpoints.names.mask2former import MASK2FORMER_RULES
from triptych.networks.backbones.resnet import ResNet
from triptych.networks.backbones.swin import Swin
from triptych.networks.decoders.deformable_pixel import DeformablePixelDecoder
from triptych.networks.decoders.query import QueryDecoder
from triptych.networks.models.mask2former import Mask2Former, mask2former

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def swin_config(window: int = 4) -> SwinConfig:
    return SwinConfig(
        embed_dim=8,
        depths=[2, 1, 2, 1],
        num_heads=[1, 2, 2, 4],
        window_size=window,
        out_features=STAGES,
    )


def resnet_config() -> ResNetConfig:
    return ResNetConfig(
        embedding_size=4, hidden_sizes=[8, 16, 32, 64], depths=[1, 2, 1, 1], out_features=STAGES
    )


def config(backbone=None, **numbers) -> Mask2FormerConfig:
    small = {
        "num_labels": 3,
        "num_queries": 5,
        "hidden_dim": 32,
        "num_attention_heads": 4,
        "encoder_layers": 2,
        "encoder_feedforward_dim": 24,
        "decoder_layers": 4,  # one more than there are layers
        "dim_feedforward": 40,
    } | numbers
    width = small["hidden_dim"]
    return Mask2FormerConfig(
        backbone_config=backbone or swin_config(),
        feature_size=width,
        mask_feature_size=width,
        **small,
    )


def ours_like(config: Mask2FormerConfig) -> Mask2Former:
    back = config.backbone_config
    trunk: Any  # a module with .channels
    if back.model_type == "swin":
        trunk = Swin(back.embed_dim, back.depths, back.num_heads, window=back.window_size)
    else:
        trunk = ResNet(back.depths, channels=back.hidden_sizes, stem=back.embedding_size)
    pixel_decoder = DeformablePixelDecoder(
        trunk.channels,
        config.feature_size,
        heads=config.num_attention_heads,
        feedforward=config.encoder_feedforward_dim,
        encoder_layers=config.encoder_layers,
    )
    query_decoder = QueryDecoder(
        dim=config.hidden_dim,
        heads=config.num_attention_heads,
        feedforward=config.dim_feedforward,
        layers=config.decoder_layers - 1,
        queries=config.num_queries,
        classes=config.num_labels,
    )
    return Mask2Former(trunk, pixel_decoder, query_decoder).eval()


def compare(close, ours: Mask2Former, theirs: nn.Module, pixels: torch.Tensor) -> None:
    with torch.inference_mode():
        wanted = theirs(pixels, output_auxiliary_logits=True)
        plain = ours.eval()(pixels)
        ours.query_decoder.train()  # which is what makes it keep every layer's answer
        told = ours(pixels)
    for prediction in (plain, told):
        close(prediction.class_logits, wanted.class_queries_logits)
        close(prediction.mask_logits, wanted.masks_queries_logits)
    assert plain.auxiliary == ()
    assert len(told.auxiliary) == len(wanted.auxiliary_logits) == len(ours.query_decoder.layers)
    for mine, other in zip(told.auxiliary, wanted.auxiliary_logits, strict=True):
        close(mine.class_logits, other["class_queries_logits"])
        close(mine.mask_logits, other["masks_queries_logits"])


@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    window=st.sampled_from((3, 4, 7, 12)),
    dim=st.sampled_from((32, 64)),
    heads=st.sampled_from((2, 4, 8)),
    encoder_layers=st.integers(1, 3),
    layers=st.integers(1, 5),
    queries=st.integers(1, 9),
    classes=st.integers(1, 6),
    batch=st.integers(1, 3),
    height=st.integers(64, 130),
    width=st.integers(64, 130),
)
def test_every_output_over_the_option_grid(
    published,
    close,
    window,
    dim,
    heads,
    encoder_layers,
    layers,
    queries,
    classes,
    batch,
    height,
    width,
):
    wanted = config(
        swin_config(window),
        num_labels=classes,
        num_queries=queries,
        hidden_dim=dim,
        num_attention_heads=heads,
        encoder_layers=encoder_layers,
        decoder_layers=layers + 1,
    )
    theirs = Mask2FormerForUniversalSegmentation(wanted)
    ours = ours_like(wanted)
    adopt_published(ours, published(theirs), MASK2FORMER_RULES)
    compare(close, ours, theirs, torch.randn(batch, 3, height, width))


def test_with_a_resnet_below(published, close):
    wanted = config(resnet_config())
    theirs = Mask2FormerForUniversalSegmentation(wanted)
    ours = ours_like(wanted)
    adopt_published(ours, published(theirs), MASK2FORMER_RULES)
    compare(close, ours, theirs, torch.randn(2, 3, 97, 128))


def test_the_full_size_swin_tiny(published, close):
    # facebook/mask2former-swin-tiny-coco-panoptic: 133 classes, 100 queries, paper's sizes.
    theirs = Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(backbone_config=SwinConfig(out_features=STAGES), num_labels=133)
    )
    ours = mask2former(classes=133, backbone="swin_tiny")
    adopt_published(ours, published(theirs), MASK2FORMER_RULES)
    compare(close, ours, theirs, torch.randn(1, 3, 96, 128))


@pytest.mark.parametrize("backbone", [swin_config, resnet_config])
def test_keys_go_there_and_back_bit_for_bit(published, backbone):
    tensors = published(Mask2FormerForUniversalSegmentation(config(backbone())))
    back = to_theirs(to_ours(tensors, MASK2FORMER_RULES), MASK2FORMER_RULES)
    dropped = {
        name for name in tensors if "swin.layernorm" in name or name == "criterion.empty_weight"
    }
    assert len(dropped) in (1, 3)
    assert back.keys() == tensors.keys() - dropped
    for name, tensor in back.items():
        assert torch.equal(tensor, tensors[name]), name


def test_transformers_loads_what_we_write(tmp_path: Path, close):
    wanted = config()
    ours = ours_like(wanted)
    wanted.save_pretrained(tmp_path)
    tensors = {
        name: tensor.contiguous()
        for name, tensor in to_theirs(ours.state_dict(), MASK2FORMER_RULES).items()
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs, told = Mask2FormerForUniversalSegmentation.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not told["unexpected_keys"]
    # What we drop: a loss's weights, and a norm of the classifier that Swin once had.
    assert all("empty_weight" in k or "swin.layernorm" in k for k in told["missing_keys"])
    compare(close, ours, theirs.eval(), torch.randn(2, 3, 96, 65))
