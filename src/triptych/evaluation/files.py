"""Results on disk, of ``triptych predict`` or of any other tool, as answers to compare with truth.

A folder of another tool holds one or more of

- ``semantic/NAME.png``: class ids, 0 to K - 1 in the order of the data's classes, 255 for none;
- ``panoptic/NAME.png`` and ``panoptic.json``: COCO's panoptic format;
- ``instances.json``: COCO's results, a list of ``image_id``, ``category_id``, ``score`` and
  ``segmentation`` (run lengths or polygons).

``NAME`` is what the data set calls the image: its path without suffix. Categories are those of the
data set's own JSON file where it has one, else class ids or class names; so are images.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from hotcoco import mask as rle

from triptych.data.sets.base import LabelledSet
from triptych.data.sets.coco_instances import CocoInstances
from triptych.data.sets.coco_panoptic import CocoPanoptic
from triptych.data.sets.numbers import read_coloured, read_numbers
from triptych.errors import TriptychError
from triptych.evaluation.answers import Answer, match_classes
from triptych.masks import Classes
from triptych.readouts.instance import Instance
from triptych.readouts.panoptic import PanopticMap, Segment
from triptych.results import FORMAT

Size = tuple[int, int]
SEMANTIC, PANOPTIC, INSTANCES = "semantic", "panoptic", "instances"


class Answers(Protocol):
    """Gives the answer for each image of a data set."""

    def answer(self, index: int, size: Size) -> Answer:
        """What was found in image ``index``, of ``size`` (height, width).

        Raises:
            TriptychError: its files are missing or broken.
        """
        ...


def open_answers(folder: Path, data: LabelledSet) -> Answers:
    """Results for the images of ``data``.

    Raises:
        TriptychError: the folder holds none that are known.
    """
    if not folder.is_dir():
        raise TriptychError(f"no folder of results {folder}; check the path")
    if (folder / f"{data.name(0)}.json").is_file():
        return TriptychAnswers(folder, data)
    parts = (folder / SEMANTIC, folder / f"{PANOPTIC}.json", folder / f"{INSTANCES}.json")
    if any(part.exists() for part in parts):
        return ToolAnswers(folder, data)
    names = ", ".join(part.name for part in parts)
    raise TriptychError(
        f"{folder} holds no results: neither {data.name(0)}.json of triptych predict nor any of "
        f"{names} of another tool"
    )


class TriptychAnswers:
    """The files of ``triptych predict``; classes are matched by name.

    Its instances have at least the score that it was asked for (0.5 by default), which costs
    average precision: run it with ``--instance-threshold 0`` to measure that.
    """

    def __init__(self, folder: Path, data: LabelledSet) -> None:
        self.folder, self.data = folder, data

    def answer(self, index: int, size: Size) -> Answer:
        """Read three of the four files of an image; see :class:`Answers`."""
        base = self.folder / self.data.name(index)
        path = base.with_name(f"{base.name}.json")
        contents = read_json(path)
        if not isinstance(contents, dict) or contents.get("format") != FORMAT:
            raise TriptychError(f"{path}: was not written by triptych predict")
        try:
            classes = Classes.from_list(
                [{k: v for k, v in entry.items() if k != "id"} for entry in contents["classes"]]
            )
            segments = tuple(
                Segment(s["id"], s["class_id"], s["class"], s["thing"], s["score"], s["area"])
                for s in contents["segments"]
            )
            instances = [
                Instance(
                    decode(i["segmentation"], size, path),
                    i["class_id"],
                    i["class"],
                    i["score"],
                    (0.0, 0.0, 0.0, 0.0),
                )
                for i in contents["instances"]
            ]
        except (KeyError, TypeError) as error:
            raise TriptychError(
                f"{path}: is damaged ({error!r}); predict the image again"
            ) from error
        match = match_classes(classes, self.data.classes)
        ids = read_numbers(base.with_name(f"{base.name}.semantic.png")).astype(np.int64)
        if ids.size and int(ids.max()) >= len(classes):
            raise TriptychError(f"{path}: the class map holds ids that are not listed here")
        coloured = torch.from_numpy(read_coloured(base.with_name(f"{base.name}.panoptic.png")))
        return Answer(
            match.semantic(torch.from_numpy(ids)),
            match.instances(instances),
            match.panoptic(PanopticMap(coloured, segments, classes)),
        )


class ToolAnswers:
    """Results of another tool, in the forms that the module tells."""

    def __init__(self, folder: Path, data: LabelledSet) -> None:
        self.folder, self.data = folder, data
        self._pictures: dict[Any, int] = {data.name(i): i for i in range(len(data))}
        self._classes: dict[Any, int | None] = {i: i for i in range(len(data.classes))}
        if isinstance(data, CocoInstances | CocoPanoptic):
            self._pictures |= {data.picture_id(i): i for i in range(len(data))}
            # What the class table leaves out is void, in truth and results alike.
            self._classes = {**data.schema.ids, **dict.fromkeys(data.schema.unlisted)}
        self._classes |= {name: i for i, name in enumerate(data.classes.names)}
        self._has_semantic = (folder / SEMANTIC).is_dir()
        self._panoptic = self._read_panoptic(folder / f"{PANOPTIC}.json")
        self._instances = self._read_instances(folder / f"{INSTANCES}.json")

    def answer(self, index: int, size: Size) -> Answer:
        """What the tool found in an image; see :class:`Answers`."""
        semantic = None
        if self._has_semantic:
            semantic = read_numbers(self.folder / SEMANTIC / f"{self.data.name(index)}.png")
        instances = None
        if self._instances is not None:
            path = self.folder / f"{INSTANCES}.json"
            instances = [
                self._instance(entry, class_id, size, path)
                for entry in self._instances.get(index, ())
                if (class_id := self._class(entry, path)) is not None
            ]
        return Answer(semantic, instances, self._partition(index))

    def _instance(
        self, entry: Mapping[str, Any], class_id: int, size: Size, path: Path
    ) -> Instance:
        mask = decode(entry["segmentation"], size, path)
        name = self.data.classes.names[class_id]
        return Instance(mask, class_id, name, float(entry["score"]), (0.0, 0.0, 0.0, 0.0))

    def _partition(self, index: int) -> PanopticMap | None:
        if self._panoptic is None:
            return None
        path = self.folder / f"{PANOPTIC}.json"
        if index not in self._panoptic:
            raise TriptychError(f"{path}: has no entry for image {self.data.name(index)}")
        entry = self._panoptic[index]
        ids = torch.from_numpy(read_coloured(self.folder / PANOPTIC / entry["file_name"]))
        classes = self.data.classes
        found: dict[tuple[int, int], Segment] = {}
        for info in entry["segments_info"]:
            class_id = self._class(info, path)
            if class_id is None:
                ids = torch.where(ids == info["id"], 0, ids)
                continue
            name, thing = classes.names[class_id], classes.is_thing[class_id]
            area = int((ids == info["id"]).sum())
            # Stuff of two categories that the class table merges is one segment.
            key = (class_id, info["id"] if thing else 0)
            if key in found:
                ids = torch.where(ids == info["id"], found[key].id, ids)
                area += found[key].area
            number = found[key].id if key in found else info["id"]
            found[key] = Segment(number, class_id, name, thing, 1.0, area)
        return PanopticMap(ids, tuple(found.values()), classes)

    def _read_panoptic(self, path: Path) -> dict[int, Any] | None:
        if not path.is_file():
            return None
        contents = read_json(path)
        entries = contents.get("annotations") if isinstance(contents, dict) else contents
        wanted = {"image_id", "file_name", "segments_info"}
        return {self._picture(e, path): e for e in _checked(entries, wanted, path)}

    def _read_instances(self, path: Path) -> dict[int, list[Any]] | None:
        if not path.is_file():
            return None
        found = defaultdict(list)
        wanted = {"image_id", "category_id", "score", "segmentation"}
        for entry in _checked(read_json(path), wanted, path):
            found[self._picture(entry, path)].append(entry)
        return dict(found)

    def _picture(self, entry: Mapping[str, Any], path: Path) -> int:
        if entry["image_id"] not in self._pictures:
            raise TriptychError(f"{path}: the data have no image {entry['image_id']!r}")
        return self._pictures[entry["image_id"]]

    def _class(self, entry: Mapping[str, Any], path: Path) -> int | None:
        """The data's class of a result; None for a category that the class table leaves out."""
        category = entry.get("category_id")
        if category not in self._classes:
            raise TriptychError(f"{path}: the data have no category {category!r}")
        return self._classes[category]


