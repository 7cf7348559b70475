"""What a TIFF holds, before Pillow opens it: bands, previews of RAW photos, unusual types."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

SUBFILE, BITS, COMPRESSION, SAMPLES, FORMAT, DNG = 254, 258, 259, 277, 339, 50706
"""Tags of the TIFF 6.0 and DNG specifications."""

Tags = dict[int, tuple[int, ...]]

_SIZES = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Types of tags with whole numbers: byte, short, long, and BigTIFF's long."""

_MOST_TAGS = 4096
_MOST_VALUES = 64
_MOST_BANDS = 4
_PREVIEW = 1
_FORMATS = {1: "whole numbers", 2: "signed numbers", 3: "floating-point numbers", 5: "complex"}
_RAW = (
    *(".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".nef"),
    *(".nrw", ".orf", ".pef", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw"),
)


def read_tags(file: BinaryIO) -> Tags:
    """The first directory's tags of whole numbers; none of what is no TIFF, or is damaged."""
    try:
        return _read_tags(file)
    except (struct.error, OverflowError):
        return {}


def _read_tags(file: BinaryIO) -> Tags:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return {}
    big = struct.unpack(f"{order}H", head[2:4])[0] == 43
    if not big and struct.unpack(f"{order}H", head[2:4])[0] != 42:
        return {}
    word, count, offset = ("Q", "Q", 8) if big else ("I", "H", 4)
    width = struct.calcsize(word)
    (start,) = struct.unpack_from(f"{order}{word}", head, offset)
    file.seek(start)
    (entries,) = struct.unpack(f"{order}{count}", file.read(struct.calcsize(count)))
    entry = struct.Struct(f"{order}HH{word}{width}s")
    table = [entry.unpack(file.read(entry.size)) for _ in range(min(entries, _MOST_TAGS))]
    tags: Tags = {}
    for tag, kind, number, value in table:
        if kind not in _SIZES or number > _MOST_VALUES:
            continue
        values = struct.Struct(f"{order}{number}{_SIZES[kind]}")
        if values.size > width:
            file.seek(struct.unpack(f"{order}{word}", value)[0])
            value = file.read(values.size)
        tags[tag] = values.unpack(value[: values.size])
    return tags


def trouble(path: Path) -> str:
    """Why a TIFF is not read although Pillow might read something; nothing if it may be.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        tags = read_tags(file)
    if not tags:
        return ""
    preview = tags.get(SUBFILE, (0,))[0] & _PREVIEW
    if DNG in tags or preview or path.suffix.lower() in _RAW:
        return (
            "is a RAW photo, or begins with a small preview as those do; develop it and save it "
            "as PNG or JPEG"
        )
    bands = tags.get(SAMPLES, (1,))[0]
    if bands > _MOST_BANDS:
        return (
            f"has {bands} bands, and only 1 to {_MOST_BANDS} are read; choose red, green and blue "
            "(gdal_translate -b 3 -b 2 -b 1 IN OUT, with their numbers)"
        )
    return ""


def described(path: Path) -> str:
    """A TIFF that Pillow does not read, in words; nothing if it is none.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        tags = read_tags(file)
    if not tags:
        return ""
    bits = "/".join(map(str, sorted(set(tags.get(BITS, (1,))))))
    kind = _FORMATS.get(tags.get(FORMAT, (1,))[0], "numbers of an unknown kind")
    return (
        f"is a TIFF of {tags.get(SAMPLES, (1,))[0]} bands with {bits} bits ({kind}, compression "
        f"{tags.get(COMPRESSION, (1,))[0]}), which is not read; save it with 8 or 16 bits, or as "
        "PNG"
    )
