"""Mapillary Vistas (Neuhold et al. 2017), versions 1.2 and 2.0.

The classes are those of the config file that comes with the images; what it does not evaluate
("Unlabeled", for example) is void.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable
from triptych.classes import Classes
from triptych.data.sets.base import DiskSet, Fault, FaultKind, Note
from triptych.data.sets.coco_panoptic import CocoPanoptic
from triptych.data.sets.layout import AsPacked, DataLayout, Splits, titled
from triptych.data.sets.maps import MapSet, paired
from triptych.data.sets.schema import Schema
from triptych.errors import TriptychError

SPLITS = ("training", "validation", "testing")

CONFIGS = {"config.json": "", "config_v1.2.json": "v1.2", "config_v2.0.json": "v2.0"}
"""Config files, and the folder inside a split that holds labels of that version."""

GROUP = 256
"""Instance maps hold ``GROUP * label number + object``; objects count from 0."""


def read_schema(path: Path) -> Schema:
    """The labels of a config file: label number is the place in its list.

    Raises:
        TriptychError: the file is broken.
    """
    try:
        labels: list[dict[str, Any]] = json.loads(path.read_bytes())["labels"]
        used = [number for number, label in enumerate(labels) if label["evaluate"]]
        entries = [
            {
                "name": labels[number]["readable"],
                "thing": bool(labels[number]["instances"]),
                "colour": labels[number]["color"],
            }
            for number in used
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TriptychError(
            f"{path} is no config file of Mapillary Vistas ({type(error).__name__}: {error})"
        ) from error
    return Schema(
        Classes.from_list(entries),
        {number: class_id for class_id, number in enumerate(used)},
        frozenset(range(len(labels))) - frozenset(used),
    )


def objects(
    numbers: NDArray[np.integer], marks: NDArray[np.integer], path: Path, note: Note
) -> NDArray[np.integer]:
    """Numbers of objects from an instance map; see :data:`triptych.data.sets.maps.Objects`."""
    differ = marks // GROUP != numbers
    if differ.any():
        text = f"instances {path} give {differ.sum():,} pixels another class than the labels"
        note(Fault(FaultKind.DISAGREE, text))
    return np.where(differ, 0, marks % GROUP + 1)


def open_split(
    root: Path, split: str, version: str, config: Path, own: ClassTable | None
) -> DiskSet:
    """The images of one split.

    Raises:
        TriptychError: a folder is missing or holds no image.
    """
    title = titled(f"Mapillary Vistas in {root}", " ".join([split, version]).strip())
    images, truth = root / split / "images", root / split / version
    if not (truth / "labels").is_dir():
        for file in sorted((truth / "panoptic").glob("panoptic_*.json")):
            return CocoPanoptic(title, images, truth / "panoptic", file, own)
    schema = read_schema(config).choose(own)
    marks = truth / "instances" if (truth / "instances").is_dir() else None
    items, faults = paired(images, truth / "labels", marks)
    return MapSet(title, items, schema, None if marks is None else objects, faults)


def find(root: Path, own: ClassTable | None) -> Splits:
    """The splits with labels; with the version behind their names, if there is more than one."""
    configs = [name for name in CONFIGS if (root / name).is_file()]
    splits: dict[str, functools.partial[DiskSet]] = {}
    for name in configs:
        version = CONFIGS[name]
        for split in SPLITS:
            truth = root / split / version
            if (truth / "labels").is_dir() or (truth / "panoptic").is_dir():
                label = split if len(configs) == 1 else f"{split} {version}".strip()
                splits[label] = functools.partial(
                    open_split, root, split, version, root / name, own
                )
    return splits


LAYOUT = DataLayout(
    "mapillary",
    "Mapillary Vistas",
    "config.json (or config_v2.0.json) with {training,validation}/{images,labels,instances}",
    find,
    AsPacked,
)
