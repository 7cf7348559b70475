"""Tensors of ResNets, as transformers, torchvision and detectron2 name them."""

from __future__ import annotations

from triptych.checkpoints.keymap import Rename


def _transformers_rules() -> list[Rename]:
    # transformers counts stages and the layers of a block from 0, torchvision from 1.
    rules = [
        Rename("embedder.embedder.convolution.{p}", "conv1.{p}"),
        Rename("embedder.embedder.normalization.{p}", "bn1.{p}"),
    ]
    for stage in range(4):
        theirs, ours = f"encoder.stages.{stage}.layers.{{b}}.", f"layer{stage + 1}.{{b}}."
        rules += [
            Rename(theirs + "shortcut.convolution.{p}", ours + "downsample.0.{p}"),
            Rename(theirs + "shortcut.normalization.{p}", ours + "downsample.1.{p}"),
        ]
        for layer in range(3):
            rules += [
                Rename(f"{theirs}layer.{layer}.convolution.{{p}}", f"{ours}conv{layer + 1}.{{p}}"),
                Rename(f"{theirs}layer.{layer}.normalization.{{p}}", f"{ours}bn{layer + 1}.{{p}}"),
            ]
    return rules


RESNET_RULES = tuple(_transformers_rules())
"""Names in files that transformers wrote with its own ResNet."""

TORCHVISION_RESNET_RULES = (
    Rename("{layer}.{p}", "{layer}.{p}"),
    Rename("{stage}.{b}.{layer}.{p}", "{stage}.{b}.{layer}.{p}"),
    Rename("{stage}.{b}.downsample.{i}.{p}", "{stage}.{b}.downsample.{i}.{p}"),
)
"""Names in files of torchvision and timm, and of transformers models with a timm backbone."""


def _detectron2_rules() -> list[Rename]:
    # A norm is a part of its convolution there, and stages are called by the map they give.
    rules = [Rename("stem.conv1.weight", "conv1.weight"), Rename("stem.conv1.norm.{p}", "bn1.{p}")]
    for stage in range(1, 5):
        theirs, ours = f"res{stage + 1}.{{b}}.", f"layer{stage}.{{b}}."
        rules += [
            Rename(theirs + "shortcut.weight", ours + "downsample.0.weight"),
            Rename(theirs + "shortcut.norm.{p}", ours + "downsample.1.{p}"),
        ]
        for layer in range(1, 4):
            rules += [
                Rename(f"{theirs}conv{layer}.weight", f"{ours}conv{layer}.weight"),
                Rename(f"{theirs}conv{layer}.norm.{{p}}", f"{ours}bn{layer}.{{p}}"),
            ]
    return rules


DETECTRON2_RESNET_RULES = tuple(_detectron2_rules())
"""Names in detectron2's files; with a frozen norm they have no ``num_batches_tracked``."""
