"""COCO instances (Lin et al. 2014): outlined objects, which may overlap, and crowds of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable, TableForm
from triptych.classes import Classes
from triptych.data.sets.base import Census, DiskSet, Fault, FaultKind, Note, refuse
from triptych.data.sets.beside import around
from triptych.data.sets.coco_json import Annotation, read_coco
from triptych.data.sets.layout import DataLayout, InSplits, Splits, titled
from triptych.data.sets.outlines import Tell, encode, examine
from triptych.data.sets.pictures import ImageEntry
from triptych.data.sets.places import located
from triptych.data.sets.values import Id, flag, number, shown
from triptych.errors import TriptychError
from triptych.metrics.run_lengths import cut_mask
from triptych.truth import (
    PanopticTruth,
    PlacedTruth,
    TrueInstance,
    TrueSegment,
    Truth,
    ignored_id,
    map_type,
)

FAR_OFF = 2.0
"""An area that differs from its outline by more than this factor is a fault. Small differences are
usual: COCO's areas are those of the polygons, not of the pixels."""


LEFT_OUT = -1
"""In place of a class: the class table leaves it out."""


class CocoInstances(DiskSet):
    """Images with outlined objects.

    Pixels of no object are unknown, unless the class table has a class for the rest; then, and
    only then, every pixel has a class and panoptic quality can be measured. Where outlines of
    objects overlap, the pixels of the class map and the partition are the smaller object's: a tie
    lies on a person. The objects themselves keep them all.

    Args:
        title: what the set is called.
        images: folder that file names start from.
        annotations: the JSON file.
        own: a class table in place of the file's categories. Objects that it leaves out are void.
        void_beside: categories whose objects are void where they touch one of the others.

    Raises:
        TriptychError: the annotations cannot be read, or the folder is not there.
    """

    instances = True

    def __init__(
        self,
        title: str,
        images: Path,
        annotations: Path,
        own: ClassTable | None = None,
        void_beside: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if not images.is_dir():
            raise TriptychError(f"no folder of images {images}; check the path")
        self.title, self.folder = title, images
        self.file = read_coco(annotations, panoptic=False)
        self.schema = self.file.schema(own)
        self._beside = self.file.beside(void_beside or {})
        self.classes = self.schema.classes
        self.semantic = self.panoptic = self.schema.rest is not None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.file.pictures)

    def image(self, index: int) -> Path:
        """The file of image ``index``."""
        picture = self.file.pictures[index]
        return located(self.folder, picture.file, picture.alone)

    def name(self, index: int) -> str:
        """The file name of image ``index`` without suffix."""
        return self.file.pictures[index].name

    def picture_id(self, index: int) -> Id:
        """What the JSON file calls image ``index``."""
        return self.file.pictures[index].id

    def faults(self) -> Iterator[Fault]:
        """What is wrong with the file as a whole."""
        return iter(self.file.faults)

    def census(self) -> Census:
        """What the annotations are, by the file alone."""
        counts = Counter[str]()
        most, where, densest = 0, "", 0
        for picture in self.file.pictures:
            things, stuff = Counter[int](), set[int]()
            for annotation in self.file.by_image[picture.id]:
                class_id = self._class(annotation)
                if class_id is None or class_id == self.schema.rest:
                    continue
                if annotation.get("segmentation") in (None, [], [[]]):
                    counts["bare"] += 1
                elif not self.classes.is_thing[class_id]:
                    stuff.add(class_id)
                elif flag(annotation.get("iscrowd")):
                    counts["crowds"] += 1
                else:
                    counts["objects"] += 1
                    things[class_id] += 1
            densest = max(densest, 0, *things.values())
            if things.total() + len(stuff) > most:
                most, where = things.total() + len(stuff), picture.file
        return Census(**counts, most=most, where=where, densest=densest)

    def scan(self, note: Note) -> None:
        """Examine all annotations, and draw none; see :class:`DiskSet`."""
        for picture in self.file.pictures:
            for annotation in self.file.by_image[picture.id]:
                examined = self._examine(annotation, picture, note)
                if examined is not None:
                    size = (picture.height, picture.width)
                    examine(annotation.get("segmentation"), *size, examined.tell)

    def truth(self, index: int, note: Note = refuse) -> Truth:
        """Draw the outlines; see :class:`DiskSet`."""
        picture = self.file.pictures[index]
        size = (picture.height, picture.width)
        drawn: list[PlacedTruth] = []
        categories: list[int] = []
        seen: dict[tuple[int, bool, bytes], str] = {}
        for annotation in self.file.by_image[picture.id]:
            outlined = self._object(annotation, picture, seen, note)
            category = self.file.category(annotation)
            if outlined is not None and category is not None:
                drawn.append(outlined)
                categories.append(category)
        void = [true.class_id == LEFT_OUT for true in drawn]
        for category, others in self._beside.others(categories).items():
            near = around(_covered([drawn[place] for place in others], size))
            for place, true in enumerate(drawn):
                if categories[place] == category and near[true.window][true.cut].any():
                    void[place] = True
        kept = [true for true, left_out in zip(drawn, void, strict=True) if not left_out]
        ignored = None
        if any(void):
            ignored = _covered([t for t, out in zip(drawn, void, strict=True) if out], size)
            for true in kept:
                ignored[true.window] &= ~true.cut
        rest = self.schema.rest
        objects = [true for true in kept if true.class_id != rest]
        semantic = class_map(objects, size, rest, self.classes)
        panoptic = partition(objects, size, rest, self.classes) if self.panoptic else None
        things = [true for true in objects if self.classes.is_thing[true.class_id]]
        return Truth(semantic, panoptic, things, ignored)

    def _class(self, annotation: Annotation) -> int | None:
        """The class of an annotation; None where its category is void or not listed."""
        place = self.file.category(annotation)
        return None if place is None else self.schema.ids.get(place)

    def _object(
        self,
        annotation: Annotation,
        picture: ImageEntry,
        seen: dict[tuple[int, bool, bytes], str],
        note: Note,
    ) -> PlacedTruth | None:
        """The object that an annotation outlines; None if there is none, or it is drawn before."""
        examined = self._examine(annotation, picture, note)
        if examined is None:
            return None
        class_id, crowd, tell = examined.class_id, examined.crowd, examined.tell
        counts = encode(annotation.get("segmentation"), picture.height, picture.width, tell)
        if counts is None:
            return None
        pixels = int(counts[1::2].sum())
        if not pixels:
            tell(FaultKind.EMPTY_OUTLINE, "its outline covers no pixel")
        else:
            key = (class_id, crowd, counts.tobytes())
            if key in seen:
                what = f"it has class and outline of annotation {seen[key]}; it is left out"
                tell(FaultKind.DOUBLED, what)
                return None
            seen[key] = shown(annotation.get("id", "?"))
        cut, box = cut_mask(counts, picture.height)
        area = _area(annotation, pixels, crowd, tell)
        return PlacedTruth(cut, box, (picture.height, picture.width), class_id, crowd, area)

    def _examine(self, annotation: Annotation, picture: ImageEntry, note: Note) -> _Examined | None:
        """Class and crowd of an annotation; None if it is void, or one of them is wrong."""
        name = shown(annotation.get("id", "?"))
        where = f"{self.file.path}: annotation {name} of {picture.file}"

        def tell(kind: FaultKind, what: str) -> None:
            note(Fault(kind, f"{where}: {what}"))

        category = self.file.category(annotation)
        if category is None:
            told = shown(annotation.get("category_id"))
            tell(FaultKind.UNKNOWN_ID, f"category {told} is not listed")
            return None
        class_id = LEFT_OUT if category in self.schema.unlisted else self.schema.ids.get(category)
        if class_id is None:
            return None  # void
        crowd = False if annotation.get("iscrowd") is None else flag(annotation["iscrowd"])
        if crowd is None:
            tell(FaultKind.BROKEN, f"iscrowd is {shown(annotation['iscrowd'])}; give 0 or 1")
            return None
        return _Examined(class_id, crowd, tell)


