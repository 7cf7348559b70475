"""Any folder of images with a folder of label PNGs, and perhaps one of object PNGs."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable
from triptych.classes import Classes
from triptych.data.sets.base import Note
from triptych.data.sets.layout import DataLayout, InSplits, Splits, titled
from triptych.data.sets.maps import MapSet, Suffixes, paired
from triptych.data.sets.schema import LARGEST, Schema
from triptych.errors import TriptychError
from triptych.image.decode import SUFFIXES

NAME = "folders"


@dataclass(frozen=True)
class Numbered:
    """A class and its number in the label maps; a name alone is short for one."""

    name: str
    """What the class is called."""
    id: int | None = None
    """Its number in the label maps. By default its place in the list, from 0 on (from 1 on with
    ``reduce_zero_label``)."""
    thing: bool = False
    """Countable."""
    colour: tuple[int, int, int] | None = None
    """Red, green, blue, 0 to 255."""


@dataclass(frozen=True)
class Folders(InSplits):
    """Folders of images and label maps, matched by their names.

    Raises:
        TriptychError: numbers are out of range, used twice, or given for some classes only.
    """

    images: str
    """Folder of images."""
    labels: str
    """Folder of PNGs of class numbers, called like their images."""
    classes: tuple[Numbered | str, ...]
    """The classes."""
    void: tuple[int | tuple[int, int, int], ...] = ()
    """Numbers, or colours, of pixels whose class is unknown. None by default, not even 255."""
    reduce_zero_label: bool = False
    """0 is void and the first class has number 1."""
    objects: str | None = None
    """Folder of PNGs that number the objects of each image from 1 on; 0: not told apart."""
    image_suffix: str = ""
    """What names of images have behind the part that labels share, such as ``_leftImg8bit``."""
    label_suffix: str = ""
    """The same of label maps, such as ``_mask``."""
    object_suffix: str = ""
    """The same of ``objects``."""
    splits: tuple[str, ...] = ()
    """What ``{split}`` in the paths stands for."""

    def __post_init__(self) -> None:
        self.schema()

    def schema(self) -> Schema:
        """What the numbers mean."""
        listed = [Numbered(one) if isinstance(one, str) else one for one in self.classes]
        given = [entry.id for entry in listed if entry.id is not None]
        if given and len(given) < len(listed):
            raise TriptychError("classes: give an id to each class, or to none")
        if given and self.reduce_zero_label:
            raise TriptychError("reduce_zero_label: the classes have ids; remove one of the two")
        first = int(self.reduce_zero_label)
        numbers = given or list(range(first, first + len(listed)))
        unknown = [one for one in self.void if isinstance(one, int)]
        void = frozenset(unknown) | ({0} if self.reduce_zero_label else set())
        for key, values in (("classes", numbers), ("void", unknown)):
            for number in values:
                if not 0 <= number < LARGEST:
                    raise TriptychError(f"{key}: {number} is no number of a label map (0 to 65535)")
                if values.count(number) > 1:
                    raise TriptychError(f"{key}: the number {number} stands twice")
        entries: list[Mapping[str, Any]] = [vars(entry) for entry in listed]
        ids = {number: class_id for class_id, number in enumerate(numbers)}
        classes = Classes.from_list(entries)
        colours = {
            entry.colour: n for entry, n in zip(listed, numbers, strict=True) if entry.colour
        }
        if len(colours) < sum(entry.colour is not None for entry in listed):
            colours = {}  # two classes of one colour: colours tell nothing
        spare = _unused(void | ids.keys())
        for one in self.void:
            if not isinstance(one, int):
                if not all(0 <= shade <= 255 for shade in one):
                    raise TriptychError(f"void: {list(one)} is no colour (three of 0 to 255)")
                if one in colours:
                    raise TriptychError(f"void: {list(one)} is the colour of a class as well")
                colours[one] = spare
                void |= {spare}
        return Schema(classes, ids, void, colours=colours)

    def open(self, layout: DataLayout, file: Path) -> Splits:
        """The splits that are described."""
        paths = {"images": self.images, "labels": self.labels}
        if self.objects is not None:
            paths["objects"] = self.objects
        splits = self.parts(file, self.splits, **paths)
        schema = self.schema()
        suffixes = Suffixes(*map(_bare, (self.image_suffix, self.label_suffix, self.object_suffix)))
        return {
            split: functools.partial(_open, titled(str(file), split), schema, suffixes, **parts)
            for split, parts in splits.items()
        }


def _unused(numbers: Collection[int]) -> int:
    """The largest number of a label map that means nothing yet."""
    return next(number for number in range(LARGEST - 1, -1, -1) if number not in numbers)


def _bare(suffix: str) -> str:
    """A suffix without the type of the file: ``_mask`` for ``_mask.png``."""
    stem, dot, kind = suffix.rpartition(".")
    return stem if dot and f".{kind}".lower() in SUFFIXES else suffix


def _open(
    title: str,
    schema: Schema,
    suffixes: Suffixes,
    images: Path,
    labels: Path,
    objects: Path | None = None,
) -> MapSet:
    items, faults = paired(images, labels, objects, suffixes)
    return MapSet(title, items, schema, None if objects is None else _as_told, faults)


def _as_told(
    numbers: NDArray[np.integer], marks: NDArray[np.integer], path: Path, note: Note
) -> NDArray[np.integer]:
    return marks


def find(root: Path, own: ClassTable | None) -> Splits:
    """Nothing: a plain folder cannot say what its numbers mean.

    Raises:
        TriptychError: it looks like one, and needs a description.
    """
    for images in (root / "images", root / "train" / "images", root / "val" / "images"):
        if images.is_dir() and (images.parent / "labels").is_dir():
            raise TriptychError(
                f"{root}: looks like plain folders of images and labels; name the classes in a "
                f"YAML file ('layout: {NAME}', see docs/data.md) and give that file"
            )
    return {}


LAYOUT = DataLayout(NAME, "plain folders", "a YAML file, since classes need names", find, Folders)
