"""Triptych: one mask set, read three ways.

A transformer looks at an image once and returns a set of masks, each with a class; semantic,
instance and panoptic segmentation are three readings of that set.

    import triptych
    masks = triptych.load("street")("photo.jpg")
    masks.semantic(), masks.instances(), masks.panoptic()

Public names are imported on first use, so that ``import triptych`` costs no import of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triptych.classes import Classes
    from triptych.errors import TriptychError
    from triptych.image.geometry import Geometry
    from triptych.image.preprocess import Preprocess, load_image
    from triptych.interop.accelerate import accelerate, accelerated
    from triptych.mask_set import MaskSet
    from triptych.segmenter import Segmenter, load
    from triptych.windows.layout import Windows

__version__ = "0.1.0"

__all__ = [
    "Classes",
    "Geometry",
    "MaskSet",
    "Preprocess",
    "Segmenter",
    "TriptychError",
    "Windows",
    "__version__",
    "accelerate",
    "accelerated",
    "load",
    "load_image",
]

_HOMES = {
    "Classes": "triptych.classes",
    "Geometry": "triptych.image.geometry",
    "MaskSet": "triptych.mask_set",
    "Preprocess": "triptych.image.preprocess",
    "Segmenter": "triptych.segmenter",
    "TriptychError": "triptych.errors",
    "Windows": "triptych.windows.layout",
    "accelerate": "triptych.interop.accelerate",
    "accelerated": "triptych.interop.accelerate",
    "load": "triptych.segmenter",
    "load_image": "triptych.image.preprocess",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'triptych' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
