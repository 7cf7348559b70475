"""ADE20K's scene parsing benchmark (Zhou et al. 2017): ids 1 to 150, 0 void.

Its panoptic form is COCO's: see :mod:`triptych.data.sets.coco_panoptic`.
"""

from __future__ import annotations

import functools
from pathlib import Path

from triptych.checkpoints.labels import data_set_classes
from triptych.class_table import ClassTable
from triptych.data.sets import coco_panoptic
from triptych.data.sets.layout import AsPacked, DataLayout, Splits, titled
from triptych.data.sets.maps import MapSet, paired
from triptych.data.sets.schema import Schema

SPLITS = ("training", "validation")


@functools.cache
def schema() -> Schema:
    """Number ``i + 1`` is class ``i``: the 0 on disk is no class, and nothing else moves."""
    classes = data_set_classes("ADE20K")
    return Schema(classes, {i + 1: i for i in range(len(classes))}, frozenset({0}))


def open_split(root: Path, split: str, schema: Schema) -> MapSet:
    """The images of one split.

    Raises:
        TriptychError: a folder is missing or holds no image.
    """
    items, faults = paired(root / "images" / split, root / "annotations" / split)
    return MapSet(titled(f"ADE20K in {root}", split), items, schema, faults=faults)


def find(root: Path, own: ClassTable | None) -> Splits:
    """Panoptic splits, if the folder has been converted; else class maps with names of ADE20K."""
    if any(root.glob("ade20k_panoptic_*.json")):
        return coco_panoptic.find(root, own)
    chosen = schema().choose(own)
    return {
        split: functools.partial(open_split, root, split, chosen)
        for split in SPLITS
        if any((root / "annotations" / split).glob("ADE_*.png"))
    }


LAYOUT = DataLayout(
    "ade20k",
    "ADE20K",
    "images/{training,validation} with annotations/{training,validation}/ADE_*.png, or with "
    "ade20k_panoptic_{train,val} and its .json",
    find,
    AsPacked,
)
