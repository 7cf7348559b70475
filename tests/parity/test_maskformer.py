"""MaskFormer against transformers: every layer's classes and masks, and the way back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import (
    DetrConfig,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerSwinConfig,
    ResNetConfig,
    SwinConfig,
)

from triptych.checkpoints.keymap import adopt_published, to_ours, to_theirs
from triptych.checkpoints.names.maskformer import (
    FAMILY,
    MASKFORMER_RULES,
    read_config,
    write_config,
)
from triptych.networks.contract import Prediction
from triptych.networks.models.maskformer import MaskFormer, maskformer

PUBLISHED = FAMILY.published
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
    layers = theirs.config.decoder_config.decoder_layers
    # With use_auxiliary_loss there is one before the first layer, too.
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


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
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
    adopt_published(ours, published(theirs), MASKFORMER_RULES)
    compare(close, ours, theirs, torch.randn(batch, 3, height, width))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        # facebook/maskformer-swin-tiny-ade and maskformer-resnet50-ade; the rest are defaults.
        (SwinConfig(drop_path_rate=0.3, out_features=STAGES), "swin_tiny"),
        (ResNetConfig(out_features=STAGES), "resnet50"),
    ],
    ids=["swin-tiny-ade", "resnet50-ade"],
)
def test_full_size_as_published(published, close, backbone, name):
    theirs = MaskFormerForInstanceSegmentation(
        MaskFormerConfig(backbone_config=backbone, num_labels=150)
    )
    ours = ours_like(theirs)
    adopt_published(ours, published(theirs), MASKFORMER_RULES)
    assert (
        read_config(theirs.config.to_dict())
        == {"classes": 150}
        | {
            "swin_tiny": {"backbone": "swin_tiny"},
            "resnet50": {"backbone": "resnet50"},
        }[name]
    )
    compare(close, ours, theirs, torch.randn(1, 3, 96, 131))


@pytest.mark.parametrize("backbone", [swin_config, resnet_config])
def test_keys_go_there_and_back_bit_for_bit(published, backbone):
    tensors = published(MaskFormerForInstanceSegmentation(config(backbone())))
    back = to_theirs(to_ours(tensors, MASKFORMER_RULES), MASKFORMER_RULES)
    # An index table for each of six blocks, a norm of the classifier that Swin once had, a loss's.
    parts = ("relative_position_index", "encoder.model.layernorm.", "criterion.empty_weight")
    dropped = {name for name in tensors if any(part in name for part in parts)}
    assert len(dropped) == (6 + 2 + 1 if backbone is swin_config else 1)
    assert back.keys() == tensors.keys() - dropped
    for name, tensor in back.items():
        assert torch.equal(tensor, tensors[name]), name


@pytest.mark.parametrize("backbone", [swin_config, resnet_config])
def test_transformers_loads_what_we_write(tmp_path: Path, published, close, backbone):
    numbers = read_config(config(backbone(), use_auxiliary_loss=True).to_dict())
    ours = maskformer(**numbers)
    described = write_config(numbers) | {"num_labels": numbers["classes"]}
    (tmp_path / "config.json").write_text(json.dumps(described), encoding="utf-8")
    assert PUBLISHED is not None
    tensors = to_theirs(ours.state_dict(), MASKFORMER_RULES) | PUBLISHED.unused(numbers)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs, told = MaskFormerForInstanceSegmentation.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not told["unexpected_keys"]
    # Tables of numbers that it computes, whatever a file says.
    assert all(key.endswith("relative_position_index") for key in told["missing_keys"])
    compare(close, ours, theirs.eval(), torch.randn(2, 3, 96, 65))

    # And back: from what transformers has now, to the same bits.
    theirs.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert read_config(saved) == numbers
    again = maskformer(**numbers)
    adopt_published(again, load_file(tmp_path / "model.safetensors"), MASKFORMER_RULES)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


# Sizes in the names facebook/maskformer-{}-{ade,coco}, as their config.json has them.
SIZES: dict[str, SwinConfig | ResNetConfig] = {
    "resnet50": ResNetConfig(depths=[3, 4, 6, 3], out_features=STAGES),
    "resnet101": ResNetConfig(depths=[3, 4, 23, 3], out_features=STAGES),
    "swin_tiny": SwinConfig(out_features=STAGES),
    "swin_small": SwinConfig(depths=[2, 2, 18, 2], out_features=STAGES),
    "swin_base": SwinConfig(
        embed_dim=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=12,
        out_features=STAGES,
    ),
    "swin_large": SwinConfig(
        embed_dim=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        out_features=STAGES,
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_every_published_size_has_the_parameters_of_transformers(name):
    described = MaskFormerConfig(backbone_config=SIZES[name], num_labels=150)
    arguments = read_config(described.to_dict())
    assert arguments["backbone"] == name
    with torch.device("meta"):
        theirs = MaskFormerForInstanceSegmentation(described)
        ours = maskformer(**arguments)
    classifier = sum(
        p.numel()
        for key, p in theirs.named_parameters()
        if key.startswith("model.pixel_level_module.encoder.model.layernorm.")
    )
    assert (classifier > 0) == name.startswith("swin")
    assert (
        sum(p.numel() for p in ours.parameters())
        == sum(p.numel() for p in theirs.parameters()) - classifier
    )
