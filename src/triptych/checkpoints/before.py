"""What arguments and tensors were called in checkpoints and recipes of before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ARGUMENTS: Mapping[str, str] = {"suppression": "nms"}
"""Arguments of builders: their names of before, and today's."""

TENSORS: Mapping[str, str] = {"query_decoder.fading.": "query_decoder.annealing."}
"""Beginnings of the names of tensors, likewise."""


def arguments_of_today(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A builder's arguments under today's names.

    >>> arguments_of_today({"suppression": 0.5, "dim": 128})
    {'nms': 0.5, 'dim': 128}
    """
    return {ARGUMENTS.get(name, name): value for name, value in arguments.items()}


def name_of_today(tensor: str) -> str:
    """A tensor's name of today.

    >>> name_of_today("query_decoder.fading.seen")
    'query_decoder.annealing.seen'
    """
    for old, new in TENSORS.items():
        if tensor.startswith(old):
            return new + tensor.removeprefix(old)
    return tensor
