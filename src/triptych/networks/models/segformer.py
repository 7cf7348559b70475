"""SegFormer: a mix transformer and an all-MLP decoder, one mask for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from triptych.checkpoints.keymap import Drop, under
from triptych.checkpoints.options import Options, with_defaults, without_defaults
from triptych.errors import TriptychError
from triptych.networks.backbones.mit import MIT_RULES, MiT
from triptych.networks.decoders.mlp import MLP_DECODER_RULES, MLPDecoder
from triptych.networks.models.family import Family, Published, label_count
from triptych.networks.models.segformer_original import SEGFORMER_ORIGINAL
from triptych.networks.prediction import Prediction

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}
"""Channels and depths of the four stages, and the decoder's width (SegFormer, table 6)."""


class SegFormer(nn.Module):
    """Pixel labeller of Xie et al. (NeurIPS 2021): ``N = K`` masks that compete by softmax."""

    competition = "softmax"

    def __init__(self, backbone: MiT, decoder: MLPDecoder) -> None:
        super().__init__()
        self.size_divisor = backbone.size_divisor
        self.backbone = backbone
        self.decoder = decoder

    def forward(self, pixels: Tensor) -> Prediction:
        """Predict ``mask_logits (B, K, H/4, W/4)`` for normalised pixels ``(B, 3, H, W)``.

        Any size of at least about ``size_divisor`` a side is taken; fractions round up.
        """
        return Prediction(self.decoder(self.backbone(pixels)), class_logits=None)


def segformer(
    *,
    classes: int,
    size: str = "b0",
    channels: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    decoder_dim: int | None = None,
    heads: Sequence[int] = (1, 2, 5, 8),
    reductions: Sequence[int] = (8, 4, 2, 1),
    kernels: Sequence[int] = (7, 3, 3, 3),
    strides: Sequence[int] = (4, 2, 2, 2),
    expansions: Sequence[float] = (4, 4, 4, 4),
    drop_path: float = 0.1,
    dropout: float = 0.1,
    eps: float = 1e-6,
    positions: Sequence[int] | None = None,
    mixing: bool = True,
) -> SegFormer:
    """Assemble a SegFormer with random weights.

    Args:
        classes: number of classes ``K``.
        size: "b0" to "b5"; gives the three numbers that follow where they are None.
        channels: widths of the four stages.
        depths: blocks of the four stages.
        decoder_dim: width of the decoder.
        heads: see ``MiT``, like the arguments after it.
        dropout: rate before the classifier.

    Raises:
        TriptychError: there is no such size.
    """
    if size not in SIZES:
        raise TriptychError(f"no SegFormer size is called {size!r}; choose from {', '.join(SIZES)}")
    sized = SIZES[size]
    backbone = MiT(
        channels or sized[0],
        depths or sized[1],
        heads=heads,
        reductions=reductions,
        kernels=kernels,
        strides=strides,
        expansions=expansions,
        drop_path=drop_path,
        eps=eps,
        positions=positions,
        mixing=mixing,
    )
    decoder = MLPDecoder(backbone.channels, decoder_dim or sized[2], classes, dropout=dropout)
    return SegFormer(backbone, decoder)


SEGFORMER_RULES = (
    *under(MIT_RULES, "segformer.", "backbone."),
    *under(MLP_DECODER_RULES, "decode_head.", "decoder."),
)
"""Names in files that transformers wrote (``SegformerForSemanticSegmentation``)."""


def read_config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments for a ``config.json`` of transformers.

    Rates of dropout inside the encoder are not taken over: they are 0 in what is published.

    Raises:
        TriptychError: an option that is not supported here.
    """
    config = Options(entries)
    config.only("num_channels", 3)
    config.only("num_encoder_blocks", 4)
    config.only("hidden_act", "gelu")
    config.only("reshape_last_stage", True)
    shape: dict[str, Any] = {
        "channels": config.counts("hidden_sizes", SIZES["b0"][0]),
        "depths": config.counts("depths", SIZES["b0"][1]),
        "decoder_dim": config.count("decoder_hidden_size", SIZES["b0"][2]),
    }
    for size, (channels, depths, dim) in SIZES.items():
        if list(shape.values()) == [list(channels), list(depths), dim]:
            shape = {"size": size}
    rest = {
        "heads": config.counts("num_attention_heads", (1, 2, 5, 8)),
        "reductions": config.counts("sr_ratios", (8, 4, 2, 1)),
        "kernels": config.counts("patch_sizes", (7, 3, 3, 3)),
        "strides": config.counts("strides", (4, 2, 2, 2)),
        "expansions": config.rates("mlp_ratios", (4, 4, 4, 4)),
        "drop_path": config.rate("drop_path_rate", 0.1),
        "dropout": config.rate("classifier_dropout_prob", 0.1),
        "eps": 1e-5,  # what its code has; it does not look at the file's layer_norm_eps
    }
    return {"classes": label_count(config)} | shape | without_defaults(segformer, rest)


def write_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a ``config.json`` of transformers for the builder's arguments.

    Raises:
        TriptychError: transformers has no such network.
    """
    numbers = with_defaults(segformer, arguments)
    if numbers["positions"] or not numbers["mixing"]:
        raise TriptychError(
            "transformers has no SegFormer with learnt positions or a feed-forward without "
            "convolution; use the format triptych"
        )
    channels, depths, dim = SIZES[numbers["size"]]
    return {
        "model_type": "segformer",
        "hidden_sizes": list(numbers["channels"] or channels),
        "depths": list(numbers["depths"] or depths),
        "decoder_hidden_size": numbers["decoder_dim"] or dim,
        "num_attention_heads": list(numbers["heads"]),
        "sr_ratios": list(numbers["reductions"]),
        "patch_sizes": list(numbers["kernels"]),
        "strides": list(numbers["strides"]),
        "mlp_ratios": list(numbers["expansions"]),
        "drop_path_rate": numbers["drop_path"],
        "classifier_dropout_prob": numbers["dropout"],
    }


FAMILY = Family(
    build=segformer,
    published=Published(
        architecture="SegformerForSemanticSegmentation",
        rules=SEGFORMER_RULES,
        read=read_config,
        write=write_config,
        encoders={
            "SegformerForImageClassification": (
                *under(MIT_RULES, "segformer.", "backbone."),
                Drop("classifier.{p}"),
            ),
            "SegformerModel": under(MIT_RULES, "", "backbone."),
        },
        processor={
            "image_processor_type": "SegformerImageProcessor",
            "size": {"height": 512, "width": 512},
        },
    ),
    original=SEGFORMER_ORIGINAL,
)
