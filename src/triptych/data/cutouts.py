"""Objects of COCO images, cut out by their outlines, to be pasted into street frames."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import hotcoco.mask
import numpy as np
from PIL import Image, ImageDraw

from triptych.data.camvid import BICYCLIST, CAR, CLASSES, PEDESTRIAN, CamVidScenes, read_pixels
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

MINIMAL_HEIGHT = {CAR: 24, PEDESTRIAN: 40, BICYCLIST: 40}
"""Pixels in the COCO image: smaller objects have too little detail to paste."""

MINIMAL_FILL = {CAR: 0.6, PEDESTRIAN: 0.3, BICYCLIST: 0.3}
"""Area over box area: of thinner shapes most is hidden behind something else."""

MAXIMAL_FILL = {CAR: 1.0, PEDESTRIAN: 0.72, BICYCLIST: 0.9}
"""People who fill their box are cut off at the waist."""

WIDTH_OVER_HEIGHT = {CAR: (0.55, 3.2), PEDESTRIAN: (0.2, 0.5), BICYCLIST: (0.25, 1.5)}
"""Proportions of whole objects in a street; people who sit, lie or are cut at the waist are not."""

LARGEST_SIDE = 256
"""Pixels. Cut-outs are kept no larger than this: frames need no larger ones."""

OVERSAMPLING = 4
"""Outlines are filled this much finer than the pixels, so that edges are soft by one pixel."""


CACHED = 512
"""Cut-outs kept in memory by each source, some 30 MB in all."""

MINIMAL_OWN_HEIGHT = 30
"""Pixels. Height of CamVid's own objects from which they are worth cutting out."""

FRAMES_TO_TRY = 4

ATTEMPTS = 8
"""Cut-outs looked at before one is taken that is dark or grey."""

MINIMAL_BRIGHTNESS = 36
"""Mean of the channels, 0 to 255."""

MINIMAL_COLOUR = 3
"""Mean difference of the greatest and the least channel, 0 to 255."""

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


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object without its surroundings."""

    picture: Image.Image
    """RGBA; alpha is the share of the pixel that belongs to the object."""

    class_id: int
    tallness: float
    """Height in comparison with a typical object of the class."""

    cut: Sides
    """Sides that an image border cuts: the object may only go to the same border of a frame."""


class CocoCutouts:
    """Objects of a COCO split that can stand in a street.

    Left out are crowds, objects cut by the upper or lower border of their image, small ones, and
    those that are mostly hidden or in no posture for a street.

    Args:
        root: the COCO folder, which holds ``SPLIT/images`` and ``SPLIT/instances.json``.
        split: one of these.

    Raises:
        TriptychError: the annotation file is missing or no COCO file, or a class has no object.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        folder = Path(root) / split
        self.outlines: dict[int, list[Outline]] = {CAR: [], PEDESTRIAN: [], BICYCLIST: []}
        for outline in _outlines(folder):
            self.outlines[outline.class_id].append(outline)
        for class_id, found in self.outlines.items():
            if not found:
                name = CLASSES.names[class_id]
                raise TriptychError(
                    f"{folder} has no {name} that could be pasted; use a larger part of COCO"
                )

    def draw(self, class_id: int, random: np.random.Generator) -> Cutout:
        """Choose an object of a class at random and cut it out.

        Night views and photographs without colour are passed over while there is choice.
        """
        found = self.outlines[class_id]
        for _ in range(ATTEMPTS):
            cutout = cut(found[int(random.integers(len(found)))])
            if presentable(cutout):
                break
        return cutout


def presentable(cutout: Cutout) -> bool:
    """Whether an object looks as by day and in colour."""
    pixels = np.asarray(cutout.picture)[::2, ::2]
    seen = pixels[pixels[..., 3] > 127][:, :3]
    if not len(seen):
        return False
    colour = float((seen.max(axis=1) - seen.min(axis=1)).mean())
    return float(seen.mean()) >= MINIMAL_BRIGHTNESS and colour >= MINIMAL_COLOUR


