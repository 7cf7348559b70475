"""COCO instances (Lin et al. 2014): outlined objects, which may overlap, and crowds of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hotcoco import mask as rle

from triptych.class_table import ClassTable, TableForm
from triptych.data.sets.base import UNKNOWN, DiskSet, Fault, Kind, Note, Truth, refuse
from triptych.data.sets.beside import around
from triptych.data.sets.coco_json import Annotation, Picture, read_coco
from triptych.data.sets.layout import InSplits, Layout, Splits, titled
from triptych.data.sets.outlines import encode
from triptych.errors import TriptychError
from triptych.metrics.truth import PanopticTruth, TrueInstance, TrueSegment

FAR_OFF = 2.0
"""An area that differs from its outline by more than this factor is a fault. Small differences are
usual: COCO's areas are those of the polygons, not of the pixels."""


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
        self.file = read_coco(annotations)
        self.schema = self.file.schema(own)
        self._beside = self.file.beside(void_beside or {})
        self.classes = self.schema.classes
        self.semantic = self.panoptic = self.schema.rest is not None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.file.pictures)

    def image(self, index: int) -> Path:
        """The file of image ``index``."""
        return self.folder / self.file.pictures[index].file

    def name(self, index: int) -> str:
        """The file name of image ``index`` without suffix."""
        return self.file.pictures[index].name

    def picture_id(self, index: int) -> int | str:
        """What the JSON file calls image ``index``."""
        return self.file.pictures[index].id

    def faults(self) -> Iterator[Fault]:
        """Entries of the file that mean nothing."""
        return iter(self.file.faults)

    def truth(self, index: int, note: Note = refuse) -> Truth:
        """Draw the outlines; see :class:`DiskSet`."""
        picture = self.file.pictures[index]
        size = (picture.height, picture.width)
        drawn: list[TrueInstance] = []
        categories: list[int] = []
        for annotation in self.file.by_image[picture.id]:
            outlined = self._object(annotation, picture, note)
            if outlined is not None:
                drawn.append(outlined)
                categories.append(annotation["category_id"])
        void = [true.class_id == UNKNOWN for true in drawn]
        for category, others in self._beside.others(categories).items():
            near = around(np.any([drawn[place].mask for place in others], axis=0))
            for place, true in enumerate(drawn):
                if categories[place] == category and near[true.mask].any():
                    void[place] = True
        kept = [true for true, left_out in zip(drawn, void, strict=True) if not left_out]
        ignored = None
        if any(void):
            ignored = np.any([t.mask for t, out in zip(drawn, void, strict=True) if out], axis=0)
            for true in kept:
                ignored &= ~true.mask
        objects = [true for true in kept if true.class_id != self.schema.rest]
        semantic, ids, segments = _partition(objects, size, self.schema.rest, self.classes.is_thing)
        panoptic = PanopticTruth(ids, segments) if self.panoptic else None
        things = [true for true in objects if self.classes.is_thing[true.class_id]]
        return Truth(semantic, panoptic, things, ignored)

    def _object(self, annotation: Annotation, picture: Picture, note: Note) -> TrueInstance | None:
        """What is outlined, of class :data:`UNKNOWN` if the class table leaves it out."""
        where = f"{self.file.path}: annotation {annotation.get('id', '?')} of {picture.file}"

        def tell(kind: Kind, what: str) -> None:
            note(Fault(kind, f"{where}: {what}"))

        category = annotation.get("category_id")
        class_id = self.schema.ids.get(category) if type(category) is int else None
        if type(category) is int and category in self.schema.unlisted:
            class_id = UNKNOWN
        if class_id is None:
            tell(Kind.UNKNOWN_ID, f"category {category!r} is not listed")
            return None
        code = encode(annotation.get("segmentation"), picture.height, picture.width, tell)
        if code is None:
            return None
        mask = rle.decode(code).astype(bool)
        pixels = int(rle.area(code))
        if not pixels:
            tell(Kind.EMPTY_OUTLINE, "its outline covers no pixel")
        crowd = bool(annotation.get("iscrowd", 0))
        left, top, width, height = rle.to_bbox(code).tolist()
        box = (left, top, left + width, top + height)
        return TrueInstance(mask, class_id, crowd, _area(annotation, pixels, crowd, tell), box)


def _area(annotation: Annotation, pixels: int, crowd: bool, tell: Any) -> float | None:
    """The area as annotated, None where that is no number."""
    area = annotation.get("area")
    if area is None:
        return None
    if not isinstance(area, int | float) or not area >= 0:
        tell(Kind.AREA, f"its area is {area!r}; the pixels are counted instead")
        return None
    near = pixels / FAR_OFF <= area <= pixels * FAR_OFF
    if not near and not crowd and abs(area - pixels) > 100:
        tell(Kind.AREA, f"its area is {area:.0f}, its outline covers {pixels} pixels")
    return float(area)


def _partition(
    objects: Sequence[TrueInstance],
    size: tuple[int, int],
    rest: int | None,
    is_thing: Sequence[bool],
) -> tuple[np.ndarray, np.ndarray, list[TrueSegment]]:
    """Class map, segment ids and segments of objects that may overlap.

    Crowds lie below objects, large objects below small ones. Stuff and crowds of a class are one
    segment each; who is hidden completely has none.
    """
    semantic = np.full(size, UNKNOWN if rest is None else rest, np.uint8)
    ids = np.zeros(size, np.int32)
    numbers: dict[tuple[int, bool, int], int] = {}
    if rest is not None:
        numbers[rest, False, -1] = 1
        ids[:] = 1
    areas = [int(true.mask.sum()) for true in objects]
    for place in sorted(range(len(objects)), key=lambda i: (not objects[i].crowd, -areas[i])):
        true = objects[place]
        thing = is_thing[true.class_id]
        own = place if thing and not true.crowd else -1
        key = (true.class_id, thing and true.crowd, own)
        semantic[true.mask] = true.class_id
        ids[true.mask] = numbers.setdefault(key, len(numbers) + 1)
    present = set(np.flatnonzero(np.bincount(ids.ravel())).tolist())
    segments = [
        TrueSegment(number, class_id, crowd)
        for (class_id, crowd, _), number in numbers.items()
        if number in present
    ]
    return semantic, ids, segments


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

    def open(self, layout: Layout, file: Path) -> Splits:
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
    if (root / "instances.json").is_file():
        places.setdefault("", (root / "images", root / "instances.json"))
    title = f"COCO instances in {root}"
    return {
        split: functools.partial(CocoInstances, titled(title, split), *files, own)
        for split, files in places.items()
    }


LAYOUT = Layout(
    "coco-instances",
    "COCO instances",
    "annotations/instances_{split}.json with a folder {split}, or {split}/instances.json with "
    "{split}/images, or {split}/_annotations.coco.json",
    find,
    Described,
)
