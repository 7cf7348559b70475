"""Entries of published ``config.json`` files, in the spelling of the time: facts for tests.

What says nothing about the network (loss weights, initialisation, software) is left out but for a
few, and so are the names of classes where their number will do.
"""

from __future__ import annotations

from typing import Any


def numbered(count: int) -> dict[str, str]:
    return {str(i): f"class {i}" for i in range(count)}


SEGFORMER: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout_prob": 0.1,
    "downsampling_rates": [1, 4, 8, 16],
    "drop_path_rate": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "image_size": 224,
    "layer_norm_eps": 1e-06,
    "mlp_ratios": [4, 4, 4, 4],
    "model_type": "segformer",
    "num_attention_heads": [1, 2, 5, 8],
    "num_channels": 3,
    "num_encoder_blocks": 4,
    "patch_sizes": [7, 3, 3, 3],
    "reshape_last_stage": True,
    "sr_ratios": [8, 4, 2, 1],
    "strides": [4, 2, 2, 2],
    "transformers_version": "4.12.0.dev0",
}
# A backbone's configuration repeats everything that any configuration has.
SWIN: dict[str, Any] = {
    "_name_or_path": "",
    "add_cross_attention": False,
    "architectures": ["SwinForImageClassification"],
    "attention_probs_dropout_prob": 0.0,
    "drop_path_rate": 0.3,
    "encoder_stride": 32,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "image_size": 224,
    "layer_norm_eps": 1e-05,
    "mlp_ratio": 4.0,
    "model_type": "swin",
    "num_channels": 3,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
    "patch_size": 4,
    "path_norm": True,
    "qkv_bias": True,
    "stage_names": ["stem", "stage1", "stage2", "stage3", "stage4"],
    "torch_dtype": None,
    "use_absolute_embeddings": False,
}
MASK2FORMER: dict[str, Any] = {
    "activation_function": "relu",
    "architectures": ["Mask2FormerForUniversalSegmentation"],
    "class_weight": 2.0,
    "common_stride": 4,
    "decoder_layers": 10,
    "dim_feedforward": 2048,
    "dropout": 0.0,
    "encoder_feedforward_dim": 1024,
    "encoder_layers": 6,
    "enforce_input_projection": False,
    "enforce_input_proj": False,
    "feature_size": 256,
    "feature_strides": [4, 8, 16, 32],
    "hidden_dim": 256,
    "ignore_value": 255,
    "mask_feature_size": 256,
    "model_type": "mask2former",
    "no_object_weight": 0.1,
    "num_attention_heads": 8,
    "num_hidden_layers": 10,
    "pre_norm": False,
    "torch_dtype": "float32",
    "use_auxiliary_loss": True,
}
MASKFORMER: dict[str, Any] = {
    "architectures": ["MaskFormerForInstanceSegmentation"],
    "decoder_config": {
        "_name_or_path": "",
        "activation_function": "relu",
        "attention_dropout": 0.0,
        "auxiliary_loss": False,
        "backbone": "resnet50",
        "d_model": 256,
        "decoder_attention_heads": 8,
        "decoder_ffn_dim": 2048,
        "decoder_layers": 6,
        "decoder_layerdrop": 0.0,
        "dilation": False,
        "dropout": 0.1,
        "encoder_attention_heads": 8,
        "encoder_ffn_dim": 2048,
        "encoder_layers": 6,
        "is_encoder_decoder": True,
        "model_type": "detr",
        "num_queries": 100,
        "position_embedding_type": "sine",
    },
    "fpn_feature_size": 256,
    "init_std": 0.02,
    "mask_feature_size": 256,
    "mask_weight": 20.0,
    "model_type": "maskformer",
    "num_attention_heads": 8,
    "use_auxiliary_loss": False,
}
ONEFORMER: dict[str, Any] = {
    "architectures": ["OneFormerForUniversalSegmentation"],
    "class_weight": 2.0,
    "common_stride": 4,
    "contrastive_temperature": 0.07,
    "contrastive_weight": 0.5,
    "conv_dim": 256,
    "decoder_layers": 10,
    "dim_feedforward": 2048,
    "dropout": 0.1,
    "encoder_feedforward_dim": 1024,
    "encoder_layers": 6,
    "enforce_input_proj": False,
    "hidden_dim": 256,
    "is_training": False,
    "layer_norm_eps": 1e-05,
    "mask_dim": 256,
    "model_type": "oneformer",
    "norm": "GN",
    "num_attention_heads": 8,
    "num_hidden_layers": 10,
    "output_attentions": True,
    "output_auxiliary_logits": True,
    "output_hidden_states": True,
    "pre_norm": False,
    "query_dec_layers": 2,
    "strides": [4, 8, 16, 32],
    "task_seq_len": 77,
    "text_encoder_n_ctx": 16,
    "text_encoder_width": 256,
    "use_auxiliary_loss": True,
    "use_task_norm": True,
}
RESNET: dict[str, Any] = {
    "depths": [3, 4, 6, 3],
    "downsample_in_first_stage": False,
    "embedding_size": 64,
    "hidden_act": "relu",
    "hidden_sizes": [256, 512, 1024, 2048],
    "layer_type": "bottleneck",
    "model_type": "resnet",
    "num_channels": 3,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}

