"""MaskFormer against transformers: every layer's classes and masks, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import (
    DetrConfig,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerSwinConfig,
    ResNetConfig,
    SwinConfig,
)

from triptych.keymap import load_published, to_ours, to_theirs
from triptych.models.maskformer import (
    FAMILY,
    MASKFORMER_RULES,
    MaskFormer,
    maskformer,
    read_config,
    write_config,
)
from triptych.prediction import Prediction

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def swin_config(kind=SwinConfig, **numbers) -> SwinConfig:
    small = {"embed_dim": 8, "depths": [2, 1, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 4}
    return kind(**small | numbers, out_features=STAGES)


def resnet_config(**numbers) -> ResNetConfig:
    small = {"embedding_size": 4, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 2, 1, 1]}
    return ResNetConfig(**small | numbers, out_features=STAGES)


def config(backbone=None, *, decoder=None, **numbers) -> MaskFormerConfig:
    small = {
        "d_model": 32,
        "num_queries": 5,
        "decoder_layers": 3,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 24,
    }
    return MaskFormerConfig(
        backbone_config=backbone or swin_config(),
        decoder_config=DetrConfig(**small | (decoder or {})),
        **{"num_labels": 3, "fpn_feature_size": 32, "mask_feature_size": 16} | numbers,
    )


def ours_like(theirs: MaskFormerForInstanceSegmentation) -> MaskFormer:
    """Ours for the ``config.json`` that ``save_pretrained`` writes beside the tensors."""
    return maskformer(**read_config(json.loads(theirs.config.to_json_string()))).eval()


@torch.inference_mode()
def predictions(ours: MaskFormer, pixels: torch.Tensor) -> list[Prediction]:
    """Every layer's, first layer first, as while training but without dropout."""
    plain = ours.eval()(pixels)
    assert plain.auxiliary == ()
    # The decoder alone, and not the dropout within it.
    ours.query_decoder.training = True
    told = ours(pixels)
    assert torch.equal(told.mask_logits, plain.mask_logits)
    return [*told.auxiliary, told]


@torch.inference_mode()
def wanted_predictions(
    theirs: MaskFormerForInstanceSegmentation, pixels: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Class and mask logits after every layer, by transformers."""
    out = theirs(pixels, output_hidden_states=True, output_auxiliary_logits=True)
    if theirs.config.use_auxiliary_loss:
        earlier = [
            (one["class_queries_logits"], one["masks_queries_logits"])
            for one in out.auxiliary_logits
        ]
    else:
        # It tells none then. By its own modules, with the norm that the authors have there.
        norm = theirs.model.transformer_module.decoder.layernorm
        pixel = out.pixel_decoder_last_hidden_state
        states = [norm(state) for state in out.transformer_decoder_hidden_states[1:-1]]
        earlier = [
            (
                theirs.class_predictor(state),
                torch.einsum("bqc, bchw -> bqhw", theirs.mask_embedder(state), pixel),
            )
            for state in states
        ]
    return [*earlier, (out.class_queries_logits, out.masks_queries_logits)]


def compare(close, ours: MaskFormer, theirs, pixels: torch.Tensor) -> None:
    told = predictions(ours, pixels)
    wanted = wanted_predictions(theirs, pixels)
    # theirs.config.use_auxiliary_loss counts one before the first layer.
    layers = theirs.config.decoder_config.decoder_layers
    assert len(told) == len(wanted) == layers + theirs.config.use_auxiliary_loss
    for mine, (class_logits, mask_logits) in zip(told, wanted, strict=True):
        assert mine.class_logits is not None
        close(mine.class_logits, class_logits)
        close(mine.mask_logits, mask_logits)


depths = st.tuples(*[st.integers(1, 2)] * 4).map(list)
heads = st.sampled_from(([1, 2, 4, 8], [2, 2, 4, 4], [1, 1, 2, 2]))
swins = st.builds(
    swin_config,
    kind=st.sampled_from((SwinConfig, MaskFormerSwinConfig)),
    depths=depths,
    num_heads=heads,
    window_size=st.sampled_from((2, 3, 4, 7, 12)),
    mlp_ratio=st.sampled_from((2.0, 4.0)),
)
resnets = st.builds(
    resnet_config,
    depths=depths,
    hidden_sizes=st.sampled_from(([8, 16, 32, 64], [16, 16, 24, 24])),
    embedding_size=st.sampled_from((4, 8)),
)
decoders = st.fixed_dictionaries(
    {
        "d_model": st.sampled_from((24, 32, 64)),  # 64: as wide as the map it looks at
        "decoder_attention_heads": st.sampled_from((1, 2, 4, 8)),
        "decoder_ffn_dim": st.sampled_from((16, 40)),
        "decoder_layers": st.integers(1, 4),
        "num_queries": st.integers(1, 9),
    }
)


@settings(max_examples=16, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    backbone=swins | resnets,
    decoder=decoders,
    classes=st.integers(1, 6),
    pyramid_dim=st.sampled_from((32, 64)),
    mask_dim=st.sampled_from((8, 20, 32)),
    use_auxiliary_loss=st.booleans(),
    batch=st.integers(1, 3),
    height=st.integers(64, 130),
    width=st.integers(64, 130),
)
def test_every_output_over_the_option_grid(
    published,
    close,
    backbone,
    decoder,
    classes,
    pyramid_dim,
    mask_dim,
    use_auxiliary_loss,
    batch,
    height,
    width,
):
    theirs = MaskFormerForInstanceSegmentation(
        config(
            backbone,
            decoder=decoder,
            num_labels=classes,
            fpn_feature_size=pyramid_dim,
            mask_feature_size=mask_dim,
            use_auxiliary_loss=use_auxiliary_loss,
        )
    )
    ours = ours_like(theirs)
    load_published(ours, published(theirs), MASKFORMER_RULES)
    compare(close, ours, theirs, torch.randn(batch, 3, height, width))
