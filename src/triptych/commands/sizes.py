"""Sizes on the command line."""

from __future__ import annotations

import re

from triptych.errors import TriptychError


def parse_size(option: str, text: str) -> tuple[int, int]:
    """``640x360`` to width and height.

    Raises:
        TriptychError: it is something else; ``option`` is named.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise TriptychError(f"{option} is {text!r}; give WIDTHxHEIGHT, such as 640x360")
    return int(found[1]), int(found[2])
