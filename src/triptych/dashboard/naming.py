"""What sources are called on the page."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from triptych.errors import TriptychError

LONGEST = 40
LONGEST_SOURCE = 2048
"""Characters of an address."""
_NAME = re.compile(r"[\w .-]{1,40}")


def split_name(text: str) -> tuple[str | None, str]:
    """``NAME=SOURCE`` as name and source; the name is None if there is none.

    A file called ``a=b.mp4`` is meant as such if it is there.
    """
    name, separator, spec = text.partition("=")
    if not separator or not _NAME.fullmatch(name) or Path(text).exists():
        return None, text
    return name.strip(), spec


def check_name(name: object) -> str:
    """The name, if it is one.

    Raises:
        TriptychError: it is not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not name.strip(" ."):
        raise TriptychError(
            f"a source's name has 1 to {LONGEST} letters, digits, spaces, dots and dashes"
        )
    return name.strip()


def name_of(spec: str, taken: Collection[str]) -> str:
    """A name for a source that was given none; not one of ``taken``."""
    parts = urlsplit(spec) if "://" in spec else None
    if parts is not None:
        host = (parts.netloc.rpartition("@")[2]).partition(":")[0]
        wanted = " ".join(filter(None, [host, parts.path.strip("/").replace("/", " ")]))
    elif spec.isdecimal():
        wanted = f"webcam {spec}"
    else:
        wanted = Path(spec).stem
    wanted = re.sub(r"[^\w .-]+", "-", wanted).strip(" .-")[: LONGEST - 4] or "source"
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted} {number}", number + 1
    return name
