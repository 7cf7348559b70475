"""CVAT's "Segmentation mask 1.1": masks in colour, and ``labelmap.txt``, which says what they mean.

The folders are those of PASCAL VOC, the classes are not. In ``SegmentationObject`` each object has
a colour of its own, so that all classes but the background are things.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable
from triptych.classes import Classes, Colour
from triptych.data.sets.base import Note
from triptych.data.sets.layout import AsPacked, DataLayout, Splits
from triptych.data.sets.maps import MapSet
from triptych.data.sets.schema import Schema
from triptych.data.sets.values import whole
from triptych.data.sets.voc import is_background, lists, read_split
from triptych.errors import TriptychError

LABELS = "labelmap.txt"


def read_schema(path: Path) -> Schema:
    """The classes of a ``labelmap.txt``: a line ``name:red,green,blue:parts:actions`` for each.

    Raises:
        TriptychError: it cannot be read, or a line has no colour, or one of another class.
    """
    try:
        rows = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TriptychError(f"cannot read the labels {path}: {error}") from error
    colours: dict[Colour, int] = {}
    names: list[str] = []
    for line, row in enumerate(rows, start=1):
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        name, *rest = row.rsplit(":", 3)
        shades = [whole(part, 0, 255) for part in rest[0].split(",")] if rest else []
        if len(shades) != 3 or None in shades or not name.strip():
            raise TriptychError(
                f"{path}, line {line}: expected 'name:red,green,blue:parts:actions', not {row!r}"
            )
        colour: Colour = (int(shades[0] or 0), int(shades[1] or 0), int(shades[2] or 0))
        if colour in colours:
            raise TriptychError(
                f"{path}, line {line}: {name!r} has the colour of {names[colours[colour]]!r}; "
                "masks do not tell them apart"
            )
        colours[colour] = len(names)
        names.append(name.strip())
    entries = [
        {"name": name, "thing": not is_background(name), "colour": colour}
        for colour, name in zip(colours, names, strict=True)
    ]
    try:
        classes = Classes.from_list(entries)
    except TriptychError as error:
        raise TriptychError(f"{path}: {error}") from error
    ids = {number: number for number in range(len(names))}
    return Schema(classes, ids, colours=colours, by_colour=True)


def objects(
    numbers: NDArray[np.integer], marks: NDArray[np.integer], path: Path, note: Note
) -> NDArray[np.integer]:
    """Numbers of objects; see :data:`triptych.data.sets.maps.Objects`. Black is none."""
    return marks


def open_split(root: Path, split: str, own: ClassTable | None) -> MapSet:
    """The images that ``ImageSets/Segmentation/SPLIT.txt`` lists.

    Raises:
        TriptychError: the list or the table of labels cannot be read, or no image is left.
    """
    schema = read_schema(root / LABELS).choose(own)
    return read_split(f"CVAT masks in {root}", root, split, schema, objects)


def find(root: Path, own: ClassTable | None) -> Splits:
    """The lists of a folder with a table of labels."""
    if not (root / LABELS).is_file() or not (root / "SegmentationClass").is_dir():
        return {}
    return {file.stem: functools.partial(open_split, root, file.stem, own) for file in lists(root)}


LAYOUT = DataLayout(
    "cvat",
    "CVAT masks",
    "labelmap.txt with JPEGImages, SegmentationClass and ImageSets/Segmentation/{split}.txt",
    find,
    AsPacked,
)