class FrameCutouts:
    """Objects of CamVid frames themselves, cut out by their labels.

    Only single objects of a fair size that no border cuts. Frames are looked into as they come.
    """

    def __init__(self, frames: CamVidScenes) -> None:
        self.frames = frames
        self._cached: dict[tuple[int, int], Cutout] = {}

    def draw(self, class_id: int, random: np.random.Generator) -> Cutout | None:
        """Choose an object of a class at random; None if a few frames have none."""
        for _ in range(FRAMES_TO_TRY):
            number = int(random.integers(len(self.frames)))
            fitting = self._fitting(number, class_id)
            if fitting:
                return self._cut(number, fitting[int(random.integers(len(fitting)))])
        return None

    def _fitting(self, number: int, class_id: int) -> list[int]:
        """Which objects of a frame are of the class, high enough, and clear of the border."""
        labels = self.frames.labels(number)
        height, width = labels.regions.shape
        return [
            which
            for which, (owner, (rows, columns)) in enumerate(
                zip(labels.owners, labels.boxes, strict=True)
            )
            if owner == class_id
            and rows.stop - rows.start >= MINIMAL_OWN_HEIGHT
            and rows.start > 0
            and columns.start > 0
            and rows.stop < height
            and columns.stop < width
        ]

    def _cut(self, number: int, which: int) -> Cutout:
        key = (number, which)
        if key not in self._cached:
            scene, box = self.frames[number], self.frames.labels(number).boxes[which]
            inside = scene.regions[box] == scene.classes + which
            picture = Image.fromarray(scene.pixels[box])
            picture.putalpha(Image.fromarray(inside * np.uint8(255)))
            if len(self._cached) >= CACHED:
                self._cached.pop(next(iter(self._cached)))
            self._cached[key] = Cutout(picture, scene.owners[which], 1.0, frozenset())
        return self._cached[key]


class Mixture:
    """Objects from both sources.

    Args:
        coco: the one that has every class.
        own: the other one.
        share: chance of the other one.
    """

    def __init__(self, coco: CocoCutouts, own: FrameCutouts, share: float) -> None:
        self.coco, self.own, self.share = coco, own, share

    def draw(self, class_id: int, random: np.random.Generator) -> Cutout:
        """Choose an object of a class at random."""
        if random.random() < self.share:
            cutout = self.own.draw(class_id, random)
            if cutout is not None:
                return cutout
        return self.coco.draw(class_id, random)


@functools.lru_cache(maxsize=CACHED)
def cut(outline: Outline) -> Cutout:
    """Cut an object out: decode its image and fill its outline, within its box only.

    Raises:
        TriptychError: the image cannot be read, or is smaller than its annotations say.
    """
    left, top, right, bottom = outline.box
    pixels = read_pixels(outline.image)
    if pixels.shape[0] < bottom or pixels.shape[1] < right:
        raise TriptychError(
            f"image {outline.image} is {pixels.shape[1]}x{pixels.shape[0]}: its annotations "
            "reach beyond; restore the file"
        )
    alpha = Image.new("L", (right - left, bottom - top))
    for part in outline.parts:
        drawn = _from_runs(part, outline.box) if isinstance(part, dict) else _fill(part, outline)
        alpha = Image.fromarray(np.maximum(np.asarray(alpha), np.asarray(drawn)))
    picture = Image.fromarray(pixels[top:bottom, left:right])
    picture.putalpha(alpha)
    if max(picture.size) > LARGEST_SIDE:
        shrink = LARGEST_SIDE / max(picture.size)
        size = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return Cutout(picture, outline.class_id, outline.tallness, outline.cut)


def _fill(polygons: list[list[float]], outline: Outline) -> Image.Image:
    """Alpha of the union of ``polygons`` (corners x, y, x, y, ...) within the outline's box."""
    left, top, right, bottom = outline.box
    size = (right - left, bottom - top)
    canvas = Image.new("L", (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        # Pillow fills pixels by their centres: coordinates move by half a pixel.
        corners = (np.asarray(polygon).reshape(-1, 2) - (left, top)) * OVERSAMPLING - 0.5
        draw.polygon([(float(x), float(y)) for x, y in corners], fill=255)
    return canvas.reduce(OVERSAMPLING)


def _from_runs(runs: dict[str, Any], box: tuple[int, int, int, int]) -> Image.Image:
    """Alpha of run lengths, compressed or not, within ``box``."""
    left, top, right, bottom = box
    if isinstance(runs["counts"], list):
        runs = hotcoco.mask.frPyObjects(runs, *runs["size"])
    mask = hotcoco.mask.decode(runs)[top:bottom, left:right]
    return Image.fromarray(np.ascontiguousarray(mask) * np.uint8(255))


def _outlines(folder: Path) -> Iterable[Outline]:
    path = folder / "instances.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = {entry["id"]: entry["name"] for entry in document["categories"]}
        images = {entry["id"]: entry for entry in document["images"]}
        by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in document["annotations"]:
            if not annotation["iscrowd"]:
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
    except (ValueError, KeyError, TypeError) as error:
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
    if height < MINIMAL_HEIGHT[outline.class_id] or width < 4:
        return False
    if top <= 1 or bottom >= size[1] - 1 or len(outline.cut) > 1:
        return False
    narrow, wide = WIDTH_OVER_HEIGHT[outline.class_id]
    fill = sum(part["area"] for part in parts) / (width * height)
    if not narrow <= width / height <= wide:
        return False
    if not MINIMAL_FILL[outline.class_id] <= fill <= MAXIMAL_FILL[outline.class_id]:
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
