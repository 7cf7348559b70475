"""Cityscapes (Cordts et al. 2016), fine annotations, with the 19 classes of its benchmark.

Numbers and their meaning are those of ``labels.py`` in the authors' cityscapesScripts.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.checkpoints.labels import data_set_classes
from triptych.class_table import ClassTable
from triptych.data.sets.base import Fault, FaultKind, Note
from triptych.data.sets.layout import AsPacked, DataLayout, Splits, titled
from triptych.data.sets.maps import Item, MapSet, pictures
from triptych.data.sets.schema import Schema

SPLITS = ("train", "val", "test")

NUMBERS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Number on disk of each class, in the order of the benchmark's train ids."""

LAST = 33
"""Greatest number on disk. Those of no class (caravan, bridge, ...) are void in the benchmark."""


@functools.cache
def schema() -> Schema:
    """What the numbers mean."""
    ids = {number: class_id for class_id, number in enumerate(NUMBERS)}
    return Schema(data_set_classes("Cityscapes"), ids, frozenset(range(LAST + 1)) - ids.keys())


GROUP = 1000
"""Instance maps hold ``GROUP * class number + object``, or the class number alone for stuff and
for groups of things that nobody told apart."""


def objects(
    numbers: NDArray[np.integer], marks: NDArray[np.integer], path: Path, note: Note
) -> NDArray[np.integer]:
    """Numbers of objects from an instance map; see :data:`triptych.data.sets.maps.Objects`."""
    single = marks >= GROUP
    differ = np.where(single, marks // GROUP, marks) != numbers
    if differ.any():
        text = f"instances {path} give {differ.sum():,} pixels another class than the labelIds"
        note(Fault(FaultKind.DISAGREE, text))
    return np.where(single & ~differ, marks % GROUP + 1, 0)


def open_split(root: Path, split: str, schema: Schema) -> MapSet:
    """The images of one split, cities in alphabetical order.

    Raises:
        TriptychError: a folder is missing or holds no image.
    """
    images, truth = root / "leftImg8bit" / split, root / "gtFine" / split
    items, faults = [], []
    with_objects = any(truth.glob("*/*_gtFine_instanceIds.png"))
    wanted = set()
    for image in pictures(images):
        stem = image.stem.removesuffix("_leftImg8bit")
        folder = truth / image.parent.relative_to(images)
        labels = folder / f"{stem}_gtFine_labelIds.png"
        wanted.add(labels)
        if labels.is_file():
            marks = folder / f"{stem}_gtFine_instanceIds.png" if with_objects else None
            items.append(Item(stem, image, labels, marks))
        else:
            text = f"image {image} has no labels {labels}; it is left out"
            faults.append(Fault(FaultKind.UNLABELLED, text))
    for labels in sorted(set(truth.glob("*/*_gtFine_labelIds.png")) - wanted):
        text = f"labels {labels} have no image in {images / labels.parent.name}; they are left out"
        faults.append(Fault(FaultKind.NO_IMAGE, text))
    title = titled(f"Cityscapes in {root}", split)
    return MapSet(title, items, schema, objects if with_objects else None, faults)


def find(root: Path, own: ClassTable | None) -> Splits:
    """The splits that have images and labels."""
    chosen = schema().choose(own)
    return {
        split: functools.partial(open_split, root, split, chosen)
        for split in SPLITS
        if (root / "leftImg8bit" / split).is_dir() and (root / "gtFine" / split).is_dir()
    }


LAYOUT = DataLayout(
    "cityscapes",
    "Cityscapes",
    "leftImg8bit/{split}/{city} and gtFine/{split}/{city}",
    find,
    AsPacked,
)
