"""COCO panoptic (Kirillov et al. 2019): a PNG whose colours are segment ids, and a JSON file.

ADE20K and Mapillary Vistas give their panoptic truth in this form as well.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable, TableForm
from triptych.data.sets.base import UNKNOWN, DiskSet, Fault, Kind, Note, Truth, refuse
from triptych.data.sets.beside import around
from triptych.data.sets.coco_json import Annotation, Picture, read_coco
from triptych.data.sets.layout import InSplits, Layout, Splits, titled
from triptych.data.sets.numbers import read_coloured
from triptych.errors import TriptychError
from triptych.metrics.truth import VOID, PanopticTruth, TrueSegment

COLOURS = 2**24
"""Ids that a colour can tell apart."""

PREFIXES = ("ade20k_panoptic_", "panoptic_")
"""What stands before the split in the names of annotation files."""

SPELLINGS = {"val": "validation", "train": "training"}
"""Splits whose folder of images has a longer name than their annotations (ADE20K)."""


class CocoPanoptic(DiskSet):
    """Images whose every pixel is in one segment, or void.

    Args:
        title: what the set is called.
        images: folder that names of images start from.
        maps: folder that names of PNGs start from.
        annotations: the JSON file.
        own: a class table in place of the file's categories.
        void_beside: categories whose segments are void where they touch one of the others.

    Raises:
        TriptychError: the annotations cannot be read, or a folder is not there.
    """

    instances = panoptic = True

    def __init__(
        self,
        title: str,
        images: Path,
        maps: Path,
        annotations: Path,
        own: ClassTable | None = None,
        void_beside: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        for folder in (images, maps):
            if not folder.is_dir():
                raise TriptychError(f"no folder {folder}; check the path")
        self.title, self.folder, self.maps = title, images, maps
        self.file = read_coco(annotations)
        self.schema = self.file.schema(own)
        self._beside = self.file.beside(void_beside or {})
        self.classes = self.schema.classes
        self._known = self.schema.void.union(self.schema.ids)
        self._faults = list(self.file.faults)
        self._items = list(self._complete())
        if not self._items:
            raise TriptychError(f"{annotations}: no image has segments")

    def _complete(self) -> Iterator[tuple[Picture, Annotation]]:
        """The images that can be read; faults about the others."""
        for picture in self.file.pictures:
            found = self.file.by_image[picture.id]
            where = f"{self.file.path}: image {picture.file}"
            if not found:
                text = f"{where} has no annotation; it is left out"
                self._faults.append(Fault(Kind.UNLABELLED, text))
                continue
            if len(found) > 1:
                text = f"{where} has {len(found)} annotations; the first is taken"
                self._faults.append(Fault(Kind.BROKEN, text))
            name, segments = found[0].get("file_name"), found[0].get("segments_info")
            if not isinstance(name, str) or not isinstance(segments, list):
                text = f"{where}: its annotation has no file_name or segments_info; it is left out"
                self._faults.append(Fault(Kind.BROKEN, text))
                continue
            yield picture, found[0]

    def __len__(self) -> int:
        """Number of images."""
        return len(self._items)

    def image(self, index: int) -> Path:
        """The file of image ``index``."""
        return self.folder / self._items[index][0].file

    def name(self, index: int) -> str:
        """The file name of image ``index`` without suffix."""
        return self._items[index][0].name

    def picture_id(self, index: int) -> int | str:
        """What the JSON file calls image ``index``."""
        return self._items[index][0].id

    def faults(self) -> Iterator[Fault]:
        """Entries of the file that mean nothing, images without segments."""
        return iter(self._faults)

    def truth(self, index: int, note: Note = refuse) -> Truth:
        """Read the PNG and compare it with the list of segments; see :class:`DiskSet`."""
        picture, annotation = self._items[index]
        path = self.maps / annotation["file_name"]
        ids = read_coloured(path)
        if ids.shape != (picture.height, picture.width):
            text = (
                f"panoptic map {path} is {ids.shape[1]}x{ids.shape[0]}, {self.file.path} says "
                f"{picture.width}x{picture.height}"
            )
            note(Fault(Kind.SIZE, text))
        segments = self._segments(annotation["segments_info"], path, note)
        table = np.zeros(COLOURS, np.int32)  # untouched memory costs nothing
        table[list(segments)] = np.arange(1, len(segments) + 1)
        places = table[ids]
        _compare(ids, places, segments, path, note)
        return self._merged(places, list(segments.values()))

    def _segments(self, entries: Sequence[Any], path: Path, note: Note) -> dict[int, Annotation]:
        """The entries of ``segments_info`` that make sense, by id."""
        segments: dict[int, Annotation] = {}
        for entry in entries:
            number = entry.get("id") if isinstance(entry, dict) else None
            where = f"{self.file.path}: segment {number} of {path.name}"
            if type(number) is not int or not VOID < number < COLOURS:
                text = f"{where}: an id is a whole number from 1 to {COLOURS - 1}"
                note(Fault(Kind.BROKEN, text))
            elif number in segments:
                note(Fault(Kind.OVERLAP, f"{where}: a second segment claims the same pixels"))
            else:
                if _category(entry) not in self._known:
                    text = f"{where}: category {entry.get('category_id')!r} is not listed"
                    note(Fault(Kind.UNKNOWN_ID, text))
                segments[number] = entry
        return segments

    def _merged(self, places: NDArray[np.int32], entries: Sequence[Annotation]) -> Truth:
        """Truth from a map of 0 for void and ``i + 1`` for ``entries[i]``.

        Segments of one stuff class become one, those of no class void.
        """
        categories = [_category(entry) for entry in entries]
        left_out = [category in self.schema.unlisted for category in categories]
        for category, others in self._beside.others(categories).items():
            touched = np.unique(places[around(np.isin(places, np.add(others, 1)))]).tolist()
            for place in touched:
                if place and categories[place - 1] == category:
                    left_out[place - 1] = True
        numbers: dict[tuple[int, int], int] = {}
        segments: list[TrueSegment] = []
        to_segment = np.zeros(len(entries) + 1, np.int32)
        to_class = np.full(len(entries) + 1, UNKNOWN, np.uint8)
        for place, entry in enumerate(entries, start=1):
            class_id = self.schema.ids.get(categories[place - 1])
            if class_id is None or left_out[place - 1]:
                continue
            thing = self.classes.is_thing[class_id]
            key = (class_id, place if thing else 0)
            if key not in numbers:
                numbers[key] = len(numbers) + 1
                crowd = thing and bool(entry.get("iscrowd", 0))
                segments.append(TrueSegment(numbers[key], class_id, crowd))
            to_segment[place], to_class[place] = numbers[key], class_id
        ignored = np.array([False, *left_out])[places] if any(left_out) else None
        return Truth(to_class[places], PanopticTruth(to_segment[places], segments), ignored=ignored)


def _category(entry: Annotation) -> int:
    """The category of a segment, one that no set has where it is no number."""
    category = entry.get("category_id")
    return category if type(category) is int else -1


def _compare(
    ids: NDArray[np.int32],
    places: NDArray[np.int32],
    segments: dict[int, Annotation],
    path: Path,
    note: Note,
) -> None:
    """Note ids that no segment explains, and segments whose area is not that of their pixels."""
    strange = (places == 0) & (ids != VOID)
    if strange.any():
        values, counts = np.unique(ids[strange], return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            text = f"panoptic map {path} holds id {value} ({count:,} pixels), which no segment has"
            note(Fault(Kind.NO_SEGMENT, text))
    counted = np.bincount(places.ravel(), minlength=len(segments) + 1)[1:].tolist()
    for (number, entry), pixels in zip(segments.items(), counted, strict=True):
        area = entry.get("area", pixels)
        if not pixels:
            text = f"panoptic map {path} has no pixel of segment {number}, which is listed"
            note(Fault(Kind.NO_PIXELS, text))
        elif area != pixels:
            text = (
                f"panoptic map {path}: segment {number} has {pixels} pixels, its area says {area}"
            )
            note(Fault(Kind.AREA, text))


@dataclass(frozen=True)
class Described(InSplits):
    """A folder of images, a folder of PNGs and a JSON file in COCO's panoptic format.

    Raises:
        TriptychError: ``rest`` without ``classes``.
    """

    images: str
    """Folder that names of images start from."""
    maps: str
    """Folder of the PNGs whose colours are segment ids."""
    annotations: str
    """The JSON file."""
    classes: TableForm = ()
    """A class table of one's own, made of the categories of the file."""
    rest: str | None = None
    """Name of a stuff class for segments of none of ``classes``."""
    void_beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Categories of the file whose segments are void where they touch one of the others, such as
    ``person: [bicycle, motorcycle]``: who is at a bicycle may be its rider."""
    splits: tuple[str, ...] = ()
    """What ``{split}`` in the paths stands for."""

    def __post_init__(self) -> None:
        ClassTable.read(self.classes, self.rest)

    def open(self, layout: Layout, file: Path) -> Splits:
        """The splits that are described."""
        own = ClassTable.read(self.classes, self.rest)
        paths = self.parts(
            file, self.splits, images=self.images, maps=self.maps, annotations=self.annotations
        )
        return {
            split: functools.partial(
                CocoPanoptic,
                titled(str(file), split),
                **parts,
                own=own,
                void_beside=self.void_beside,
            )
            for split, parts in paths.items()
        }


def find(root: Path, own: ClassTable | None) -> Splits:
    """The splits that have an annotation file with a folder of the same name."""
    splits: dict[str, functools.partial[CocoPanoptic]] = {}
    for file in sorted(
        [*root.glob("annotations/*panoptic_*.json"), *root.glob("*panoptic_*.json")]
    ):
        maps = next((m for m in (file.with_suffix(""), root / file.stem) if m.is_dir()), None)
        prefix = next((p for p in PREFIXES if file.stem.startswith(p)), None)
        if maps is None or prefix is None:
            continue
        split = file.stem.removeprefix(prefix)
        names = [split, f"images/{split}", f"images/{SPELLINGS.get(split, split)}", "images"]
        folders = [root / name for name in [*names, "input_images"]]
        images = next((folder for folder in folders if folder.is_dir()), folders[0])
        title = titled(f"COCO panoptic in {root}", split)
        splits[split] = functools.partial(CocoPanoptic, title, images, maps, file, own)
    return splits


LAYOUT = Layout(
    "coco-panoptic",
    "COCO panoptic",
    "panoptic_{split}.json with a folder panoptic_{split} of PNGs (in annotations/ or not) and "
    "images in {split} or images/{split}",
    find,
    Described,
)
