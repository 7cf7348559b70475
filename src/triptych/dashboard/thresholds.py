"""Thresholds as plain data: in requests, and on disk."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.errors import TriptychError
from triptych.readings.settings import ReadingSettings


def changed(readings: ReadingSettings, values: Mapping[str, object]) -> ReadingSettings:
    """The thresholds with some of them replaced.

    Raises:
        TriptychError: one of them does not exist, or a value is no number or out of range.
    """
    known, new = readings.thresholds(), dict(values)
    for name, value in values.items():
        if name not in known:
            raise TriptychError(f"no threshold {name!r}; there are {', '.join(known)}")
        if name == "top" and isinstance(value, float) and value.is_integer():
            new[name] = value = int(value)  # JSON has one kind of number: 5.0 is 5
        kind = int if name == "top" else (int, float)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TriptychError(f"{name} is {value!r}; give a number")
    return readings.replace(**new)
