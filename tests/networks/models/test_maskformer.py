"""MaskFormer: the paper's sizes, and descriptions by transformers in all their spellings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from triptych.checkpoints.names.maskformer import read_config, write_config
from triptych.errors import TriptychError
from triptych.networks.models.maskformer import maskformer

# Entries of facebook/maskformer-swin-tiny-ade as written in 2022: a whole DETR is described, with
# a backbone that is never built, and what later versions renamed or left out.
OF_2022: dict[str, Any] = {
    "architectures": ["MaskFormerForInstanceSegmentation"],
    "backbone_config": {
        "attention_probs_dropout_prob": 0.0,
        "depths": [2, 2, 6, 2],
        "drop_path_rate": 0.3,
        "embed_dim": 96,
        "encoder_stride": 32,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 768,
        "image_size": 224,
        "layer_norm_eps": 1e-05,
        "mlp_ratio": 4.0,
        "model_type": "swin",
        "num_channels": 3,
        "num_heads": [3, 6, 12, 24],
        "num_layers": 4,
        "patch_size": 4,
        "path_norm": True,
        "qkv_bias": True,
        "use_absolute_embeddings": False,
        "window_size": 7,
    },
    "cross_entropy_weight": 1.0,
    "decoder_config": {
        "activation_function": "relu",
        "auxiliary_loss": False,
        "backbone": "resnet50",
        "d_model": 256,
        "decoder_attention_heads": 8,
        "decoder_ffn_dim": 2048,
        "decoder_layers": 6,
        "dropout": 0.1,
        "encoder_layers": 6,
        "max_position_embeddings": 1024,
        "model_type": "detr",
        "num_queries": 100,
        "scale_embedding": False,
    },
    "fpn_feature_size": 256,
    "id2label": {str(number): f"class {number}" for number in range(150)},
    "mask_feature_size": 256,
    "model_type": "maskformer",
    "no_object_weight": 0.1,
    "num_attention_heads": 8,
    "num_hidden_layers": 6,
    "torch_dtype": "float32",
    "use_auxiliary_loss": False,
}


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [
        # Cheng et al. 2021, table 1 and, for Swin-L, its appendix: 150 classes.
        ("resnet50", 41),
        ("resnet101", 60),
        ("swin_tiny", 42),
        ("swin_small", 63),
        ("swin_base", 102),
        ("swin_large", 212),
    ],
)
def test_parameters_of_the_paper(backbone, millions):
    with torch.device("meta"):
        model = maskformer(classes=150, backbone=backbone)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions


def test_a_published_description_is_our_defaults():
    assert read_config(OF_2022) == {"classes": 150, "backbone": "swin_tiny"}


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        # Nothing said: Swin-B with windows of 12.
        ({}, {"classes": 2, "backbone": "swin_base"}),
        ({"num_labels": 7}, {"classes": 7, "backbone": "swin_base"}),
        ({"backbone": "resnet101"}, {"classes": 2, "backbone": "resnet101"}),
        (
            {"backbone": "microsoft/resnet-50", "backbone_config": None, "decoder_config": None},
            {"classes": 2, "backbone": "resnet50"},
        ),
        (
            {
                "backbone": "resnet50",
                "fpn_feature_size": 64,
                "mask_feature_size": 48,
                "use_auxiliary_loss": True,
                "decoder_config": {
                    "d_model": 32,
                    "num_queries": 200,
                    "decoder_layers": 3,
                    "decoder_attention_heads": 4,
                    "decoder_ffn_dim": 40,
                    "dropout": 0,
                },
            },
            {
                "classes": 2,
                "backbone": "resnet50",
                "pyramid_dim": 64,
                "mask_dim": 48,
                "queries": 200,
                "dim": 32,
                "heads": 4,
                "feedforward": 40,
                "layers": 3,
                "dropout": 0,
                "auxiliary_norm": False,
            },
        ),
    ],
)
def test_spellings(entries, told):
    assert read_config(entries) == told
    described = write_config(told) | {"num_labels": told["classes"]}
    assert read_config(described) == told


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"decoder_config": {"model_type": "bart"}}, "decoder_config.model_type is 'bart'"),
        ({"decoder_config": {"activation_function": "gelu"}}, "decoder_config.activation_function"),
        ({"decoder_config": {"auxiliary_loss": True}}, "decoder_config.auxiliary_loss is True"),
        ({"decoder_config": {"num_queries": 0}}, "decoder_config.num_queries is 0"),
        ({"decoder_config": [1]}, "decoder_config is"),
        ({"fpn_feature_size": "wide"}, "fpn_feature_size is 'wide'"),
        ({"use_auxiliary_loss": "yes"}, "use_auxiliary_loss is 'yes'; expected true or false"),
        ({"backbone_config": {"model_type": "convnext"}}, "type 'convnext', which is not supp"),
    ],
)
def test_what_is_not_supported_is_named(entries, complaint):
    with pytest.raises(TriptychError, match=complaint):
        read_config(entries)


def test_what_transformers_cannot_build_is_not_written():
    with pytest.raises(TriptychError, match="pyramid_dim is 24, only multiples of 32"):
        write_config({"classes": 3, "pyramid_dim": 24})
    with pytest.raises(TriptychError, match="no backbone like efficientnet_lite0"):
        write_config({"classes": 3, "backbone": "efficientnet_lite0"})
