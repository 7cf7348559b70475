"""Results of another tool, in the forms that :mod:`triptych.evaluation.files` lists."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from triptych.data.sets.base import LabelledSet
from triptych.data.sets.coco_instances import CocoInstances
from triptych.data.sets.coco_panoptic import COLOURS, CocoPanoptic
from triptych.data.sets.numbers import read_coloured, read_numbers
from triptych.data.sets.values import Id, file_name, plain_id, shown, whole
from triptych.errors import TriptychError
from triptych.evaluation import entries
from triptych.evaluation.answers import Answer
from triptych.evaluation.entries import Size, read_json
from triptych.readings.instance import Instance
from triptych.readings.panoptic import PanopticMap, Segment
from triptych.truth import VOID, ignored_id

SEMANTIC, PANOPTIC, INSTANCES = "semantic", "panoptic", "instances"


class ToolAnswers:
    """Results of another tool for the images of ``data``.

    Raises:
        TriptychError: a file cannot be read, or an entry of one means nothing.
    """

    def __init__(self, folder: Path, data: LabelledSet) -> None:
        self.folder, self.data = folder, data
        self._names: dict[str, int | None] = {}
        for index in range(len(data)):  # a.jpg and a.png are both called a: such names mean none
            name = data.name(index)
            self._names[name] = None if name in self._names else index
        self._pictures: dict[Id, int] = {}
        self._classes: dict[Id, int | None] = {i: i for i in range(len(data.classes))}
        if isinstance(data, CocoInstances | CocoPanoptic):
            self._pictures = {data.picture_id(index): index for index in range(len(data))}
            for again, first in data.file.aliases.items():
                if first in self._pictures:
                    self._pictures[again] = self._pictures[first]
            ids = data.schema.ids
            self._classes = {id_: ids.get(place) for id_, place in data.file.places.items()}
        self._has_semantic = (folder / SEMANTIC).is_dir()
        self._panoptic = self._read_panoptic(folder / f"{PANOPTIC}.json")
        self._instances = self._read_instances(folder / f"{INSTANCES}.json")

    def answer(self, index: int, size: Size) -> Answer:
        """What the tool found in an image; see :class:`triptych.evaluation.files.Answers`."""
        semantic = None
        if self._has_semantic:
            path = self.folder / SEMANTIC / f"{self.data.name(index)}.png"
            semantic = read_numbers(path)
            count = len(self.data.classes)
            entries.check_class_map(semantic, size, count, ignored_id(count), path)
        instances = None
        if self._instances is not None:
            listed = self._instances.get(index, ())
            found = (self._instance(entry, size, where) for where, entry in listed)
            instances = [one for one in found if one is not None]
        return Answer(semantic, instances, self._partition(index, size))

    def _instance(self, entry: Mapping[str, Any], size: Size, where: str) -> Instance | None:
        class_id = self._class(entry, where)
        score = entries.score(entry, where)
        name = "" if class_id is None else self.data.classes.names[class_id]
        drawn = entries.instance(entry["segmentation"], size, class_id or 0, name, score, where)
        return None if class_id is None else drawn

    def _partition(self, index: int, size: Size) -> PanopticMap | None:
        if self._panoptic is None:
            return None
        if index not in self._panoptic:
            path = self.folder / f"{PANOPTIC}.json"
            raise TriptychError(f"{path}: has no entry for image {self.data.name(index)}")
        where, entry = self._panoptic[index]
        name = file_name(entry["file_name"])
        if name is None or not isinstance(entry["segments_info"], list):
            raise TriptychError(f"{where}: file_name is no text, or segments_info no list")
        path = self.folder / PANOPTIC / name
        ids = read_coloured(path)
        entries.check_size(ids.shape, size, path)
        classes, listed = self.data.classes, []
        found: dict[tuple[int, int], Segment] = {}
        becomes: dict[int, int] = {}
        for place, info in enumerate(entry["segments_info"]):
            here = f"{where}, segments_info[{place}]"
            number = (
                whole(info.get("id"), VOID + 1, COLOURS - 1) if isinstance(info, dict) else None
            )
            if number is None:
                raise TriptychError(f"{here}: an id is a whole number from 1 to {COLOURS - 1}")
            listed.append(number)
            class_id = self._class(info, here)
            if class_id is None:  # of no class that is asked for
                becomes[number] = VOID
                continue
            thing, area = classes.is_thing[class_id], int((ids == number).sum())
            # Stuff of two categories that the class table merges is one segment.
            key = (class_id, number if thing else VOID)
            if key in found:
                becomes[number] = found[key].id
                area += found[key].area
            first = becomes.get(number, number)
            found[key] = Segment(first, class_id, classes.names[class_id], thing, 1.0, area)
        entries.check_segments(ids, listed, path, where)
        for number, other in becomes.items():
            ids[ids == number] = other
        return PanopticMap(torch.from_numpy(ids), tuple(found.values()), classes)

    def _read_panoptic(self, path: Path) -> dict[int, tuple[str, Any]] | None:
        if not path.is_file():
            return None
        contents = read_json(path)
        listed = contents.get("annotations") if isinstance(contents, dict) else contents
        found: dict[int, tuple[str, Any]] = {}
        for where, entry in _checked(listed, {"image_id", "file_name", "segments_info"}, path):
            index = self._picture(entry, where)
            if index in found:
                raise TriptychError(
                    f"{where}: image {shown(entry['image_id'])} has a result before; keep one"
                )
            found[index] = where, entry
        return found

    def _read_instances(self, path: Path) -> dict[int, list[tuple[str, Any]]] | None:
        if not path.is_file():
            return None
        found = defaultdict(list)
        wanted = {"image_id", "category_id", "score", "segmentation"}
        for where, entry in _checked(read_json(path), wanted, path):
            found[self._picture(entry, where)].append((where, entry))
            self._class(entry, where)
            entries.score(entry, where)
        return dict(found)

    def _picture(self, entry: Mapping[str, Any], where: str) -> int:
        """The image that a result is about: by the id of the data's own file, else by name."""
        given = entry["image_id"]
        number = plain_id(given)
        if number is None:
            raise TriptychError(f"{where}: image_id is {shown(given)}; give a number or a name")
        if number in self._pictures:
            return self._pictures[number]
        name = unicodedata.normalize("NFC", str(given))
        index = self._names.get(name)
        if index is None:
            several = "several images" if name in self._names else "no image"
            raise TriptychError(f"{where}: the data have {several} {shown(given)}")
        return index

    def _class(self, entry: Mapping[str, Any], where: str) -> int | None:
        """The class of a result; None for one that the data have and nobody asked for."""
        given = entry.get("category_id")
        number = plain_id(given)
        if number is not None and number in self._classes:
            return self._classes[number]
        if isinstance(given, str) and given in self.data.classes.names:
            return self.data.classes.index(given)
        raise TriptychError(f"{where}: the data have no category {shown(given)}")


def _checked(listed: Any, wanted: set[str], path: Path) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Results with the words that name them in messages."""
    if not isinstance(listed, list):
        raise TriptychError(f"{path}: expected a list of results")
    found = []
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict) or not wanted <= entry.keys():
            raise TriptychError(f"{path}: result {number} lacks one of {', '.join(sorted(wanted))}")
        found.append((f"{path}: result {number}", entry))
    return found
