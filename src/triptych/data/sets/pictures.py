"""The list ``images`` of COCO's files: which entries are pictures, and which are told apart."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from triptych.data.sets.base import Fault, FaultKind
from triptych.data.sets.values import Id, file_name, file_of_url, plain_id, shown, whole
from triptych.image.decode import MAX_PIXELS


@dataclass(frozen=True)
class ImageEntry:
    """An entry of ``images``."""

    id: Id
    file: str
    height: int
    width: int
    alone: bool = True
    """No other entry has the last part of this file name."""

    @property
    def name(self) -> str:
        """The file name without suffix; of a path that leads out of the folder the last part."""
        path = PurePosixPath(self.file)
        inside = not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]
        return (path if inside else PurePosixPath(path.name)).with_suffix("").as_posix()


@dataclass(frozen=True)
class Pictures:
    """The list ``images`` of a file."""

    pictures: Sequence[ImageEntry]
    """Those that can be told apart."""
    aliases: Mapping[Id, Id]
    """Other ids of pictures that are listed again."""
    left_out: frozenset[Id]
    """Ids that are listed and not used."""


def read_pictures(path: Path, entries: Sequence[Any], faults: list[Fault]) -> Pictures:
    """Sort out the entries of ``images``.

    Nobody knows which objects belong to which of two images of one id: both are left out. One image
    under two ids is one image.

    Args:
        path: of the file.
        entries: of its list.
        faults: whatever is wrong is added.
    """
    listed: list[tuple[int, ImageEntry]] = []
    broken: set[Id] = set()
    for place, entry in enumerate(entries):
        picture = _picture(entry)
        if isinstance(picture, str):
            text = f"{path}: images[{place}] {picture}; it is left out"
            faults.append(Fault(FaultKind.BROKEN_ENTRY, text))
            number = plain_id(entry.get("id")) if isinstance(entry, dict) else None
            broken |= set() if number is None else {number}
        else:
            listed.append((place, picture))
    files_of: dict[Id, list[str]] = {}
    for _, picture in listed:
        files_of.setdefault(picture.id, []).append(picture.file)
    unsure = {file for files in files_of.values() if len(set(files)) > 1 for file in files}
    pictures: dict[str, ImageEntry] = {}
    aliases: dict[Id, Id] = {}
    for place, picture in listed:
        if picture.file in unsure:
            others = [file for file in files_of[picture.id] if file != picture.file]
            same = f"shares the id {shown(picture.id)} with {others[0]}" if others else "is unsure"
            text = (
                f"{path}: images[{place}], {picture.file}, {same}; whose objects are whose is not "
                "known, so it is left out with them"
            )
            faults.append(Fault(FaultKind.SAME_ID, text))
            continue
        first = pictures.setdefault(picture.file, picture)
        if first is picture:
            continue
        text = f"{path}: images[{place}] lists {picture.file} again"
        if (first.height, first.width) != (picture.height, picture.width):
            text += (
                f", as {picture.width}x{picture.height} after {first.width}x{first.height}: which "
                "of them its objects are drawn for is not known; keep one"
            )
            faults.append(Fault(FaultKind.SIZE, text))
            continue
        if first.id != picture.id:
            aliases[picture.id] = first.id
            text += f", with id {shown(picture.id)} after {shown(first.id)}; they are joined"
        faults.append(Fault(FaultKind.TWICE, text))
    shared = Counter(PurePosixPath(file).name for file in pictures)
    kept = [
        replace(picture, alone=shared[PurePosixPath(picture.file).name] == 1)
        for picture in pictures.values()
    ]
    faults += _not_exhaustive(path, entries)
    left_out = (broken | files_of.keys()) - {picture.id for picture in kept} - aliases.keys()
    return Pictures(kept, aliases, frozenset(left_out))


def _picture(entry: Any) -> ImageEntry | str:
    """An entry of ``images``, or what is wrong with it."""
    if not isinstance(entry, dict):
        return "is no mapping"
    number = plain_id(entry.get("id"))
    if number is None:
        return f"has no id ({shown(entry.get('id'))})"
    file = file_name(entry.get("file_name"))
    if file is None and entry.get("file_name") in (None, ""):
        file = file_of_url(entry.get("coco_url"))  # as LVIS has it
    if file is None:
        return f"has no file_name ({shown(entry.get('file_name'))})"
    sides = [whole(entry.get(key), 1, MAX_PIXELS) for key in ("height", "width")]
    if sides[0] is None or sides[1] is None:
        told = " x ".join(shown(entry.get(key)) for key in ("height", "width"))
        return f"has no height and width in pixels ({told})"
    if sides[0] * sides[1] > MAX_PIXELS:
        return f"is {sides[1]}x{sides[0]}, more than the limit of {MAX_PIXELS:,} pixels"
    return ImageEntry(number, unicodedata.normalize("NFC", file), sides[0], sides[1])


def _not_exhaustive(path: Path, entries: Sequence[Any]) -> Iterator[Fault]:
    """LVIS says of each image which classes were looked for in it; we read no such lists."""
    if any(isinstance(entry, dict) and "neg_category_ids" in entry for entry in entries):
        yield Fault(
            FaultKind.REMARK,
            f"{path}: labels of some classes only in each image (LVIS): whatever is found beyond "
            "them counts as a mistake, so AP is lower than LVIS's own",
        )
