"""PASCAL VOC (Everingham et al. 2010) and what is packed like it: 20 things and a background.

The background (0) is a class of this benchmark: everything else. Void is 255, the line round
objects and what is too hard.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable
from triptych.data.sets.base import Fault, Kind, Note
from triptych.data.sets.layout import AsPacked, Layout, Splits, titled
from triptych.data.sets.maps import Item, MapSet
from triptych.data.sets.schema import Schema
from triptych.errors import TriptychError
from triptych.masks import Classes

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
        note(Fault(Kind.DISAGREE, text))
    known = ~(background | void | differ)
    pairs = np.unique(marks[known].astype(np.int64) * 256 + numbers[known])
    owners, uses = np.unique(pairs // 256, return_counts=True)
    if (uses > 1).any():
        mixed = ", ".join(map(str, owners[uses > 1].tolist()))
        note(Fault(Kind.DISAGREE, f"objects {path}: object {mixed} is of several classes"))
    return np.where(known, marks, 0)


def open_split(root: Path, split: str, schema: Schema) -> MapSet:
    """The images that ``ImageSets/Segmentation/SPLIT.txt`` lists.

    Raises:
        TriptychError: the list cannot be read or is empty.
    """
    listed = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    try:
        names = listed.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise TriptychError(f"cannot read the list {listed}: {error}") from error
    with_objects = (root / "SegmentationObject").is_dir()
    items: dict[str, Item] = {}
    faults = []
    for name in names:
        labels = root / "SegmentationClass" / f"{name}.png"
        marks = root / "SegmentationObject" / f"{name}.png" if with_objects else None
        if name in items:
            text = f"{listed}: {name} stands twice; the second is left out"
            faults.append(Fault(Kind.TWICE, text))
        elif labels.is_file():
            items[name] = Item(name, root / "JPEGImages" / f"{name}.jpg", labels, marks)
        else:
            text = f"{listed}: {name} has no labels {labels}; it is left out"
            faults.append(Fault(Kind.UNLABELLED, text))
    title = titled(f"PASCAL VOC in {root}", split)
    return MapSet(title, list(items.values()), schema, objects if with_objects else None, faults)


def find(root: Path, own: ClassTable | None) -> Splits:
    """The lists of a folder, or of the ``VOC2012`` and the like in it."""
    schema = SCHEMA.choose(own)
    for year in (root, *sorted(root.glob("VOC20??"), reverse=True)):
        lists = sorted((year / "ImageSets" / "Segmentation").glob("*.txt"))
        if lists and (year / "SegmentationClass").is_dir():
            return {
                file.stem: functools.partial(open_split, year, file.stem, schema) for file in lists
            }
    return {}


LAYOUT = Layout(
    "voc",
    "PASCAL VOC",
    "JPEGImages, SegmentationClass and ImageSets/Segmentation/{split}.txt",
    find,
    AsPacked,
)
