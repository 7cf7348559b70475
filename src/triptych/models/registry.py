"""Model families by name: plain data, so that listing them imports nothing heavy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from triptych.errors import TriptychError

if TYPE_CHECKING:
    from torch import nn

FAMILIES: dict[str, str] = {
    "mask2former": "triptych.models.mask2former:mask2former",
    "segformer": "triptych.models.segformer:segformer",
}
"""Name to ``module:builder``. Adding a family is one file in ``models/`` and one line here."""


def build(family: str, **arguments: Any) -> nn.Module:
    """Build a network of ``family`` with random weights.

    The arguments are the builder's own keyword arguments; ``classes`` is common to all.

    Raises:
        TriptychError: the family is unknown, or it does not take these arguments.
    """
    if family not in FAMILIES:
        raise TriptychError(f"no model family is called {family!r}; choose from {_names()}")
    module, builder = FAMILIES[family].split(":")
    try:
        return getattr(importlib.import_module(module), builder)(**arguments)
    except TypeError as error:
        # A builder's signature names its arguments, so Python's own words are the clearest.
        raise TriptychError(f"cannot build {family}: {error}; mend its arguments") from error


def _names() -> str:
    return ", ".join(FAMILIES)
