"""Backbones as transformers' ``config.json`` describes them: Swin and ResNet.

The description is a configuration inside the model's, or a name which stands for one: that of a
repository on the hub, or that of a model in timm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from triptych.checkpoints.keymap import Drop, under
from triptych.checkpoints.names.resnet import RESNET_RULES, TORCHVISION_RESNET_RULES
from triptych.checkpoints.names.swin import SWIN_RULES
from triptych.checkpoints.options import Options, with_defaults, without_defaults
from triptych.errors import TriptychError
from triptych.networks.backbones import resnet, swin

STAGES = ["stage1", "stage2", "stage3", "stage4"]

BACKBONE_RULES = (
    # Their names have nothing in common, so one set of rules reads all. What is written has the
    # names of the first rule that fits: those of transformers' own ResNet, not timm's.
    *SWIN_RULES,
    *RESNET_RULES,
    *under(TORCHVISION_RESNET_RULES, "_backbone.", ""),
    # The classifier that a backbone was trained with.
    Drop("_backbone.fc.{p}"),
)
"""Names of a backbone's tensors, below whatever the model puts before them."""

_RESNET = re.compile(r"(?:microsoft/)?resnet-?(50|101)(?:\.\w+)?")
_SWIN = re.compile(r"microsoft/swin-(tiny|small|base|large)-patch4-window(\d+)-\d+(?:-in22k)?")


