"""Objects of COCO images, cut out by their outlines, to be pasted into street frames."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hotcoco.mask
import numpy as np
from PIL import Image, ImageChops, ImageDraw

from triptych.data.camvid import BICYCLIST, CAR, CLASSES, PEDESTRIAN, CamVidScenes, read_pixels
from triptych.data.coco import Outline, Sides, read_outlines
from triptych.errors import TriptychError

LARGEST_SIDE = 256
"""Pixels. Cut-outs are kept no larger than this: frames need no larger ones."""

OVERSAMPLING = 4
"""Outlines are filled this much finer than the pixels, so that edges are soft by one pixel."""

CACHED = 512
"""Cut-outs kept in memory by each source, some 30 MB in all."""

MIN_OWN_HEIGHT = 30
"""Pixels. Height of CamVid's own objects from which they are worth cutting out."""

FRAMES_TO_TRY = 4

ATTEMPTS = 8
"""Cut-outs looked at before one is taken that is dark or grey."""

MIN_BRIGHTNESS = 36
"""Mean of the channels, 0 to 255."""

MIN_COLOUR = 3
"""Mean difference of the greatest and the least channel, 0 to 255."""


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

    @functools.cached_property
    def presentable(self) -> bool:
        """Whether the object looks as by day and in colour."""
        pixels = np.asarray(self.picture)[::2, ::2]
        seen = pixels[pixels[..., 3] > 127][:, :3]
        if not len(seen):
            return False
        colour = float((seen.max(axis=1) - seen.min(axis=1)).mean())
        return float(seen.mean()) >= MIN_BRIGHTNESS and colour >= MIN_COLOUR


class CocoCutouts:
    """Objects of a COCO split that can stand in a street.

    Left out are crowds, objects cut by the upper or lower border of their image, small ones, and
    those that are mostly hidden or in no posture for a street.

    Args:
        root: the COCO folder, which holds ``SPLIT/images`` and ``SPLIT/instances.json``.
        split: one of these.
        more: other folders with ``images`` and ``instances.json``.

    Raises:
        TriptychError: the annotation file is missing or no COCO file, or a class has no object.
    """

    def __init__(self, root: str | Path, split: str, more: Sequence[Path] = ()) -> None:
        folder = Path(root) / split
        self.outlines: dict[int, list[Outline]] = {CAR: [], PEDESTRIAN: [], BICYCLIST: []}
        for place in (folder, *more):
            for outline in read_outlines(place):
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
            if cutout.presentable:
                break
        return cutout


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
            and rows.stop - rows.start >= MIN_OWN_HEIGHT
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
                del self._cached[next(iter(self._cached))]  # the one unused for the longest time
            self._cached[key] = Cutout(picture, scene.owners[which], 1.0, frozenset())
        self._cached[key] = self._cached.pop(key)
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
        try:
            drawn = (
                _from_runs(part, outline.box) if isinstance(part, dict) else _fill(part, outline)
            )
        except (ValueError, TypeError, KeyError) as error:
            raise TriptychError(
                f"an outline in image {outline.image} is neither polygons nor run lengths "
                f"({error}); correct its annotation"
            ) from error
        alpha = ImageChops.lighter(alpha, drawn)
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
