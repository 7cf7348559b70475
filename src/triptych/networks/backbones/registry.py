"""Backbones by name: plain data, so that listing them imports nothing heavy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from triptych.errors import TriptychError

if TYPE_CHECKING:
    from torch import nn

BACKBONES: dict[str, str] = {
    "efficientnet_lite0": "triptych.networks.backbones.efficientnet_lite:efficientnet_lite0",
    "efficientnet_lite1": "triptych.networks.backbones.efficientnet_lite:efficientnet_lite1",
    "efficientnet_lite2": "triptych.networks.backbones.efficientnet_lite:efficientnet_lite2",
    "resnet": "triptych.networks.backbones.resnet:ResNet",
    "resnet50": "triptych.networks.backbones.resnet:resnet50",
    "resnet101": "triptych.networks.backbones.resnet:resnet101",
    "swin": "triptych.networks.backbones.swin:Swin",
    "swin_tiny": "triptych.networks.backbones.swin:swin_tiny",
    "swin_small": "triptych.networks.backbones.swin:swin_small",
    "swin_base": "triptych.networks.backbones.swin:swin_base",
    "swin_large": "triptych.networks.backbones.swin:swin_large",
}
"""Name to ``module:function``; the function returns a module with ``.channels``. "resnet" and
"swin" are for sizes of one's own, which are their arguments."""


def build_backbone(name: str, **arguments: Any) -> nn.Module:
    """Build the backbone ``name``, with random weights.

    Returns:
        A module mapping pixels ``(B, 3, H, W)`` to four maps at strides 4, 8, 16 and 32, whose
        attribute ``channels`` gives their widths.

    Raises:
        TriptychError: there is no such backbone.
    """
    if name not in BACKBONES:
        raise TriptychError(f"no backbone is called {name!r}; choose from {', '.join(BACKBONES)}")
    module, function = BACKBONES[name].split(":")
    backbone: nn.Module = getattr(importlib.import_module(module), function)(**arguments)
    return backbone