def read_backbone(config: Options, default: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's configuration says about its backbone.

    Args:
        config: the whole model's; its ``backbone_config`` or ``backbone`` is read.
        default: the ``backbone_config`` where the model's has neither.

    Returns:
        The builder's arguments ``backbone`` and, unless empty, ``backbone_arguments``.

    Raises:
        TriptychError: we have no such backbone.
    """
    entry = "backbone_config" if "backbone_config" in config else "backbone"
    described = config.entries.get(entry) or default
    if isinstance(described, str):
        described = _by_name(described)
    found = Options({entry: described}).within(entry)
    if found.entries.get("model_type") == "timm_backbone":
        found.only("output_stride", 32)
        found = Options(_by_name(found.text("backbone", "")), f"{entry}.")
    found.only("num_channels", 3)
    kind = found.text("model_type", "")
    if kind in ("swin", "maskformer-swin", "donut-swin"):
        name, arguments = _read_swin(found)
    elif kind == "resnet":
        name, arguments = _read_resnet(found)
    else:
        raise TriptychError(
            f"{entry} is of the type {kind!r}, which is not supported, only swin and resnet"
        )
    return {"backbone": name} | ({"backbone_arguments": arguments} if arguments else {})


def write_backbone(backbone: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A ``backbone_config`` for the builder's ``backbone`` and ``backbone_arguments``.

    Raises:
        TriptychError: transformers has no such backbone.
    """
    if backbone == "swin" or backbone in swin.SIZES:
        return _write_swin(backbone, arguments)
    if backbone == "resnet" or backbone in resnet.DEPTHS:
        return _write_resnet(backbone, arguments)
    raise TriptychError(
        f"transformers has no backbone like {backbone}, only like swin and resnet; use the format "
        "triptych"
    )


def unused_norm(described: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """The norm of the classifier that a Swin was trained with, which transformers still has.

    Args:
        described: a ``backbone_config``; others than Swin's have no such norm.
        name: of the norm.
    """
    if described["model_type"] != "swin":
        return {}
    width = described["embed_dim"] * 2 ** (len(described["depths"]) - 1)
    return {
        f"{name}.weight": torch.ones(width, dtype=torch.float32, device="cpu"),
        f"{name}.bias": torch.zeros(width, dtype=torch.float32, device="cpu"),
    }


def unused_indices(described: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """The tables of relative positions that transformers keeps with the weights of some Swins.

    Args:
        described: a ``backbone_config``; others than Swin's have no such tables.
        prefix: of the Swin's names.
    """
    if described["model_type"] != "swin":
        return {}
    return {
        f"{prefix}encoder.layers.{stage}.blocks.{block}.attention.self.relative_position_index": (
            swin.bias_index(described["window_size"])
        )
        for stage, depth in enumerate(described["depths"])
        for block in range(depth)
    }


def _by_name(name: str) -> dict[str, Any]:
    """The configuration that a name stands for."""
    if found := _RESNET.fullmatch(name):
        return {"model_type": "resnet", "depths": resnet.DEPTHS[f"resnet{found[1]}"]}
    if found := _SWIN.fullmatch(name):
        dim, depths, heads = swin.SIZES[f"swin_{found[1]}"]
        return {
            "model_type": "swin",
            "embed_dim": dim,
            "depths": depths,
            "num_heads": heads,
            "window_size": int(found[2]),
        }
    raise TriptychError(
        f"backbone is {name!r}, which is not supported, only resnet50, resnet101 (of timm), "
        "microsoft/resnet-... and microsoft/swin-..."
    )


def _read_swin(config: Options) -> tuple[str, dict[str, Any]]:
    config.only("hidden_act", "gelu")
    config.only("qkv_bias", True)
    config.only("use_absolute_embeddings", False)
    config.only("layer_norm_eps", 1e-5)
    size = {
        "dim": config.count("embed_dim", 96),
        "depths": config.counts("depths", (2, 2, 6, 2)),
        "heads": config.counts("num_heads", (3, 6, 12, 24)),
    }
    shape = {
        "patch": config.count("patch_size", 4),
        "expansion": config.rate("mlp_ratio", 4.0),
    }
    rest = {
        "window": config.count("window_size", 7),
        "drop_path": config.rate("drop_path_rate", 0.1),
    }
    for name, (dim, depths, heads) in swin.SIZES.items():
        published = {"dim": dim, "depths": list(depths), "heads": list(heads)}
        if size == published and shape == {"patch": 4, "expansion": 4}:
            return name, without_defaults(getattr(swin, name), rest)
    return "swin", without_defaults(swin.Swin, size | shape | rest)


def _write_swin(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    numbers = with_defaults(getattr(swin, name) if name in swin.SIZES else swin.Swin, arguments)
    if name in swin.SIZES:
        sized = dict(zip(("dim", "depths", "heads"), swin.SIZES[name], strict=True))
        numbers = with_defaults(swin.Swin, sized | numbers)
    return {
        "model_type": "swin",
        "embed_dim": numbers["dim"],
        "depths": list(numbers["depths"]),
        "num_heads": list(numbers["heads"]),
        "window_size": numbers["window"],
        "patch_size": numbers["patch"],
        "mlp_ratio": float(numbers["expansion"]),
        "drop_path_rate": numbers["drop_path"],
        "out_features": STAGES,
    }


def _read_resnet(config: Options) -> tuple[str, dict[str, Any]]:
    config.only("layer_type", "bottleneck")
    config.only("hidden_act", "relu")
    config.only("downsample_in_first_stage", False)
    config.only("downsample_in_bottleneck", False)
    depths = config.counts("depths", (3, 4, 6, 3))
    rest = {
        "channels": config.counts("hidden_sizes", (256, 512, 1024, 2048)),
        "stem": config.count("embedding_size", 64),
    }
    for name, published in resnet.DEPTHS.items():
        if depths == list(published):
            return name, without_defaults(getattr(resnet, name), rest)
    return "resnet", without_defaults(resnet.ResNet, {"depths": depths} | rest)


def _write_resnet(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    function = getattr(resnet, name) if name in resnet.DEPTHS else resnet.ResNet
    numbers = with_defaults(function, arguments)
    return {
        "model_type": "resnet",
        "depths": list(resnet.DEPTHS.get(name) or numbers["depths"]),
        "hidden_sizes": list(numbers["channels"]),
        "embedding_size": numbers["stem"],
        "layer_type": "bottleneck",
        "out_features": STAGES,
    }
