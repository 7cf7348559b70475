"""Starting values of the transformer backbones' weights."""

from __future__ import annotations

import math

from torch import nn


def initialise(module: nn.Module) -> None:
    """Set one linear layer or convolution to its starting values; for ``Module.apply``.

    Linear layers: normal with sigma 0.02, truncated, as in ViT, Swin and SegFormer. Convolutions:
    normal, scaled by the number of outputs that one input reaches (He et al., ICCV 2015, "fan
    out"), as in SegFormer. Biases: zero. Other modules keep PyTorch's values.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
