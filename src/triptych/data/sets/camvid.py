"""CamVid (Brostow et al. 2009) with the 11 classes of the SegNet tutorial: ids 0 to 10, 11 void."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from triptych.class_table import ClassTable
from triptych.data.camvid import CLASSES, VOID
from triptych.data.sets.layout import AsPacked, DataLayout, Splits, titled
from triptych.data.sets.maps import MapSet, paired
from triptych.data.sets.schema import Schema

SPLITS = ("train", "val", "test")
SEQUENCES = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?\d+\.png")
"""Names of label maps. Any folder may have images and labels; only CamVid has these."""

SCHEMA = Schema(CLASSES, {number: number for number in range(len(CLASSES))}, frozenset({VOID}))


def open_split(root: Path, split: str, schema: Schema) -> MapSet:
    """The frames of one split.

    Raises:
        TriptychError: a folder is missing or holds no frame.
    """
    items, faults = paired(root / split / "images", root / split / "labels")
    return MapSet(titled(f"CamVid in {root}", split), items, schema, faults=faults)


def find(root: Path, own: ClassTable | None) -> Splits:
    """The splits whose label maps have names of CamVid."""
    schema = SCHEMA.choose(own)
    return {
        split: functools.partial(open_split, root, split, schema)
        for split in SPLITS
        if any(SEQUENCES.fullmatch(p.name) for p in (root / split / "labels").glob("*.png"))
    }


LAYOUT = DataLayout(
    "camvid",
    "CamVid",
    "{train,val,test}/{images,labels} with frames such as 0001TP_008550.png",
    find,
    AsPacked,
)
