"""Thresholds as plain data: in requests, and on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from triptych.errors import TriptychError
from triptych.results import Readings


def changed(readings: Readings, values: Mapping[str, object]) -> Readings:
    """The thresholds with some of them replaced.

    Raises:
        TriptychError: one of them does not exist, or a value is no number or out of range.
    """
    known = dataclasses.asdict(readings)
    for name, value in values.items():
        if name not in known:
            raise TriptychError(f"no threshold {name!r}; there are {', '.join(known)}")
        kind = int if name == "top" else (int, float)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TriptychError(f"{name} is {value!r}; give a number")
    return Readings(**{**known, **values})