def _checked(entries: Any, wanted: set[str], path: Path) -> Sequence[Mapping[str, Any]]:
    if not isinstance(entries, list):
        raise TriptychError(f"{path}: expected a list of results")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not wanted <= entry.keys():
            raise TriptychError(f"{path}: result {number} lacks one of {', '.join(sorted(wanted))}")
    return entries


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        TriptychError: it is missing, unreadable or no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise TriptychError(f"{path}: no such file; predict that image first") from error
    except (OSError, ValueError) as error:
        raise TriptychError(f"{path}: cannot be read ({error})") from error


def decode(segmentation: Any, size: Size, path: Path) -> torch.Tensor:
    """A mask ``(H, W)`` bool from COCO's run lengths or polygons.

    Raises:
        TriptychError: it is neither, or of another size.
    """
    height, width = size
    try:
        if isinstance(segmentation, list):
            segmentation = rle.merge(rle.fr_py_objects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            segmentation = rle.fr_py_objects(segmentation, height, width)
        elif isinstance(segmentation["counts"], str):
            segmentation = {**segmentation, "counts": segmentation["counts"].encode("ascii")}
        mask = np.asarray(rle.decode(segmentation), bool)
    except (TypeError, KeyError, ValueError) as error:
        raise TriptychError(f"{path}: a segmentation cannot be read ({error})") from error
    if mask.shape != size:
        raise TriptychError(
            f"{path}: a mask is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}"
        )
    return torch.from_numpy(mask)
