"""Files whose pixels are numbers: label maps, and the coloured ids of COCO's panoptic format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triptych.data.sets.base import DataError, Kind
from triptych.decode import MAX_PIXELS

_BIT_DEPTH = 24
"""Where a PNG file tells the bits of a sample (PNG specification, IHDR)."""


def read_numbers(path: Path) -> NDArray[np.integer]:
    """A label map ``(H, W)``: uint8, or uint16 where the file has 16 bits.

    Palettes are ignored: the number counts, not its colour. Numbers of 1, 2 or 4 bits stay what
    they are, although Pillow stretches them to 255.

    Raises:
        DataError: the file is missing, broken, or not one plane of whole numbers.
    """
    plane = _decode(path)
    if plane.mode in ("L", "P"):
        numbers = np.array(plane)
        depth = _depth(path)
        if plane.mode == "L" and depth < 8:
            numbers //= 255 // (2**depth - 1)
        return numbers
    if plane.mode == "1":
        return np.array(plane).astype(np.uint8)
    if plane.mode == "I" or plane.mode.startswith("I;16"):
        wide = np.array(plane)
        if wide.min() >= 0 and wide.max() < 2**16:
            return wide.astype(np.uint16)
    raise DataError(
        f"labels {path} have mode {plane.mode}: expected one plane of class numbers, 8 or 16 bits",
        Kind.UNREADABLE,
    )


def read_coloured(path: Path) -> NDArray[np.int32]:
    """Ids ``(H, W)``, each R + 256 G + 65536 B.

    Source: the panoptic format of https://cocodataset.org/#format-data.

    Raises:
        DataError: the file is missing, broken, or not in colour.
    """
    plane = _decode(path)
    if plane.mode not in ("RGB", "RGBA"):
        raise DataError(
            f"panoptic map {path} has mode {plane.mode}: expected RGB, whose colours are ids",
            Kind.UNREADABLE,
        )
    digits = np.array(plane)[..., :3].astype(np.int32)
    ids: NDArray[np.int32] = digits[..., 0] + 256 * digits[..., 1] + 65536 * digits[..., 2]
    return ids


def _decode(path: Path) -> Image.Image:
    if not path.is_file():
        raise DataError(f"labels {path}: no such file", Kind.MISSING)
    try:
        with Image.open(path) as plane:
            if plane.width * plane.height > MAX_PIXELS:
                raise DataError(
                    f"labels {path} have more than {MAX_PIXELS:,} pixels, the limit",
                    Kind.UNREADABLE,
                )
            if plane.format == "JPEG":
                raise DataError(
                    f"labels {path} are a JPEG file, which changes numbers; save them as PNG",
                    Kind.UNREADABLE,
                )
            plane.load()
            return plane
    except DataError:
        raise
    except Exception as error:  # damaged files surface as almost any exception
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"labels {path} cannot be read ({reason}); restore the file", Kind.UNREADABLE
        ) from error


def _depth(path: Path) -> int:
    """Bits of a sample; 8 for other files than PNG."""
    with path.open("rb") as file:
        head = file.read(_BIT_DEPTH + 1)
    return head[_BIT_DEPTH] if head.startswith(b"\x89PNG") else 8
