"""Model families by name: plain data, so that listing them imports nothing heavy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from triptych.errors import TriptychError

if TYPE_CHECKING:
    from torch import nn

    from triptych.networks.models.family import Family

FAMILIES: dict[str, str] = {
    "mask2former": "triptych.networks.models.mask2former:FAMILY",
    "maskformer": "triptych.networks.models.maskformer:FAMILY",
    "segformer": "triptych.networks.models.segformer:FAMILY",
}
"""Name to ``module:attribute``, a :class:`triptych.networks.models.family.Family`. The name is also
the ``model_type`` of transformers where it has the family. Adding one is one file in ``models/``
and one line here."""


def family(name: str) -> Family:
    """Look up a family.

    Raises:
        TriptychError: there is none of this name.
    """
    if name not in FAMILIES:
        raise TriptychError(f"no model family is called {name!r}; choose from {_names()}")
    module, attribute = FAMILIES[name].split(":")
    found: Family = getattr(importlib.import_module(module), attribute)
    return found


def build(name: str, /, **arguments: Any) -> nn.Module:
    """Build a network of the family ``name`` with random weights, in float32 on the CPU.

    The arguments are the builder's own keyword arguments; ``classes`` is common to all.

    Raises:
        TriptychError: the family is unknown, or it does not take these arguments.
    """
    from triptych.networks.layers.defaults import PlainDefaults

    builder = family(name).build
    try:
        with PlainDefaults():
            return builder(**arguments)
    except TypeError as error:
        # A builder's signature names its arguments, so Python's own words are the clearest.
        raise TriptychError(f"cannot build {name}: {error}; mend its arguments") from error


def _names() -> str:
    return ", ".join(FAMILIES)