# Name of the checkpoint: its config, and the builder's arguments.
PUBLISHED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nvidia/segformer-b0-finetuned-ade-512-512": (
        SEGFORMER
        | {
            "decoder_hidden_size": 256,
            "depths": [2, 2, 2, 2],
            "hidden_sizes": [32, 64, 160, 256],
            "id2label": numbered(150),
        },
        {"classes": 150, "size": "b0", "eps": 1e-5},
    ),
    "nvidia/segformer-b5-finetuned-cityscapes-1024-1024": (
        SEGFORMER
        | {
            "decoder_hidden_size": 768,
            "depths": [3, 6, 40, 3],
            "hidden_sizes": [64, 128, 320, 512],
            "id2label": numbered(19),
        },
        {"classes": 19, "size": "b5", "eps": 1e-5},
    ),
    "a SegFormer of one's own": (
        {
            "model_type": "segformer",
            "num_labels": 7,
            "decoder_hidden_size": 768,
            "depths": [3, 4, 6, 3],
            "hidden_sizes": [64, 128, 320, 512],
            "sr_ratios": [4, 4, 2, 1],
            "drop_path_rate": 0,
        },
        {"classes": 7, "size": "b2", "reductions": [4, 4, 2, 1], "drop_path": 0, "eps": 1e-5},
    ),
    "facebook/mask2former-swin-tiny-coco-instance": (
        MASK2FORMER
        | {
            "num_queries": 100,
            "id2label": numbered(80),
            "backbone_config": SWIN
            | {
                "embed_dim": 96,
                "depths": [2, 2, 6, 2],
                "num_heads": [3, 6, 12, 24],
                "window_size": 7,
            },
        },
        {"classes": 80, "backbone": "swin_tiny"},
    ),
    "facebook/mask2former-swin-large-ade-panoptic": (
        MASK2FORMER
        | {
            "num_queries": 200,
            "id2label": numbered(150),
            "backbone_config": SWIN
            | {
                "image_size": 384,
                "embed_dim": 192,
                "depths": [2, 2, 18, 2],
                "num_heads": [6, 12, 24, 48],
                "window_size": 12,
            },
        },
        {"classes": 150, "backbone": "swin_large", "queries": 200},
    ),
    "a Mask2Former with ResNet-50": (
        MASK2FORMER | {"num_queries": 100, "id2label": numbered(133), "backbone_config": RESNET},
        {"classes": 133, "backbone": "resnet50"},
    ),
    "shi-labs/oneformer_ade20k_swin_tiny": (
        ONEFORMER
        | {
            "num_queries": 150,
            "id2label": numbered(150),
            "backbone_config": SWIN
            | {
                "embed_dim": 96,
                "depths": [2, 2, 6, 2],
                "num_heads": [3, 6, 12, 24],
                "window_size": 7,
            },
        },
        {"classes": 150, "backbone": "swin_tiny"},
    ),
    "shi-labs/oneformer_cityscapes_swin_large": (
        ONEFORMER
        | {
            "num_queries": 250,
            "id2label": numbered(19),
            "backbone_config": SWIN
            | {
                "image_size": 384,
                "embed_dim": 192,
                "depths": [2, 2, 18, 2],
                "num_heads": [6, 12, 24, 48],
                "window_size": 12,
            },
        },
        {"classes": 19, "backbone": "swin_large", "queries": 250},
    ),
    "a OneFormer of transformers' defaults": (
        {"model_type": "oneformer"},
        {"classes": 2, "backbone": "swin_tiny"},
    ),
    "facebook/maskformer-swin-tiny-ade": (
        MASKFORMER
        | {
            "id2label": numbered(150),
            "backbone_config": SWIN
            | {
                "embed_dim": 96,
                "depths": [2, 2, 6, 2],
                "num_heads": [3, 6, 12, 24],
                "window_size": 7,
                "out_features": ["stage4"],
            },
        },
        {"classes": 150, "backbone": "swin_tiny"},
    ),
    "facebook/maskformer-resnet101-cityscapes": (
        MASKFORMER
        | {"id2label": numbered(19), "backbone_config": RESNET | {"depths": [3, 4, 23, 3]}},
        {"classes": 19, "backbone": "resnet101"},
    ),
}
