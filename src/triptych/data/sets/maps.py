"""Sets whose truth is one label map an image, and perhaps a second one that tells objects apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.classes import Classes
from triptych.data.sets.base import DiskSet, EmptySetError, Fault, FaultKind, Note, refuse
from triptych.data.sets.numbers import ColourTable, counted, read_labels, read_objects
from triptych.data.sets.schema import NOT_NAMED, Schema
from triptych.errors import TriptychError
from triptych.image.decode import SUFFIXES
from triptych.truth import PanopticTruth, TrueSegment, Truth, ignored_id, map_type

Objects = Callable[[NDArray[np.integer], NDArray[np.integer], Path, Note], NDArray[np.integer]]
"""From the numbers of the label map and of the object map, both ``(H, W)``, to ``(H, W)`` numbers
of objects, which need differ within a class only; 0 where objects of a class are not told apart.
The path names the object map, for the faults that are noted."""


@dataclass(frozen=True)
class Item:
    """The files of one image."""

    name: str
    image: Path
    labels: Path
    objects: Path | None = None


class MapSet(DiskSet):
    """Images with label maps.

    Args:
        title: what the set is called.
        items: its files; at least one image.
        schema: what the numbers of the label maps mean.
        objects: how object maps are read; None where there are none.
        faults: of the folders, found on the way.

    Raises:
        EmptySetError: there is no item.
    """

    def __init__(
        self,
        title: str,
        items: Sequence[Item],
        schema: Schema,
        objects: Objects | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        if not items:
            raise EmptySetError(f"{title} holds no image with labels", faults)
        self.title, self.classes = title, schema.classes
        self.instances = self.panoptic = objects is not None
        self._items, self._objects, self._faults = items, objects, faults
        self._table = schema.table()
        self._void, self._type = ignored_id(len(self.classes)), map_type(len(self.classes))
        self._colours = ColourTable(schema.colours, schema.by_colour) if schema.colours else None
        self._unlisted = np.array(sorted(schema.unlisted), np.int64)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._items)

    def image(self, index: int) -> Path:
        """The file of image ``index``."""
        return self._items[index].image

    def name(self, index: int) -> str:
        """What image ``index`` is called."""
        return self._items[index].name

    def faults(self) -> Iterator[Fault]:
        """Faults of the folders."""
        return iter(self._faults)

    def truth(self, index: int, note: Note = refuse) -> Truth:
        """Read the label map, and the object map if there is one; see :class:`DiskSet`."""
        item = self._items[index]
        numbers = read_labels(item.labels, self._colours)
        classes = self._table[np.maximum(numbers, 0)]
        strange = (classes == NOT_NAMED) | (numbers < 0)
        if strange.any():
            text = f"labels {item.labels} hold {counted(numbers[strange], _number)}: "
            text += "neither a class nor void; correct the labels or the schema"
            note(Fault(FaultKind.UNKNOWN_ID, text))
            classes[strange] = self._void
        semantic = classes.astype(self._type)
        if (semantic == self._void).all():
            text = f"labels {item.labels} are void everywhere: the image counts for nothing"
            note(Fault(FaultKind.UNLABELLED, text))
        ignored = np.isin(numbers, self._unlisted) if len(self._unlisted) else None
        if self._objects is None or item.objects is None:
            return Truth(semantic, ignored=ignored)
        marks = read_objects(item.objects)
        if marks.shape != numbers.shape:
            height, width = numbers.shape
            text = (
                f"objects {item.objects} are {marks.shape[1]}x{marks.shape[0]}, the labels "
                f"{width}x{height}: give both the same size"
            )
            note(Fault(FaultKind.SIZE, text))
            return Truth(semantic, ignored=ignored)
        objects = self._objects(numbers, marks, item.objects, note)
        return Truth(semantic, partition(semantic, objects, self.classes), ignored=ignored)


def _number(number: int) -> str:
    """A number of a label map; a colour, where it is negative (see :func:`read_labels`)."""
    if number >= 0:
        return str(number)
    colour = -1 - number
    return f"colour {[colour & 255, colour >> 8 & 255, colour >> 16]}"


def partition(
    semantic: NDArray[np.integer], objects: NDArray[np.integer], classes: Classes
) -> PanopticTruth:
    """Segments of a class map and a map of objects.

    Args:
        semantic: ``(H, W)`` class ids, or that of void.
        objects: ``(H, W)`` numbers of objects, 0 where things are not told apart: such pixels of a
            thing class are one crowd. Ignored where stuff or void lies.
        classes: of ``semantic``.
    """
    count = len(classes)
    is_thing = np.zeros(count + 1, bool)
    is_thing[list(classes.thing_ids)] = True
    labels = np.minimum(semantic, count).astype(np.int64)  # void behind the last class
    marks = np.where(is_thing[labels], objects, 0).astype(np.int64)
    span = int(marks.max()) + 1
    if span > 2**12:  # far-spread numbers: count them, so that the table below stays small
        values, places = np.unique(np.append(marks.ravel(), 0), return_inverse=True)
        marks = places[:-1].reshape(marks.shape)
        span = len(values)
    keys = labels * span + marks
    present = np.flatnonzero(np.bincount(keys.ravel()))
    present = present[present < count * span]
    table = np.zeros((count + 1) * span, np.int32)
    table[present] = np.arange(1, len(present) + 1)
    segments = [
        TrueSegment(number, key // span, crowd=bool(is_thing[key // span]) and key % span == 0)
        for number, key in enumerate(present.tolist(), start=1)
    ]
    return PanopticTruth(table[keys], segments)


def pictures(folder: Path) -> list[Path]:
    """The image files of a folder and all below it, in the order of their paths.

    Raises:
        TriptychError: there is no such folder.
    """
    if not folder.is_dir():
        raise TriptychError(f"no folder {folder}; check the path")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


@dataclass(frozen=True)
class Suffixes:
    """What names have behind the part that images and labels share, such as ``_mask``."""

    image: str = ""
    label: str = ""
    object: str = ""


def paired(
    images: Path, labels: Path, objects: Path | None = None, suffixes: Suffixes = Suffixes()
) -> tuple[list[Item], list[Fault]]:
    """Match images with label files of the same relative path, whatever the type of the file.

    Args:
        images: folder of images.
        labels: folder of label maps.
        objects: folder of object maps.
        suffixes: of their names.

    Returns:
        The images that have labels, and a fault about each file without a partner.

    Raises:
        TriptychError: a folder is missing.
    """
    maps = _by_name(labels, suffixes.label)
    marks = {} if objects is None else _by_name(objects, suffixes.object)
    items: dict[str, Item] = {}
    faults: list[Fault] = []
    hinted = False
    for image in pictures(images):
        name = _name(image, images, suffixes.image)
        if name is None:
            text = f"image {image} has no {suffixes.image!r} at the end of its name; it is left out"
            faults.append(Fault(FaultKind.UNLABELLED, text))
        elif name in items:
            text = f"images {items[name].image} and {image} share one name; the second is left out"
            faults.append(Fault(FaultKind.TWICE, text))
        elif name in maps:
            mark = None
            if objects is not None:
                mark = marks.get(name, objects / f"{name}{suffixes.object}.png")
            items[name] = Item(name, image, maps[name], mark)
        else:
            wanted = labels / f"{name}{suffixes.label}.png"
            text = f"image {image} has no labels {wanted}; it is left out"
            if not hinted:  # looking for it once is enough
                text += _hint(name, maps, suffixes)
                hinted = True
            faults.append(Fault(FaultKind.UNLABELLED, text))
    for name, path in maps.items():
        if name not in items:
            text = f"labels {path} have no image {images / name}{suffixes.image}.*; "
            faults.append(Fault(FaultKind.NO_IMAGE, text + "they are left out"))
    return list(items.values()), faults


def _by_name(folder: Path, suffix: str) -> dict[str, Path]:
    named = ((_name(path, folder, suffix), path) for path in pictures(folder))
    return {name: path for name, path in named if name is not None}


def _name(path: Path, folder: Path, suffix: str) -> str | None:
    """What a file shares with its partners; None if it lacks the suffix.

    In one Unicode form, since macOS takes accents apart.
    """
    name = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
    return name.removesuffix(suffix) if name.endswith(suffix) else None


def _hint(name: str, maps: Mapping[str, Path], suffixes: Suffixes) -> str:
    """How to say that names of labels end otherwise, if that is why an image has none."""
    longer = [other for other in maps if other.startswith(name)]
    if len(longer) != 1 or suffixes.label:
        return ""
    ending = longer[0].removeprefix(name)
    return f" (there is {maps[longer[0]].name}: in a YAML file say 'label_suffix: {ending}')"
