"""Samples of more than 8 bits, and bands that are no colours: what a file holds, as 8 bits."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from triptych.errors import TriptychError

log = logging.getLogger(__name__)

_FEWER = (8, 10, 12, 14)
"""Bits of pictures, screens and sensors whose values lie in files of 16 bits as they are."""

_LEVELS = 16
_CUT_OUT = 0.5


def to_8_bits(values: np.ndarray, name: str) -> np.ndarray:
    """16-bit values as 8 bits.

    Cameras with 10, 12 or 14 bits often write their values into 16-bit files without scaling them,
    and programs those of 8 bits. Taken as 16 bits such a picture is all but black: values that
    reach no further than 14 bits are scaled by the bits that they have, which the log tells.

    Args:
        values: uint16, of any shape.
        name: of the picture, for the log.
    """
    largest = int(values.max(initial=0))
    bits = next((bits for bits in _FEWER if largest < 1 << bits), 16)
    if bits < 16 and largest:
        log.warning(
            "%s: its 16-bit values reach only %d, as of %d bits, and are scaled as such; scale "
            "them to 16 bits to have it otherwise",
            name,
            largest,
            bits,
        )
    white = (1 << bits) - 1
    return ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def check_depth(values: np.ndarray, name: str) -> np.ndarray:
    """32-bit whole numbers as uint16.

    Raises:
        TriptychError: they do not fit, as heights and counts do not.
    """
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > 65535:
        raise TriptychError(
            f"{name}: holds values from {low} to {high}, which have no fixed white; save it with "
            "8 or 16 bits"
        )
    return values.astype(np.uint16)


def deep_colours(path: Path) -> np.ndarray | None:
    """Red, green and blue of a file with 16 bits a colour: ``(H, W, 3)`` uint16, not yet upright.

    None where nothing reads them: PyAV is not installed, or does not know the file.
    """
    try:
        import av

        with av.open(f"file:{path}") as opened:
            values: np.ndarray = next(opened.decode(video=0)).to_ndarray(format="rgb48le")
            return values
    except (ImportError, OSError, ValueError, StopIteration):
        log.warning(
            "%s: its colours of 16 bits have fewer; read with few levels (with PyAV, pip install "
            "'triptych[video]', exactly)",
            path,
        )
        return None


def is_transparency(alpha: np.ndarray) -> bool:
    """Whether a fourth band that is marked as transparency looks like one.

    GDAL marks the fourth band of any file so, and in pictures from the air it is near infrared. A
    transparency is fully opaque or fully clear in most places, or has few levels.
    """
    if np.isin(alpha, (0, 255)).mean() >= _CUT_OUT:
        return True
    return len(np.unique(alpha)) <= _LEVELS
