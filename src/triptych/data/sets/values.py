"""Single values of annotation files, as the tools of this world write them.

One number has many spellings (``7``, ``7.0``, ``"7"``); a JSON file may also hold null, NaN, or a
number of 400 digits. Each function gives the value, or None where it is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from PIL import ImageColor

from triptych.classes import Colour

Id = int | str
"""What entries of an annotation file are called."""

FARTHEST = 1e9
"""Numbers beyond this are no measure of any image."""

_UNUSABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, which no tool writes on purpose, and halves of characters."""

LONGEST_NAME = 255
"""Bytes in the name of a file or folder; file systems take no more."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,400}(\.0*)?", re.ASCII)


def plain_id(value: Any) -> Id | None:
    """An id; the same for all spellings of one whole number, so that ``"7"`` is ``7``."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None  # infinite and nan are not
    if isinstance(value, str):
        text = value.strip()
        if _WHOLE.fullmatch(text):
            return int(text.partition(".")[0])
        return unicodedata.normalize("NFC", text) or None
    return None


def whole(value: Any, low: int, high: int) -> int | None:
    """A whole number from ``low`` to ``high``, however written."""
    number = plain_id(value)
    return number if isinstance(number, int) and low <= number <= high else None


def number(value: Any) -> float | None:
    """A finite number of bearable size; neither true nor false is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared before it is converted: a float has no room for 400 digits. Nan compares as false.
    return float(value) if -FARTHEST <= value <= FARTHEST else None


def flag(value: Any) -> bool | None:
    """Yes or no: ``true``, ``1``, ``1.0``, ``"1"``, ``"true"``, and the opposites."""
    if isinstance(value, str):
        value = {"true": 1, "false": 0}.get(value.strip().casefold(), value)
    if isinstance(value, bool):
        return value
    code = whole(value, 0, 1)
    return None if code is None else bool(code)


def colour(value: Any) -> Colour | None:
    """A colour: three whole numbers from 0 to 255, ``"#a60f2f"``, or a name of CSS."""
    if isinstance(value, str):
        try:
            red, green, blue = ImageColor.getrgb(value.strip())[:3]
        except ValueError:
            return None
        return red, green, blue
    if not isinstance(value, Sequence) or len(value) not in (3, 4):
        return None
    if not all(type(shade) is int and 0 <= shade <= 255 for shade in value[:3]):
        return None
    return value[0], value[1], value[2]


def text(value: Any) -> str | None:
    """Text that says something; a whole number is the text of its digits."""
    if type(value) is int:
        return str(plain_id(value))
    return value if isinstance(value, str) and value.strip() else None


def file_name(value: Any) -> str | None:
    """The name of a file, with slashes, whatever system it was written on."""
    name = text(value)
    if name is None or _UNUSABLE.search(name):
        return None
    name = name.replace("\\", "/").removeprefix("./")
    parts = PurePosixPath(name).parts
    longest = max((len(part.encode()) for part in parts), default=0)
    return name if parts and longest <= LONGEST_NAME else None


def file_of_url(value: Any) -> str | None:
    """Folder and name of the file that a URL ends with."""
    url = text(value)
    try:
        path = unquote(urlsplit(url).path).strip("/") if url else ""
    except ValueError:  # such as a broken address in brackets
        return None
    return file_name("/".join(path.split("/")[-2:]))


def shown(value: Any, most: int = 40) -> str:
    """A value for a message, cut where it is long."""
    try:
        words = repr(value)
    except ValueError:  # a number of more digits than Python prints
        words = "a number of thousands of digits"
    return words if len(words) <= most else f"{words[: most - 3]}..."
