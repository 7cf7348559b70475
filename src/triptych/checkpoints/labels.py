"""Class names in transformers' configurations to classes with thing and stuff flags, and back.

Such a file has names only. What is a thing is known from the data set, which its names betray.
"""

from __future__ import annotations

import functools
import importlib.resources
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.checkpoints.options import Options
from triptych.classes import Classes, Colour, default_colours
from triptych.errors import TriptychError

log = logging.getLogger(__name__)

DATA_SETS = {
    "Cityscapes": "cityscapes.txt",
    "COCO": "coco.txt",
    "Mapillary Vistas": "mapillary.txt",
    "ADE20K": "ade20k.txt",
}
"""Data set to the file in ``label_tables`` with its classes. Where names are of no single set, the
first that has a name tells what it is."""

_SHOWN = 8

NO_OBJECTS = ("background", "unlabeled", "unlabelled", "void", "other", "ignore", "none")
"""Names of no data set that nobody counts."""


@dataclass(frozen=True)
class ClassKind:
    """What a data set says about a class."""

    thing: bool
    colour: Colour


@dataclass(frozen=True)
class Labels:
    """The classes of a checkpoint of transformers."""

    classes: Classes
    source: str
    """The data set that told things from stuff, or in words how they were told."""

    @property
    def panoptic(self) -> bool:
        """Whether there is stuff; an instance checkpoint has things alone."""
        return bool(self.classes.stuff_ids)


def read_labels(config: Mapping[str, Any]) -> Labels:
    """The classes that a ``config.json`` of transformers names.

    Raises:
        TriptychError: an id is no number, or two are the same.
    """
    names = _names(Options(config))
    found = [
        (len(names) / len(table), data_set, kinds)
        for data_set in DATA_SETS
        for table in [_table(data_set)]
        if all(kinds := [_look_up(table, name) for name in names])
    ]
    if found:
        # Of sets that have all the names, the one with the fewest others.
        _, source, kinds = max(found, key=lambda one: one[0])
        colours = tuple(kind.colour for kind in kinds if kind)
        return Labels(Classes(names, tuple(kind.thing for kind in kinds if kind), colours), source)
    kinds = [_kind_anywhere(name) for name in names]
    unknown = [name for name, kind in zip(names, kinds, strict=True) if kind is None]
    things = tuple(kind is None or kind.thing for kind in kinds)
    source = (
        f"names of several data sets; {len(unknown)} of none, taken for things: "
        + ", ".join(unknown[:8])
        + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
        if unknown
        else "names of several data sets"
    )
    return Labels(Classes(names, things, default_colours(names)), source)


def write_labels(classes: Classes) -> dict[str, Any]:
    """Entries of a ``config.json`` of transformers that name the classes."""
    return {
        "id2label": {str(i): name for i, name in enumerate(classes.names)},
        "label2id": {name: i for i, name in enumerate(classes.names)},
    }


def _names(config: Options) -> tuple[str, ...]:
    """Class names in the order of their ids, made unique."""
    if "id2label" not in config:
        return tuple(f"LABEL_{i}" for i in range(config.count("num_labels", 2)))
    labels = _by_number(config.within("id2label").entries)
    if list(labels) != list(range(len(labels))):
        told = ", ".join(map(str, labels)) if len(labels) <= _SHOWN else _ends(list(labels))
        log.warning(
            "id2label has the ids %s; the network's outputs 0 to %d are taken for them in this "
            "order",
            told,
            len(labels) - 1,
        )
    names: list[str] = []
    for i, label in enumerate(labels.values()):
        name = str(label).strip() or f"LABEL_{i}"
        names.append(f"{name} ({i})" if name in names else name)
    return tuple(names)


def _by_number(labels: Mapping[Any, Any]) -> dict[int, Any]:
    """Labels by their ids, which are in order."""
    found: dict[int, Any] = {}
    for key, label in labels.items():
        try:
            number = int(str(key))
        except ValueError:
            raise TriptychError(
                f"id2label has the id {key!r}, which is no whole number; write "
                '{"0": NAME, "1": NAME ...}'
            ) from None
        if number in found:
            raise TriptychError(f"id2label has the id {number} twice; remove one")
        found[number] = label
    return dict(sorted(found.items()))


def _ends(ids: Sequence[int]) -> str:
    return f"{ids[0]}, {ids[1]} ... {ids[-2]}, {ids[-1]}"


def _kind_anywhere(name: str) -> ClassKind | None:
    if _key(name) in NO_OBJECTS:
        return ClassKind(False, (0, 0, 0))
    return next((kind for one in DATA_SETS if (kind := _look_up(_table(one), name))), None)


def _look_up(table: Mapping[str, ClassKind], name: str) -> ClassKind | None:
    # Long spellings list synonyms behind commas: "road, route".
    return table.get(_key(name)) or table.get(_key(name.partition(",")[0]))


def _key(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().lower()


@functools.cache
def _table(data_set: str) -> dict[str, ClassKind]:
    """All spellings of a data set's classes."""
    return {_key(spelling): kind for spellings, kind in _listed(data_set) for spelling in spellings}


def data_set_classes(data_set: str) -> Classes:
    """The classes of one of :data:`DATA_SETS`, in their published order."""
    listed = _listed(data_set)
    return Classes(
        tuple(spellings[0] for spellings, _ in listed),
        tuple(kind.thing for _, kind in listed),
        tuple(kind.colour for _, kind in listed),
    )


def _listed(data_set: str) -> list[tuple[list[str], ClassKind]]:
    """Spellings of each class, and what it is."""
    file = importlib.resources.files("triptych.checkpoints") / "label_tables" / DATA_SETS[data_set]
    classes = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            kind, red, green, blue, names = line.split(maxsplit=4)
            spellings = [name.strip() for name in names.split("|")]
            classes.append(
                (spellings, ClassKind(kind == "thing", (int(red), int(green), int(blue))))
            )
    return classes
