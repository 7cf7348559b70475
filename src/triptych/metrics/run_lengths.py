"""COCO's run lengths as numbers, and the part of a mask inside its box.

A mask of a large image is never drawn whole: cost grows with the size of the object. hotcoco's
``decode`` draws it, and no function of hotcoco gives the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triptych.errors import TriptychError
from triptych.truth import IntBox

NOWHERE: IntBox = (0, 0, 0, 0)
"""The box of a mask without pixels."""

LONGEST_DIGITS = 7
"""Digits of 5 bits in one number. No image has runs that need more."""


def counts_from_string(text: str | bytes) -> NDArray[np.int64]:
    """The lengths of the runs, background first, from COCO's compressed form.

    Source: ``rleFrString`` of COCO's API: digits of 5 bits, the lowest first, plus 48; the sixth
    bit says that another digit follows, the fifth of the last one is the sign; from the fourth
    number on, numbers are differences to the one before the last.

    Raises:
        TriptychError: it is no such text, or ends within a number.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise TriptychError("they hold characters that no run lengths have") from None
    digits = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if not len(digits):
        return digits
    if digits.min() < 0 or digits.max() > 63:
        raise TriptychError("they hold characters that no run lengths have")
    last = digits & 32 == 0
    if not last[-1]:
        raise TriptychError("they end within a number")
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts).max() >= LONGEST_DIGITS:
        raise TriptychError("they hold a number that is too large")
    place = np.arange(len(digits)) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((digits & 31) << 5 * place, starts)
    negative = digits[ends] & 16 != 0
    numbers = numbers - np.where(negative, 32 << 5 * (ends - starts), 0)
    # Each number from the fourth on is relative to the one two places before.
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def check_counts(counts: NDArray[np.int64], size: tuple[int, int]) -> None:
    """Check that runs fill an image of ``size`` (H, W) exactly.

    Raises:
        TriptychError: a run is negative, or they add up to another number of pixels.
    """
    pixels = size[0] * size[1]
    if len(counts) and counts.min() < 0:
        raise TriptychError(f"one of them is negative ({counts.min()})")
    if len(counts) and counts.max() > pixels:
        raise TriptychError(f"one of them is {counts.max()}, the image has {pixels} pixels")
    total = int(counts.sum())
    if total != pixels:
        raise TriptychError(f"they add up to {total} pixels, not {pixels}")


def cut_mask(
    counts: NDArray[np.int64] | Sequence[int], height: int
) -> tuple[NDArray[np.bool_], IntBox]:
    """The mask inside its box, from run lengths that fill the image.

    Args:
        counts: lengths of the runs down the columns, background first; none is negative.
        height: of the image.

    Returns:
        ``(y1 - y0, x1 - x0)`` and the box; empty and :data:`NOWHERE` without pixels.
    """
    edges = np.cumsum(np.asarray(counts, np.int64))
    edges = edges[: len(edges) // 2 * 2]
    starts, ends = edges[::2], edges[1::2]
    kept = ends > starts
    starts, ends = starts[kept], ends[kept]
    if not len(starts):
        return np.zeros((0, 0), bool), NOWHERE
    first, last = starts // height, (ends - 1) // height
    left, right = int(first[0]), int(last[-1]) + 1
    if (first != last).any():  # a run that goes on in the next column touches both edges
        top, bottom = 0, height
    else:
        top, bottom = int((starts % height).min()), int(((ends - 1) % height).max()) + 1
    rows = bottom - top
    begin = (first - left) * rows + starts % height - top
    changes = np.zeros((right - left) * rows + 1, np.int8)
    changes[begin] = 1
    # A run may begin where another one ends.
    np.add.at(changes, begin + (ends - starts), -1)
    inside = changes[:-1].cumsum(dtype=np.int8).astype(bool)
    return np.ascontiguousarray(inside.reshape(right - left, rows).T), (left, top, right, bottom)