@dataclass(frozen=True)
class _Examined:
    """What an annotation says beside its outline."""

    class_id: int
    crowd: bool
    tell: Tell


def _area(annotation: Annotation, pixels: int, crowd: bool, tell: Any) -> float | None:
    """The area as annotated, None where that is no number."""
    given = annotation.get("area")
    if given is None:
        return None
    area = number(given)
    if area is None or area < 0:
        tell(FaultKind.AREA, f"its area is {shown(given)}; the pixels are counted instead")
        return None
    near = pixels / FAR_OFF <= area <= pixels * FAR_OFF
    if not near and not crowd and abs(area - pixels) > 100:
        tell(FaultKind.AREA, f"its area is {area:.0f}, its outline covers {pixels} pixels")
    return area


def _covered(objects: Sequence[TrueInstance], size: tuple[int, int]) -> NDArray[np.bool_]:
    """``(H, W)``: pixels of any of the objects."""
    covered = np.zeros(size, bool)
    for true in objects:
        covered[true.window] |= true.cut
    return covered


def class_map(
    objects: Sequence[TrueInstance], size: tuple[int, int], rest: int | None, classes: Classes
) -> NDArray[np.integer]:
    """Class ids ``(H, W)`` of objects that may overlap; see :func:`partition`."""
    ground = ignored_id(len(classes)) if rest is None else rest
    semantic = np.full(size, ground, map_type(len(classes)))
    for place in _from_below(objects):
        true = objects[place]
        semantic[true.window][true.cut] = true.class_id
    return semantic


