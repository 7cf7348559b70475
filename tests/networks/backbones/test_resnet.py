"""ResNet: shapes, published sizes and torchvision's names."""

from __future__ import annotations

import pytest
import torch

from triptych.checkpoints.keymap import to_ours
from triptych.checkpoints.names.resnet import TORCHVISION_RESNET_RULES
from triptych.networks.backbones import resnet
from triptych.networks.backbones.resnet import Bottleneck, ResNet


@pytest.mark.parametrize(("height", "width"), [(32, 64), (57, 90), (129, 33)])
def test_four_maps_rounded_up(height, width):
    trunk = ResNet((1, 2, 1, 1), channels=(8, 16, 32, 64), stem=4).eval()
    with torch.inference_mode():
        maps = trunk(torch.randn(2, 3, height, width))
    for stride, channels, m in zip((4, 8, 16, 32), trunk.channels, maps, strict=True):
        assert m.shape == (2, channels, -(-height // stride), -(-width // stride))


# torchvision's counts (25,557,032 and 44,549,160) less the classifier's 2,049,000.
@pytest.mark.parametrize(("name", "count"), [("resnet50", 23_508_032), ("resnet101", 42_500_160)])
def test_published_sizes(name, count):
    with torch.device("meta"):
        trunk = getattr(resnet, name)()
    assert sum(p.numel() for p in trunk.parameters()) == count


def test_parameters_have_the_names_of_torchvision():
    names = set(ResNet((2, 1, 1, 1), channels=(8, 16, 32, 64), stem=4).state_dict())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    wanted = {"conv1.weight"} | {f"bn1.{leaf}" for leaf in norm}
    for block in ("layer1.0", "layer1.1", "layer2.0", "layer3.0", "layer4.0"):
        for layer in (1, 2, 3):
            wanted |= {f"{block}.conv{layer}.weight"}
            wanted |= {f"{block}.bn{layer}.{leaf}" for leaf in norm}
        if block != "layer1.1":
            wanted |= {f"{block}.downsample.0.weight"}
            wanted |= {f"{block}.downsample.1.{leaf}" for leaf in norm}
    assert names == wanted
    tensors = {name: torch.zeros(1) for name in names}
    assert set(to_ours(tensors, TORCHVISION_RESNET_RULES)) == names


def test_the_stride_is_in_the_middle_convolution():
    block = Bottleneck(8, 16, stride=2)
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))
