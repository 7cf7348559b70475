"""Some of many, evenly."""

from __future__ import annotations


def spread(length: int, count: int) -> list[int]:
    """``count`` indices spread evenly over ``range(length)``; all of them for 0."""
    if count == 0 or count >= length:
        return list(range(length))
    return [index * length // count for index in range(count)]
