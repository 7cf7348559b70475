"""Model families by name: plain data, so that listing them imports nothing heavy."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from triptych.errors import TriptychError

if TYPE_CHECKING:
    from torch import nn

FAMILIES: dict[str, str] = {
    "mask2former": "triptych.networks.models.mask2former:mask2former",
    "maskformer": "triptych.networks.models.maskformer:maskformer",
    "oneformer": "triptych.networks.models.oneformer:oneformer",
    "sam": "triptych.networks.models.sam:sam",
    "segformer": "triptych.networks.models.segformer:segformer",
}
"""Name to ``module:function``. The function's keyword arguments, ``classes`` among them, are what
``config.json`` and recipes hold; it returns a network with random weights. The name is also the
``model_type`` of transformers where it has the family. Adding one is one file in ``models/`` and
one line here; how files of others describe it is one file in ``checkpoints/names/``."""

UNTRAINED = frozenset({"oneformer", "sam"})
"""Families that are here for inference: their own losses are not."""


def builder(name: str) -> Callable[..., nn.Module]:
    """The function that builds networks of a family.

    Raises:
        TriptychError: there is no family of this name.
    """
    if name not in FAMILIES:
        raise TriptychError(
            f"no model family is called {name!r}; choose from {', '.join(FAMILIES)}"
        )
    module, function = FAMILIES[name].split(":")
    found: Callable[..., nn.Module] = getattr(importlib.import_module(module), function)
    return found


def build(name: str, /, **arguments: Any) -> nn.Module:
    """Build a network of the family ``name`` with random weights, in float32 on the CPU.

    The arguments are the builder's own keyword arguments; ``classes`` is common to all.

    Raises:
        TriptychError: the family is unknown, or it does not take these arguments.
    """
    from triptych.networks.layers.defaults import PlainDefaults

    make = builder(name)
    try:
        with PlainDefaults():
            return make(**arguments)
    except TypeError as error:
        # A builder's signature names its arguments, so Python's own words are the clearest.
        raise TriptychError(f"cannot build {name}: {error}; correct its arguments") from error
