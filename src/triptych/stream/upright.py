"""From a decoded frame to the picture as a player shows it: square pixels, turned, RGB."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import numpy as np

from triptych.image.decode import MAX_PIXELS

_MATRIX = "DISPLAYMATRIX"
_ODDEST = 10
"""Pixels this many times as wide as high, or as high as wide, are a mistake of the file."""


def upright_rgb(frame: Any, aspect: Fraction | None = None) -> np.ndarray | None:
    """``(H, W, 3)`` uint8, or None for a picture that FFmpeg had to make up in part.

    Args:
        frame: of PyAV.
        aspect: a pixel's width by its height, if the file tells it. The picture is resized to the
            width at which it is to be shown.
    """
    width = shown_width(frame.width, aspect)
    if frame.is_corrupt or width * frame.height > MAX_PIXELS:
        return None
    size = {} if width == frame.width else {"width": width, "height": frame.height}
    pixels: np.ndarray = frame.to_ndarray(format="rgb24", **size)
    return np.ascontiguousarray(turned(pixels, frame.side_data.get(_MATRIX)))


def shown_width(width: int, aspect: Fraction | None) -> int:
    """The width of a picture with square pixels."""
    if not aspect or not 1 / _ODDEST <= aspect <= _ODDEST:
        return width
    return max(round(width * aspect), 1)


def turned(pixels: np.ndarray, matrix: Any) -> np.ndarray:
    """Turn and mirror a picture as its display matrix says: phones film as they are held.

    Args:
        pixels: ``(H, W, 3)``.
        matrix: the 9 numbers of ISO 14496-12, ``x' = a x + c y`` and ``y' = b x + d y`` with ``a,
            b, _, c, d`` in front, as FFmpeg gives them; None leaves it as it is. Angles count as
            the nearest quarter of a turn.
    """
    if matrix is None:
        return pixels
    a, b, _, c, d, *_ = struct.unpack("<9i", bytes(matrix)[:36])
    if abs(b) > abs(a):
        pixels, right, down = pixels.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
