"""PASCAL VOC (Everingham et al. 2010) and what is packed like it: 20 things and a background.

The background (0) is a class of this benchmark: everything else. Void is 255, the line round
objects and what is too hard.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable
from triptych.classes import Classes
from triptych.data.sets.base import Fault, FaultKind, Note
from triptych.data.sets.layout import AsPacked, DataLayout, Splits, titled
from triptych.data.sets.maps import Item, MapSet, Objects
from triptych.data.sets.schema import LARGEST, Schema
from triptych.errors import TriptychError
from triptych.image.decode import SUFFIXES

THINGS = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
NAMES = ("background", *THINGS)
VOID = 255

CLASS_FILES = ("class_names.txt", "classes.txt", "labels.txt")
"""Where a folder of this form names classes of its own, one a line."""

PUBLISHED = re.compile(r"\d{4}_\d{6}|\d{6}")
"""Names of the images of PASCAL VOC."""

SCHEMA = Schema(
    Classes.of(NAMES, THINGS), {number: number for number in range(len(NAMES))}, frozenset({VOID})
)


def objects(
    numbers: NDArray[np.integer], marks: NDArray[np.integer], path: Path, note: Note
) -> NDArray[np.integer]:
    """Numbers of objects; see :data:`triptych.data.sets.maps.Objects`."""
    background, void = numbers == 0, numbers == VOID
    differ = (background != (marks == 0)) | (void != (marks == VOID))
    if differ.any():
        text = (
            f"objects {path}: {differ.sum():,} pixels are of an object in one map and not in "
            "the other"
        )
        note(Fault(FaultKind.DISAGREE, text))
    known = ~(background | void | differ)
    pairs = np.unique(marks[known].astype(np.int64) * LARGEST + numbers[known])
    owners, uses = np.unique(pairs // LARGEST, return_counts=True)
    if (uses > 1).any():
        mixed = ", ".join(map(str, owners[uses > 1].tolist()))
        note(Fault(FaultKind.DISAGREE, f"objects {path}: object {mixed} is of several classes"))
    return np.where(known, marks, 0)


def lists(root: Path) -> list[Path]:
    """Files that list the images of a split."""
    return sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))


def is_background(name: str) -> bool:
    """Whether a class is called background, as in VOC or as labelme writes it."""
    return name.strip("_ ").casefold() == "background"


def read_split(
    title: str,
    root: Path,
    split: str,
    schema: Schema,
    objects: Objects,
    faults: Sequence[Fault] = (),
) -> MapSet:
    """The images that ``ImageSets/Segmentation/SPLIT.txt`` lists, of a folder packed like VOC.

    Args:
        title: what the set is called.
        root: the folder.
        split: which list.
        schema: what the label maps mean.
        objects: how object maps are read, where there are any.
        faults: found before.

    Raises:
        TriptychError: the list cannot be read, or nothing in it is left.
    """
    listed = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    names = _names(listed)
    with_objects = (root / "SegmentationObject").is_dir()
    items: dict[str, Item] = {}
    found = list(faults)
    for name in names:
        labels = root / "SegmentationClass" / f"{name}.png"
        marks = root / "SegmentationObject" / f"{name}.png" if with_objects else None
        if name in items:
            text = f"{listed}: {name} stands twice; the second is left out"
            found.append(Fault(FaultKind.TWICE, text))
        elif labels.is_file():
            items[name] = Item(name, _image(root / "JPEGImages", name), labels, marks)
        else:
            text = f"{listed}: {name} has no labels {labels}; it is left out"
            found.append(Fault(FaultKind.UNLABELLED, text))
    whole = titled(title, split)
    return MapSet(whole, list(items.values()), schema, objects if with_objects else None, found)


def _names(listed: Path) -> list[str]:
    try:
        rows = listed.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TriptychError(f"cannot read the list {listed}: {error}") from error
    return [row.strip() for row in rows if row.strip()]


def _image(folder: Path, name: str) -> Path:
    """The image of that name, a JPEG unless there is one of another type."""
    usual = folder / f"{name}.jpg"
    if usual.is_file():
        return usual
    others = (folder / f"{name}{suffix}" for suffix in sorted(SUFFIXES))
    return next((path for path in others if path.is_file()), usual)


def own_classes(root: Path) -> tuple[Schema, Fault] | None:
    """The classes of a folder that is packed like VOC and names classes of its own.

    Source: labelme's ``labelme2voc.py``, which writes ``class_names.txt``: line ``n`` from 0 on is
    number ``n``; void is 255.
    """
    file = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if file is None:
        return None
    names = [name for name in _names(file) if name != "__ignore__"]
    things = [name for name in names if not is_background(name)]
    try:
        classes = Classes.of(names, things)
    except TriptychError as error:
        raise TriptychError(f"{file}: {error}") from error
    ids = {number: number for number in range(len(names))}
    ids.pop(VOID, None)
    told = ", ".join(f"{number} {name}" for number, name in list(enumerate(names))[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    text = f"{file} names the classes: {told}{more}; all but a background are things"
    return Schema(classes, ids, frozenset({VOID})), Fault(FaultKind.REMARK, text)


def open_split(root: Path, split: str, own: ClassTable | None) -> MapSet:
    """The images of a split.

    Raises:
        TriptychError: see :func:`read_split`.
    """
    given = own_classes(root)
    schema, faults = (SCHEMA, []) if given is None else (given[0], [given[1]])
    if given is None and own is None:
        strange = [name for name in _names_of(root, split) if not PUBLISHED.fullmatch(name)]
        if strange:
            text = (
                f"{root}: no file names the classes, so numbers are read as those of PASCAL VOC (1 "
                f"aeroplane, 2 bicycle, ...), whose images are not called {strange[0]}; name your "
                "own in a YAML file ('layout: folders', see docs/data.md)"
            )
            faults.append(Fault(FaultKind.GUESSED, text))
    return read_split(f"PASCAL VOC in {root}", root, split, schema.choose(own), objects, faults)


def _names_of(root: Path, split: str) -> list[str]:
    return _names(root / "ImageSets" / "Segmentation" / f"{split}.txt")


def find(root: Path, own: ClassTable | None) -> Splits:
    """The lists of a folder, or of the ``VOC2012`` and the like in it."""
    for year in (root, *sorted(root.glob("VOC20??"), reverse=True)):
        if lists(year) and (year / "SegmentationClass").is_dir():
            return {
                file.stem: functools.partial(open_split, year, file.stem, own)
                for file in lists(year)
            }
    return {}


LAYOUT = DataLayout(
    "voc",
    "PASCAL VOC",
    "JPEGImages, SegmentationClass and ImageSets/Segmentation/{split}.txt",
    find,
    AsPacked,
)
