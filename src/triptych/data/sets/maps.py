"""Sets whose truth is one label map an image, and perhaps a second one that tells objects apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.data.sets.base import UNKNOWN, DiskSet, Fault, Kind, Note, Truth, refuse
from triptych.data.sets.numbers import read_numbers
from triptych.data.sets.schema import NOT_NAMED, Schema
from triptych.decode import SUFFIXES
from triptych.errors import TriptychError
from triptych.masks import Classes
from triptych.metrics.truth import PanopticTruth, TrueSegment

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
        TriptychError: there is no item.
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
            raise TriptychError(f"{title} holds no image with labels; check the folder")
        self.title, self.classes = title, schema.classes
        self.instances = self.panoptic = objects is not None
        self._items, self._objects, self._faults = items, objects, faults
        self._table = schema.table()
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
        numbers = read_numbers(item.labels)
        classes = self._table[numbers]
        strange = classes == NOT_NAMED
        if strange.any():
            note(Fault(Kind.UNKNOWN_ID, _strange_numbers(item.labels, numbers[strange])))
            classes[strange] = UNKNOWN
        semantic = classes.astype(np.uint8)
        if (semantic == UNKNOWN).all():
            text = f"labels {item.labels} are void everywhere: the image counts for nothing"
            note(Fault(Kind.UNLABELLED, text))
        ignored = np.isin(numbers, self._unlisted) if len(self._unlisted) else None
        if self._objects is None or item.objects is None:
            return Truth(semantic, ignored=ignored)
        marks = read_numbers(item.objects)
        if marks.shape != numbers.shape:
            height, width = numbers.shape
            text = (
                f"objects {item.objects} are {marks.shape[1]}x{marks.shape[0]}, the labels "
                f"{width}x{height}: give both the same size"
            )
            note(Fault(Kind.SIZE, text))
            return Truth(semantic, ignored=ignored)
        objects = self._objects(numbers, marks, item.objects, note)
        return Truth(semantic, partition(semantic, objects, self.classes), ignored=ignored)


def _strange_numbers(path: Path, numbers: NDArray[np.integer]) -> str:
    values, counts = np.unique(numbers, return_counts=True)
    listed = ", ".join(
        f"{value} ({count:,} pixel{'s' * (count != 1)})"
        for value, count in zip(values[:5].tolist(), counts[:5].tolist(), strict=True)
    )
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    numbers_told = f"labels {path} hold {listed}{more}"
    return f"{numbers_told}: neither a class nor void; mend the labels or the schema"


def partition(
    semantic: NDArray[np.uint8], objects: NDArray[np.integer], classes: Classes
) -> PanopticTruth:
    """Segments of a class map and a map of objects.

    Args:
        semantic: ``(H, W)`` class ids, :data:`UNKNOWN` for void.
        objects: ``(H, W)`` numbers of objects, 0 where things are not told apart: such pixels of a
            thing class are one crowd. Ignored where stuff or void lies.
        classes: of ``semantic``.
    """
    is_thing = np.zeros(UNKNOWN + 1, bool)
    is_thing[list(classes.thing_ids)] = True
    marks = np.where(is_thing[semantic], objects, 0).astype(np.int64)
    span = int(marks.max()) + 1
    if span > 2**12:  # far-spread numbers: count them, so that the table below stays small
        values, places = np.unique(np.append(marks.ravel(), 0), return_inverse=True)
        marks = places[:-1].reshape(marks.shape)
        span = len(values)
    keys = semantic.astype(np.int64) * span + marks
    present = np.flatnonzero(np.bincount(keys.ravel()))
    present = present[present < UNKNOWN * span]
    table = np.zeros((UNKNOWN + 1) * span, np.int32)
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


def paired(
    images: Path, labels: Path, objects: Path | None = None
) -> tuple[list[Item], list[Fault]]:
    """Match images with label files of the same relative path, whatever the suffix.

    Returns:
        The images that have labels, and a fault about each file without a partner.

    Raises:
        TriptychError: a folder is missing.
    """
    maps = {path.relative_to(labels).with_suffix(""): path for path in pictures(labels)}
    marks: dict[Path, Path] = {}
    if objects is not None:
        marks = {path.relative_to(objects).with_suffix(""): path for path in pictures(objects)}
    items: dict[Path, Item] = {}
    faults = []
    for image in pictures(images):
        name = image.relative_to(images).with_suffix("")
        if name in items:
            text = f"images {items[name].image} and {image} share one name; the second is left out"
            faults.append(Fault(Kind.TWICE, text))
        elif name in maps:
            mark = None if objects is None else marks.get(name, objects / f"{name}.png")
            items[name] = Item(name.as_posix(), image, maps[name], mark)
        else:
            text = f"image {image} has no labels {labels / name}.png; it is left out"
            faults.append(Fault(Kind.UNLABELLED, text))
    for name, path in maps.items():
        if name not in items:
            text = f"labels {path} have no image {images / name}.*; they are left out"
            faults.append(Fault(Kind.NO_IMAGE, text))
    return list(items.values()), faults
