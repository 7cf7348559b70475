"""Small random models of transformers, one a family and backbone, and their processors."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    DetrConfig,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerImageProcessorPil,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    OneFormerImageProcessorPil,
    ResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
    SwinConfig,
)

STAGES = ["stage1", "stage2", "stage3", "stage4"]
QUERIES = {"num_queries": 6, "num_attention_heads": 4}


def swin() -> SwinConfig:
    return SwinConfig(
        embed_dim=8, depths=[2, 1, 2, 1], num_heads=[1, 2, 2, 4], window_size=4, out_features=STAGES
    )


def resnet() -> ResNetConfig:
    return ResNetConfig(
        embedding_size=4, hidden_sizes=[8, 16, 32, 64], depths=[1, 2, 1, 1], out_features=STAGES
    )


def segformer() -> Any:
    config = SegformerConfig(
        hidden_sizes=[8, 16, 40, 32], depths=[1, 2, 1, 1], decoder_hidden_size=16, num_labels=5
    )
    return SegformerForSemanticSegmentation(config)


def mask2former(backbone: Any) -> Any:
    config = Mask2FormerConfig(
        backbone_config=backbone,
        num_labels=5,
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        encoder_layers=2,
        encoder_feedforward_dim=24,
        decoder_layers=4,
        dim_feedforward=40,
        **QUERIES,
    )
    return Mask2FormerForUniversalSegmentation(config)


def maskformer(backbone: Any) -> Any:
    decoder = DetrConfig(
        d_model=32,
        num_queries=6,
        decoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=40,
        encoder_layers=1,
    )
    config = MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=decoder,
        num_labels=5,
        fpn_feature_size=32,
        mask_feature_size=32,
    )
    return MaskFormerForInstanceSegmentation(config)


def oneformer() -> Any:
    config = OneFormerConfig(
        backbone_config=swin(),
        num_labels=5,
        hidden_dim=32,
        conv_dim=32,
        mask_dim=32,
        encoder_layers=2,
        encoder_feedforward_dim=24,
        decoder_layers=4,
        query_dec_layers=2,
        dim_feedforward=40,
        is_training=False,
        **QUERIES,
    )
    return OneFormerForUniversalSegmentation(config)


MODELS = {
    "segformer": (segformer, SegformerImageProcessorPil),
    "mask2former-swin": (lambda: mask2former(swin()), Mask2FormerImageProcessorPil),
    "mask2former-resnet": (lambda: mask2former(resnet()), Mask2FormerImageProcessorPil),
    "maskformer-swin": (lambda: maskformer(swin()), MaskFormerImageProcessorPil),
    "maskformer-resnet": (lambda: maskformer(resnet()), MaskFormerImageProcessorPil),
    "oneformer": (oneformer, OneFormerImageProcessorPil),
}


def make(name: str) -> tuple[Any, Any]:
    """A model with weights of every size, in eval mode, and its processor."""
    build, processor = MODELS[name]
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model, processor()
