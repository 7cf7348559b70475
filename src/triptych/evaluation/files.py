"""Results on disk, of ``triptych predict`` or of any other tool, as answers to compare with truth.

A folder of another tool holds one or more of

- ``semantic/NAME.png``: class ids, 0 to K - 1 in the order of the data's classes, 255 for none
  (65535 where there are more than 255 classes, in 16 bits);
- ``panoptic/NAME.png`` and ``panoptic.json``: COCO's panoptic format;
- ``instances.json``: COCO's results, a list of ``image_id``, ``category_id``, ``score`` and
  ``segmentation`` (run lengths or polygons).

``NAME`` is what the data set calls the image: its path without suffix. Categories are those of the
data set's own JSON file where it has one, else class ids or class names; so are images.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from triptych.classes import Classes
from triptych.data.sets.base import LabelledSet
from triptych.data.sets.coco_panoptic import COLOURS
from triptych.data.sets.numbers import read_coloured, read_numbers
from triptych.data.sets.values import shown, whole
from triptych.errors import TriptychError
from triptych.evaluation import entries
from triptych.evaluation.answers import Answer, match_classes
from triptych.evaluation.entries import Size, read_json
from triptych.evaluation.tool_files import INSTANCES, PANOPTIC, SEMANTIC, ToolAnswers
from triptych.predict.files import FORMAT
from triptych.readings.instance import Instance
from triptych.readings.panoptic import PanopticMap, Segment


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
                _segment(entry, classes, f"{path}: segments[{place}]")
                for place, entry in enumerate(contents["segments"])
            )
            instances = [
                _instance(entry, classes, size, f"{path}: instances[{place}]")
                for place, entry in enumerate(contents["instances"])
            ]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise TriptychError(
                f"{path}: is damaged ({error!r}); predict the image again"
            ) from error
        match = match_classes(classes, self.data.classes)
        class_map = base.with_name(f"{base.name}.semantic.png")
        ids = read_numbers(class_map).astype(np.int64)
        entries.check_class_map(ids, size, len(classes), -1, class_map)
        segment_map = base.with_name(f"{base.name}.panoptic.png")
        coloured = read_coloured(segment_map)
        entries.check_size(coloured.shape, size, segment_map)
        entries.check_segments(coloured, [s.id for s in segments], segment_map, str(path))
        return Answer(
            match.semantic(torch.from_numpy(ids)),
            match.instances(instances),
            match.panoptic(PanopticMap(torch.from_numpy(coloured), segments, classes)),
        )


def _class_id(entry: Mapping[str, Any], classes: Classes, where: str) -> int:
    class_id = whole(entry["class_id"], 0, len(classes) - 1)
    if class_id is None:
        raise TriptychError(f"{where}: class_id is {shown(entry['class_id'])}; it is damaged")
    return class_id


def _segment(entry: Mapping[str, Any], classes: Classes, where: str) -> Segment:
    class_id, number = _class_id(entry, classes, where), whole(entry["id"], 1, COLOURS - 1)
    if number is None:
        raise TriptychError(f"{where}: id is {shown(entry['id'])}; it is damaged")
    name, thing = classes.names[class_id], classes.is_thing[class_id]
    return Segment(number, class_id, name, thing, entries.score(entry, where), entry["area"])


def _instance(entry: Mapping[str, Any], classes: Classes, size: Size, where: str) -> Instance:
    class_id, score = _class_id(entry, classes, where), entries.score(entry, where)
    name = classes.names[class_id]
    return entries.instance(entry["segmentation"], size, class_id, name, score, where)