def partition(
    objects: Sequence[TrueInstance], size: tuple[int, int], rest: int | None, classes: Classes
) -> PanopticTruth:
    """Segments of objects that may overlap.

    Crowds lie below objects, large objects below small ones. Stuff and crowds of a class are one
    segment each; who is hidden completely has none.

    Args:
        objects: with their masks.
        size: of the image, ``(H, W)``.
        rest: class of pixels that no object covers; None: void.
        classes: of the objects.
    """
    ids = np.zeros(size, np.int32)
    numbers: dict[tuple[int, bool, int], int] = {}
    if rest is not None:
        numbers[rest, False, -1] = 1
        ids[:] = 1
    for place in _from_below(objects):
        true = objects[place]
        thing = classes.is_thing[true.class_id]
        own = place if thing and not true.crowd else -1
        key = (true.class_id, thing and true.crowd, own)
        ids[true.window][true.cut] = numbers.setdefault(key, len(numbers) + 1)
    present = np.zeros(len(numbers) + 1, bool)
    present[ids.ravel()] = True  # counting them would take wider numbers
    segments = [
        TrueSegment(number, class_id, crowd)
        for (class_id, crowd, _), number in numbers.items()
        if present[number]
    ]
    return PanopticTruth(ids, segments)


def _from_below(objects: Sequence[TrueInstance]) -> list[int]:
    """Places of objects in the order in which they are laid on each other."""
    areas = [int(np.count_nonzero(true.cut)) for true in objects]
    return sorted(range(len(objects)), key=lambda i: (not objects[i].crowd, -areas[i]))


@dataclass(frozen=True)
class Described(InSplits):
    """A folder of images and a JSON file in COCO's instance format.

    Raises:
        TriptychError: ``rest`` without ``classes``.
    """

    images: str
    """Folder that the file names start from."""
    annotations: str
    """The JSON file."""
    classes: TableForm = ()
    """A class table of one's own, made of the categories of the file."""
    rest: str | None = None
    """Name of a stuff class for what is none of ``classes``, pixels of no object included."""
    void_beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Categories of the file whose objects are void where they touch one of the others, such as
    ``person: [bicycle, motorcycle]``: who is at a bicycle may be its rider."""
    splits: tuple[str, ...] = ()
    """What ``{split}`` in the paths stands for."""

    def __post_init__(self) -> None:
        ClassTable.read(self.classes, self.rest)

    def open(self, layout: DataLayout, file: Path) -> Splits:
        """The splits that are described."""
        own = ClassTable.read(self.classes, self.rest)
        paths = self.parts(file, self.splits, images=self.images, annotations=self.annotations)
        return {
            split: functools.partial(
                CocoInstances,
                titled(str(file), split),
                **parts,
                own=own,
                void_beside=self.void_beside,
            )
            for split, parts in paths.items()
        }


def find(root: Path, own: ClassTable | None) -> Splits:
    """The splits that have an annotation file in one of the usual places."""
    places: dict[str, tuple[Path, Path]] = {}
    for file in sorted(root.glob("annotations/instances_*.json")):
        split = file.stem.removeprefix("instances_")
        folders = [root / split, root / "images" / split, root / "images"]
        places[split] = (next((f for f in folders if f.is_dir()), folders[0]), file)
    for file in sorted(root.glob("*/instances.json")):
        places.setdefault(file.parent.name, (file.parent / "images", file))
    for file in sorted(root.glob("*/_annotations.coco.json")):
        places.setdefault(file.parent.name, (file.parent, file))
    for file in sorted(root.glob("annotations/lvis_*.json")):  # names are those of its URLs
        places.setdefault(file.stem.rpartition("_")[2], (root, file))
    if (root / "_annotations.coco.json").is_file():
        places.setdefault("", (root, root / "_annotations.coco.json"))
    if (root / "instances.json").is_file():
        places.setdefault("", (root / "images", root / "instances.json"))
    title = f"COCO instances in {root}"
    return {
        split: functools.partial(CocoInstances, titled(title, split), *files, own)
        for split, files in places.items()
    }


LAYOUT = DataLayout(
    "coco-instances",
    "COCO instances",
    "annotations/instances_{split}.json with a folder {split}, or {split}/instances.json with "
    "{split}/images, or {split}/_annotations.coco.json",
    find,
    Described,
)
