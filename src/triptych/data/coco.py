"""Objects of COCO (Lin et al. 2014) that can stand in a street, by their annotations alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from triptych.data.camvid import BICYCLIST, CAR, PEDESTRIAN
from triptych.errors import TriptychError

SOURCES = {
    "car": (CAR, 1.0),
    "bus": (CAR, 1.9),
    "truck": (CAR, 1.6),
    "person": (PEDESTRIAN, 1.0),
}
"""COCO name to CamVid class (whose "car" covers vans, trucks and buses) and to the height of the
object in comparison with a typical one of that class."""

RIDDEN = ("bicycle", "motorcycle")
"""A person over one of these is a bicyclist, outline and vehicle together."""

MIN_HEIGHT = {CAR: 24, PEDESTRIAN: 40, BICYCLIST: 40}
"""Pixels in the COCO image: smaller objects have too little detail to paste."""

MIN_FILL = {CAR: 0.6, PEDESTRIAN: 0.3, BICYCLIST: 0.3}
"""Area over box area: of thinner shapes most is hidden behind something else."""

MAX_FILL = {CAR: 1.0, PEDESTRIAN: 0.72, BICYCLIST: 0.9}
"""People who fill their box are cut off at the waist."""

WIDTH_OVER_HEIGHT = {CAR: (0.55, 3.2), PEDESTRIAN: (0.2, 0.5), BICYCLIST: (0.25, 1.5)}
"""Proportions of whole objects in a street; people who sit, lie or are cut at the waist are not."""

Sides = frozenset[Literal["left", "right"]]


@dataclass(frozen=True, eq=False)
class Outline:
    """Where an object lies in a COCO image. The truth stays as annotated until it is needed."""

    image: Path
    class_id: int
    parts: tuple[Any, ...]
    """COCO segmentations, whose union is the object: lists of polygons, or run lengths."""

    box: tuple[int, int, int, int]
    """Left, top, right, bottom in whole pixels, right and bottom exclusive."""

    tallness: float
    """Height in comparison with a typical object of the class."""

    cut: Sides
    """Borders of the image that cut the object."""


def read_outlines(folder: Path) -> list[Outline]:
    """The objects of one COCO split that can stand in a street, in the order of their images.

    Left out are crowds, objects cut by the upper or lower border of their image, small ones, and
    those that are mostly hidden or in no posture for a street.

    Args:
        folder: holds ``images`` and ``instances.json``.

    Raises:
        TriptychError: the annotation file is missing or no COCO file.
    """
    path = folder / "instances.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = {entry["id"]: entry["name"] for entry in document["categories"]}
        images = {entry["id"]: entry for entry in document["images"]}
        by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in document["annotations"]:
            if not annotation["iscrowd"] and min(annotation["bbox"][2:]) > 0:
                by_image.setdefault(annotation["image_id"], []).append(annotation)
        found = []
        for number in sorted(by_image):
            image, all_here = images[number], by_image[number]
            size = (image["width"], image["height"])
            file = folder / "images" / image["file_name"]
            for class_id, tallness, parts in _objects(all_here, names):
                outline = _outline(file, class_id, tallness, parts, size)
                others = [a["bbox"] for a in all_here if a not in parts]
                if _usable(outline, parts, others, size):
                    found.append(outline)
    except OSError as error:
        raise TriptychError(
            f"cannot read {path}: {error.strerror}; set the data root to the folder with coco/"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise TriptychError(
            f"{path} is no COCO instance file ({type(error).__name__}: {error}); replace it"
        ) from error
    return found


def _objects(
    annotations: list[dict[str, Any]], names: dict[int, str]
) -> Iterable[tuple[int, float, list[dict[str, Any]]]]:
    """Class, tallness and annotations of each object; a rider counts with what is ridden."""
    rides = [a for a in annotations if names[a["category_id"]] in RIDDEN]
    for annotation in annotations:
        name = names[annotation["category_id"]]
        if name not in SOURCES:
            continue
        class_id, tallness = SOURCES[name]
        if class_id != PEDESTRIAN:
            yield class_id, tallness, [annotation]
            continue
        near = [ride for ride in rides if _overlap(annotation["bbox"], ride["bbox"])]
        mounted = [ride for ride in near if _mounted(annotation["bbox"], ride["bbox"])]
        if len(mounted) == 1:
            yield BICYCLIST, tallness, [annotation, mounted[0]]
        elif not near:  # beside a bicycle a person may be hidden by it, or push it: left out
            yield class_id, tallness, [annotation]


def _overlap(one: list[float], other: list[float]) -> bool:
    """Whether two boxes ``x, y, w, h`` overlap."""
    return all(
        one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]
        for axis in (0, 1)
    )


def _mounted(person: list[float], ride: list[float]) -> bool:
    """Whether a person's box ``x, y, w, h`` lies over that of a bicycle as a rider's does."""
    left, top, width, height = person
    ride_left, ride_top, ride_width, ride_height = ride
    aside = abs(left + width / 2 - ride_left - ride_width / 2) / ride_width
    head = (ride_top - top) / height
    feet = (top + height - ride_top) / ride_height
    return (
        aside < 0.25
        and 0.2 < head < 0.65
        and 0.5 < feet < 1.05
        and 0.5 < ride_height / height < 1.25
    )


def _outline(
    image: Path,
    class_id: int,
    tallness: float,
    parts: list[dict[str, Any]],
    size: tuple[int, int],
) -> Outline:
    boxes = np.array([part["bbox"] for part in parts])
    left, top = np.floor(boxes[:, :2].min(0)).astype(int).clip(0).tolist()
    far = np.ceil((boxes[:, :2] + boxes[:, 2:]).max(0)).astype(int)
    right, bottom = np.minimum(far, size).tolist()
    box = (left, top, right, bottom)
    segmentations = tuple(part["segmentation"] for part in parts)
    sides: dict[Literal["left", "right"], bool] = {"left": left <= 1, "right": right >= size[0] - 1}
    cut = frozenset(side for side, is_cut in sides.items() if is_cut)
    return Outline(image, class_id, segmentations, box, tallness, cut)


def _usable(
    outline: Outline,
    parts: list[dict[str, Any]],
    others: list[list[float]],
    size: tuple[int, int],
) -> bool:
    """Whether all of an object can be seen, as far as annotations tell, and in a fit posture."""
    left, top, right, bottom = outline.box
    width, height = right - left, bottom - top
    if height < MIN_HEIGHT[outline.class_id] or width < 4:
        return False
    if top <= 1 or bottom >= size[1] - 1 or len(outline.cut) > 1:
        return False
    narrow, wide = WIDTH_OVER_HEIGHT[outline.class_id]
    fill = sum(part["area"] for part in parts) / (width * height)
    if not narrow <= width / height <= wide:
        return False
    if not MIN_FILL[outline.class_id] <= fill <= MAX_FILL[outline.class_id]:
        return False
    if outline.class_id == PEDESTRIAN:
        pieces = parts[0]["segmentation"]
        if outline.cut or (isinstance(pieces, list) and len(pieces) > 1):
            return False  # half a person, or one with something across
        return not any(_hides_feet(other, outline.box) for other in others)
    return True


def _hides_feet(other: list[float], box: tuple[int, int, int, int]) -> bool:
    """Whether the box ``x, y, w, h`` of another object is large, nearer, and before the feet."""
    left, top, right, bottom = box
    x, y, width, height = other
    before = x < (left + right) / 2 < x + width and y < bottom
    return before and height > 0.25 * (bottom - top) and y + height > bottom + 0.04 * (bottom - top)
