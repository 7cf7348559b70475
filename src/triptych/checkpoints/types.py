"""Types of weights, by the names that torch and transformers give them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

from triptych.checkpoints.lazy import Tensors
from triptych.errors import TriptychError

WeightType: TypeAlias = torch.dtype | Literal["auto"] | None
"""A type; "auto" for that of the file; None for float32."""

_NAMES = {
    "float32": torch.float32,
    "float": torch.float32,
    "float16": torch.float16,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "double": torch.float64,
}
_TYPES = frozenset(_NAMES.values())


def weight_type(given: torch.dtype | str | None) -> WeightType:
    """The type that a user means.

    Args:
        given: a type of torch, or its name, with or without "torch." before it; "auto" as in
            transformers; None.

    Raises:
        TriptychError: it is none in which networks compute.
    """
    if given is None or given == "auto":
        return given  # type: ignore[return-value]  # mypy does not narrow by ==
    if isinstance(given, str):
        found = _NAMES.get(given.removeprefix("torch."))
    else:
        found = given if given in _TYPES else None
    if found is None:
        raise TriptychError(
            f"dtype is {given!r}; give float32, float16, bfloat16, float64 or auto, as text or as "
            "torch.float32 and so on"
        )
    return found


def numeric_type(dtype: WeightType, tensors: Tensors) -> torch.dtype:
    """The type to bring the weights of a file to."""
    if dtype != "auto":
        return dtype or torch.float32
    return next((t.dtype for t in tensors.values() if t.dtype in _TYPES), torch.float32)
