"""ResNet-50 and 101: bottleneck residual networks.

He et al., "Deep Residual Learning" (CVPR 2016), with the stride in the 3x3 convolution of a
bottleneck, as torchvision trains them and as MaskFormer and Mask2Former use them. Parameters have
torchvision's names, which most published files share.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Narrow by 1x1, convolve by 3x3, widen by 1x1, around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, h, w)`` to ``(B, outputs, h / stride, w / stride)``, rounded up."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x), inplace=True)


class ResNet(nn.Module):
    """The trunk of a bottleneck ResNet: pixels to four maps at strides 4, 8, 16 and 32.

    The defaults are ResNet-50's.

    Args:
        depths: blocks of the four stages.
        channels: widths of the four maps.
        stem: width of the 7x7 convolution at the start.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 4, 6, 3),
        *,
        channels: Sequence[int] = (256, 512, 1024, 2048),
        stem: int = 64,
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.conv1 = nn.Conv2d(3, stem, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = stem
        for stage, (depth, outputs) in enumerate(zip(depths, channels, strict=True)):
            blocks = []
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Bottleneck(inputs, outputs, stride))
                inputs = outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map pixels ``(B, 3, H, W)`` to maps ``(B, C_i, H/s, W/s)``, rounded up."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(pixels)), inplace=True))
        maps = []
        for stage in range(len(self.channels)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            maps.append(x)
        return tuple(maps)


DEPTHS: dict[str, tuple[int, ...]] = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Blocks of the four stages (He et al., table 1)."""


def resnet50(*, channels: Sequence[int] = (256, 512, 1024, 2048), stem: int = 64) -> ResNet:
    """ResNet-50: 23.5 M parameters in the trunk."""
    return ResNet(DEPTHS["resnet50"], channels=channels, stem=stem)


def resnet101(*, channels: Sequence[int] = (256, 512, 1024, 2048), stem: int = 64) -> ResNet:
    """ResNet-101: 42.5 M parameters in the trunk."""
    return ResNet(DEPTHS["resnet101"], channels=channels, stem=stem)
