"""Files whose pixels are numbers: label maps, and the coloured ids of COCO's panoptic format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triptych.classes import Colour
from triptych.data.sets.base import DataError, FaultKind
from triptych.image.decode import MAX_PIXELS

_BIT_DEPTH = 24
"""Where a PNG file tells the bits of a sample (PNG specification, IHDR)."""


def read_numbers(path: Path) -> NDArray[np.integer]:
    """A label map ``(H, W)``: uint8, or uint16 where the file has 16 bits.

    Palettes are ignored: the number counts, not its colour. Numbers of 1, 2 or 4 bits stay what
    they are, although Pillow stretches them to 255.

    Raises:
        DataError: the file is missing, broken, or not one plane of whole numbers.
    """
    return _numbers(_decode(path), path)


def read_labels(path: Path, colours: ColourTable | None) -> NDArray[np.integer]:
    """A label map ``(H, W)`` of numbers, or of colours that stand for numbers.

    Args:
        path: the file.
        colours: what colours mean; None if nobody says so.

    Returns:
        As :func:`read_numbers`; -1 - id where a colour means nothing, its id being
        R + 256 G + 65536 B.

    Raises:
        DataError: as :func:`read_numbers`; or the file is in colour and ``colours`` is None.
    """
    plane = _decode(path)
    if colours is None or (plane.mode not in COLOURED and not colours.always):
        if plane.mode in COLOURED:
            raise DataError(
                f"labels {path} have mode {plane.mode}, colours in place of class numbers; give "
                "each class its colour in a YAML file ('colour: [250, 50, 83]', see docs/data.md)",
                FaultKind.UNREADABLE,
            )
        return _numbers(plane, path)
    if plane.mode not in COLOURED:
        plane = plane.convert("RGB")
    ids = _coloured(plane)
    places = colours.table[ids].astype(np.int32)
    return np.where(places > 0, places - 1, -1 - ids)


def read_objects(path: Path) -> NDArray[np.integer]:
    """A map ``(H, W)`` that tells objects apart, by number or by colour.

    Raises:
        DataError: as :func:`read_numbers`.
    """
    plane = _decode(path)
    return _coloured(plane) if plane.mode in COLOURED else _numbers(plane, path)


COLOURED = ("RGB", "RGBA")
"""Modes of files whose pixels are colours."""


class ColourTable:
    """Which number each colour stands for.

    Args:
        colours: colour to number on disk.
        always: whether colours count where a file has a palette as well.
    """

    def __init__(self, colours: Mapping[Colour, int], always: bool = False) -> None:
        self.always = always
        self.table = np.zeros(2**24, np.uint32)  # untouched memory costs nothing
        """Number + 1 by id of the colour, 0 for those that mean nothing."""
        for (red, green, blue), number in colours.items():
            self.table[red + 256 * green + 65536 * blue] = number + 1


def _numbers(plane: Image.Image, path: Path) -> NDArray[np.integer]:
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
        FaultKind.UNREADABLE,
    )


def read_coloured(path: Path) -> NDArray[np.int32]:
    """Ids ``(H, W)``, each R + 256 G + 65536 B.

    Source: the panoptic format of https://cocodataset.org/#format-data.

    Raises:
        DataError: the file is missing, broken, or not in colour.
    """
    plane = _decode(path)
    if plane.mode not in COLOURED:
        raise DataError(
            f"panoptic map {path} has mode {plane.mode}: expected RGB, whose colours are ids",
            FaultKind.UNREADABLE,
        )
    return _coloured(plane)


def _coloured(plane: Image.Image) -> NDArray[np.int32]:
    digits = np.asarray(plane)
    ids = digits[..., 0].astype(np.int32)
    for place in (1, 2):
        ids += digits[..., place].astype(np.int32) << 8 * place
    return ids


def counted(values: NDArray[np.integer], name: Callable[[int], str] = str, most: int = 5) -> str:
    """Which values there are and how often, for a message."""
    found, counts = np.unique(values, return_counts=True)
    listed = ", ".join(
        f"{name(value)} ({count:,} pixel{'s' * (count != 1)})"
        for value, count in zip(found[:most].tolist(), counts[:most].tolist(), strict=True)
    )
    return listed + (f" and {len(found) - most} more" if len(found) > most else "")


def _decode(path: Path) -> Image.Image:
    if not path.is_file():
        raise DataError(f"labels {path}: no such file", FaultKind.MISSING)
    try:
        with Image.open(path) as plane:
            if plane.width * plane.height > MAX_PIXELS:
                raise DataError(
                    f"labels {path} have more than {MAX_PIXELS:,} pixels, the limit",
                    FaultKind.UNREADABLE,
                )
            if plane.format == "JPEG":
                raise DataError(
                    f"labels {path} are a JPEG file, which changes numbers; save them as PNG",
                    FaultKind.UNREADABLE,
                )
            plane.load()
            return plane
    except DataError:
        raise
    except Exception as error:  # damaged files surface as almost any exception
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"labels {path} cannot be read ({reason}); restore the file", FaultKind.UNREADABLE
        ) from error


def _depth(path: Path) -> int:
    """Bits of a sample; 8 for other files than PNG."""
    with path.open("rb") as file:
        head = file.read(_BIT_DEPTH + 1)
    return head[_BIT_DEPTH] if head.startswith(b"\x89PNG") else 8
