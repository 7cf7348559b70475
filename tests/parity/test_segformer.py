"""SegFormer against transformers: the same file gives the same logits, and goes back unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from triptych.checkpoints.keymap import adopt_published, to_ours, to_theirs
from triptych.checkpoints.names.segformer import SEGFORMER_RULES
from triptych.networks.models.segformer import SIZES, SegFormer, segformer


def ours_like(config: SegformerConfig) -> SegFormer:
    model = segformer(
        classes=config.num_labels,
        channels=config.hidden_sizes,
        depths=config.depths,
        decoder_dim=config.decoder_hidden_size,
        heads=config.num_attention_heads,
        reductions=config.sr_ratios,
        kernels=config.patch_sizes,
        strides=config.strides,
        expansions=config.mlp_ratios,
        eps=1e-5,
    )
    return model.eval()


def four(values):
    return st.tuples(*[st.sampled_from(values)] * 4).map(list)


@st.composite
def configs(draw):
    heads = draw(four((1, 2, 3)))
    return SegformerConfig(
        num_labels=draw(st.integers(1, 5)),
        num_attention_heads=heads,
        hidden_sizes=[h * draw(st.sampled_from((4, 5, 8))) for h in heads],
        depths=draw(four((1, 2))),
        sr_ratios=draw(st.sampled_from(([8, 4, 2, 1], [4, 2, 1, 1], [1, 2, 1, 2], [5, 3, 2, 1]))),
        patch_sizes=draw(st.sampled_from(([7, 3, 3, 3], [5, 3, 3, 5], [4, 2, 2, 2]))),
        strides=draw(st.sampled_from(([4, 2, 2, 2], [2, 2, 2, 2], [4, 2, 1, 2], [4, 3, 2, 1]))),
        mlp_ratios=draw(four((1, 2, 4))),
        decoder_hidden_size=draw(st.sampled_from((8, 12))),
    )


sides = st.integers(64, 101)


@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(config=configs(), batch=st.integers(1, 3), height=sides, width=sides)
def test_logits_over_the_option_grid(published, close, config, batch, height, width):
    theirs = SegformerForSemanticSegmentation(config)
    ours = ours_like(config)
    adopt_published(ours, published(theirs), SEGFORMER_RULES)
    pixels = torch.randn(batch, 3, height, width)
    with torch.inference_mode():
        close(ours(pixels).mask_logits, theirs(pixels).logits)


def test_the_full_size_b0_as_published_and_the_effect_of_eps(published, close):
    config = SegformerConfig(num_labels=150)  # its defaults are B0's numbers
    theirs = SegformerForSemanticSegmentation(config)
    tensors = published(theirs)
    pixels = torch.randn(1, 3, 128, 160)
    for eps in (1e-5, 1e-6):  # transformers' and the authors' own: the numbers are the same
        ours = segformer(classes=150, size="b0", eps=eps).eval()
        adopt_published(ours, tensors, SEGFORMER_RULES)
        with torch.inference_mode():
            close(ours(pixels).mask_logits, theirs(pixels).logits)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_the_parameters_of_transformers(size):
    channels, depths, dim = SIZES[size]
    config = SegformerConfig(
        num_labels=150, hidden_sizes=channels, depths=depths, decoder_hidden_size=dim
    )
    with torch.device("meta"):
        theirs = SegformerForSemanticSegmentation(config)
        ours = segformer(classes=150, size=size)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert ours.decoder.fuse.weight.shape == theirs.decode_head.linear_fuse.weight.shape


def small() -> SegformerConfig:
    return SegformerConfig(
        num_labels=4,
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16,
    )


def test_keys_go_there_and_back_bit_for_bit(published):
    tensors = published(SegformerForSemanticSegmentation(small()))
    back = to_theirs(to_ours(tensors, SEGFORMER_RULES), SEGFORMER_RULES)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor), name
        assert back[name].dtype == tensor.dtype


def test_transformers_loads_what_we_write(tmp_path: Path, close):
    config = small()
    ours = ours_like(config)
    config.save_pretrained(tmp_path)
    tensors = {
        name: tensor.contiguous()
        for name, tensor in to_theirs(ours.state_dict(), SEGFORMER_RULES).items()
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs, told = SegformerForSemanticSegmentation.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    pixels = torch.randn(2, 3, 65, 96)
    with torch.inference_mode():
        close(ours(pixels).mask_logits, theirs.eval()(pixels).logits)
