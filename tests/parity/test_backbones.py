"""Swin and ResNet against transformers' backbones, over their options."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from transformers import ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig

from triptych.checkpoints.keymap import adopt_published, to_ours, to_theirs
from triptych.checkpoints.names.resnet import RESNET_RULES
from triptych.checkpoints.names.swin import SWIN_RULES
from triptych.networks.backbones import resnet, swin
from triptych.networks.backbones.resnet import ResNet
from triptych.networks.backbones.swin import Swin

STAGES = ["stage1", "stage2", "stage3", "stage4"]

depths = st.tuples(*[st.integers(1, 3)] * 4).map(list)
sides = st.integers(33, 100)


@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    depths=depths,
    heads=st.sampled_from(([1, 2, 4, 8], [2, 2, 4, 4], [3, 6, 12, 24])),
    window=st.sampled_from((2, 3, 4, 7, 12)),
    patch=st.sampled_from((2, 4)),
    expansion=st.sampled_from((2, 4)),
    batch=st.integers(1, 3),
    height=sides,
    width=sides,
)
def test_swin_maps(published, close, depths, heads, window, patch, expansion, batch, height, width):
    config = SwinConfig(
        embed_dim=12,
        depths=depths,
        num_heads=heads,
        window_size=window,
        patch_size=patch,
        mlp_ratio=expansion,
        out_features=STAGES,
    )
    theirs = SwinBackbone(config)
    ours = Swin(12, depths, heads, window=window, patch=patch, expansion=expansion).eval()
    adopt_published(ours, published(theirs), SWIN_RULES)
    pixels = torch.randn(batch, 3, height, width)
    with torch.inference_mode():
        maps = ours(pixels)
        wanted = theirs(pixels).feature_maps
    assert len(maps) == len(wanted) == 4
    for mine, other in zip(maps, wanted, strict=True):
        close(mine, other)


@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    depths=depths,
    stem=st.sampled_from((4, 8)),
    channels=st.sampled_from(([8, 16, 32, 64], [16, 16, 24, 24])),
    batch=st.integers(1, 3),
    height=sides,
    width=sides,
)
def test_resnet_maps(published, close, depths, stem, channels, batch, height, width):
    config = ResNetConfig(
        embedding_size=stem, hidden_sizes=channels, depths=depths, out_features=STAGES
    )
    theirs = ResNetBackbone(config)
    ours = ResNet(depths, channels=channels, stem=stem).eval()
    adopt_published(ours, published(theirs), RESNET_RULES)
    pixels = torch.randn(batch, 3, height, width)
    with torch.inference_mode():
        maps = ours(pixels)
        wanted = theirs(pixels).feature_maps
    assert len(maps) == len(wanted) == 4
    for mine, other in zip(maps, wanted, strict=True):
        close(mine, other)


# The real configs of the published files: Swin-T and S have windows of 7, B and L of 12.
SWINS = {
    "swin_tiny": (96, [2, 2, 6, 2], [3, 6, 12, 24], 7),
    "swin_small": (96, [2, 2, 18, 2], [3, 6, 12, 24], 7),
    "swin_base": (128, [2, 2, 18, 2], [4, 8, 16, 32], 12),
    "swin_large": (192, [2, 2, 18, 2], [6, 12, 24, 48], 12),
}
RESNETS = {"resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3]}


@functools.cache
def swin_config(name: str) -> SwinConfig:
    dim, depths, heads, window = SWINS[name]
    return SwinConfig(
        embed_dim=dim, depths=depths, num_heads=heads, window_size=window, out_features=STAGES
    )


@pytest.mark.parametrize("name", SWINS)
def test_every_swin_fits_its_config(name):
    with torch.device("meta"):
        theirs = SwinBackbone(swin_config(name))
        ours = getattr(swin, name)()
    # save_pretrained's own renaming, which needs real tensors, is tested on small models.
    shapes = sorted(tuple(p.shape) for p in ours.norms.parameters())
    assert shapes == sorted(tuple(p.shape) for p in theirs.hidden_states_norms.parameters())
    head = sum(p.numel() for p in theirs.swin.layernorm.parameters())
    assert (
        sum(p.numel() for p in ours.parameters())
        == sum(p.numel() for p in theirs.parameters()) - head
    )


def test_swin_tiny_in_full_size(published, close):
    theirs = SwinBackbone(swin_config("swin_tiny"))
    ours = swin.swin_tiny().eval()
    adopt_published(ours, published(theirs), SWIN_RULES)
    pixels = torch.randn(1, 3, 96, 125)
    with torch.inference_mode():
        for mine, other in zip(ours(pixels), theirs(pixels).feature_maps, strict=True):
            close(mine, other)


@pytest.mark.parametrize("name", RESNETS)
def test_every_resnet_fits_its_config(name):
    with torch.device("meta"):
        theirs = ResNetBackbone(ResNetConfig(depths=RESNETS[name], out_features=STAGES))
        ours = getattr(resnet, name)()
    # transformers' own ResNet is not renamed when it is saved, so meta tensors will do.
    renamed = to_ours(theirs.state_dict(), RESNET_RULES)
    assert {k: v.shape for k, v in renamed.items()} == {
        k: v.shape for k, v in ours.state_dict().items()
    }


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        (
            lambda: SwinBackbone(
                SwinConfig(embed_dim=8, num_heads=[1, 2, 2, 4], out_features=STAGES)
            ),
            SWIN_RULES,
        ),
        (
            lambda: ResNetBackbone(
                ResNetConfig(embedding_size=4, hidden_sizes=[8, 16, 24, 32], out_features=STAGES)
            ),
            RESNET_RULES,
        ),
    ],
    ids=["swin", "resnet"],
)
def test_keys_go_there_and_back_bit_for_bit(published, model, rules):
    tensors = published(model())
    # Older files carry an index table that newer ones compute; both have a norm we never need.
    dropped = {name for name in tensors if name.startswith("swin.layernorm")}
    aged = dict(tensors)
    if dropped:
        block = "encoder.layers.0.blocks.0.attention.self.relative_position_index"
        aged[block] = torch.zeros(49, 49, dtype=torch.int64)
    back = to_theirs(to_ours(aged, rules), rules)
    assert back.keys() == tensors.keys() - dropped
    for name, tensor in back.items():
        assert torch.equal(tensor, tensors[name]), name
