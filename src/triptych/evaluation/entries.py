"""Single entries of results on disk, checked as strictly as truth is.

Each function refuses what has no meaning in one line that names the file and the entry.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.data.sets.base import FaultKind
from triptych.data.sets.outlines import encode
from triptych.data.sets.values import number, shown
from triptych.errors import TriptychError
from triptych.metrics.run_lengths import cut_mask
from triptych.readings.instance import PlacedInstance

Size = tuple[int, int]


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        TriptychError: it is missing, unreadable or no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise TriptychError(f"{path}: no such file; predict that image first") from error
    except (OSError, ValueError, RecursionError) as error:
        raise TriptychError(f"{path}: cannot be read ({error})") from error


def score(entry: Any, where: str) -> float:
    """How sure a result is.

    Raises:
        TriptychError: it is no finite number.
    """
    value = number(entry.get("score"))
    if value is None:
        raise TriptychError(f"{where}: score is {shown(entry.get('score'))}; give a finite number")
    return value


def instance(
    segmentation: Any, size: Size, class_id: int, name: str, score: float, where: str
) -> PlacedInstance:
    """An object from COCO's run lengths or polygons.

    Raises:
        TriptychError: they cannot be drawn on an image of ``size`` (H, W).
    """

    def tell(kind: FaultKind, what: str) -> None:
        if kind.grave:
            raise TriptychError(f"{where}: {what}")

    counts = encode(segmentation, *size, tell)
    if counts is None:
        raise TriptychError(f"{where}: it has no outline; leave it out, or give it a segmentation")
    cut, (left, top, right, bottom) = cut_mask(counts, size[0])
    box = (float(left), float(top), float(right), float(bottom))
    return PlacedInstance(torch.from_numpy(cut), size, class_id, name, score, box)


def check_class_map(
    ids: NDArray[np.integer], size: Size, classes: int, none: int, path: Path
) -> None:
    """Check a map of class ids.

    Raises:
        TriptychError: it is of another size than its image, or holds an id that is no class.
    """
    check_size(ids.shape, size, path)
    wrong = ids[(ids >= classes) & (ids != none)]
    if wrong.size:
        raise TriptychError(
            f"{path}: holds the class id {wrong[0]}; ids go from 0 to {classes - 1}, and {none} is "
            "none"
        )


def check_size(shape: tuple[int, ...], size: Size, path: Path) -> None:
    """Check that a map is as large as its image.

    Raises:
        TriptychError: it is not.
    """
    if tuple(shape) != tuple(size):
        raise TriptychError(
            f"{path}: is {shape[1]}x{shape[0]}, its image {size[1]}x{size[0]}; resize it"
        )


def check_segments(ids: NDArray[np.integer], listed: list[int], path: Path, where: str) -> None:
    """Check that the ids in a map are those that are listed.

    Raises:
        TriptychError: an id is in one of the two only, or listed twice.
    """
    present = set(np.unique(ids).tolist()) - {0}
    if len(set(listed)) < len(listed):
        twice = next(number for number in listed if listed.count(number) > 1)
        raise TriptychError(f"{where}: segment {twice} is listed twice; give each an id of its own")
    if present - set(listed):
        raise TriptychError(f"{path}: holds id {min(present - set(listed))}, which no segment has")
    if set(listed) - present:
        missing = min(set(listed) - present)
        raise TriptychError(f"{where}: segment {missing} has no pixel in {path}; leave it out")
