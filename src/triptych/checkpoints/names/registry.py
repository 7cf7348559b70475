"""What is known of each family's files, by name."""

from __future__ import annotations

import importlib

from triptych.checkpoints.names.family import Family
from triptych.networks.models.registry import builder

NAMES: dict[str, str] = {
    "mask2former": "triptych.checkpoints.names.mask2former:FAMILY",
    "maskformer": "triptych.checkpoints.names.maskformer:FAMILY",
    "oneformer": "triptych.checkpoints.names.oneformer:FAMILY",
    "sam": "triptych.checkpoints.names.sam:FAMILY",
    "segformer": "triptych.checkpoints.names.segformer:FAMILY",
}
"""Name to ``module:attribute``. A family that nobody published needs no line."""


def family(name: str) -> Family:
    """Look up what is known of a family's files.

    Raises:
        TriptychError: there is no family of this name.
    """
    builder(name)  # a name that is wrong is told here
    if name not in NAMES:
        return Family()
    module, attribute = NAMES[name].split(":")
    found: Family = getattr(importlib.import_module(module), attribute)
    return found
