"""A contact sheet of training samples, to see what the network will be taught.

    python -m triptych.data.preview sheet.png --root DATA

Single objects are outlined in bright colours of their own, things of unknown split are hatched
in white, unknown pixels are darkened. What is stuff shows faintly in the colour of its class.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from triptych.atomic import atomic_write
from triptych.data.composites import CompositeSet
from triptych.data.scene import Pixels, Scene
from triptych.data.street import StreetDataset
from triptych.errors import TriptychError
from triptych.truth import IGNORE

OUTLINES = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 160, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)],
    np.uint8,
)


def draw_scene(scene: Scene, enlarge: int = 2) -> Pixels:
    """Draw the ground truth of a scene over its pixels; the result is ``enlarge`` times as big."""
    pixels = scene.pixels.repeat(enlarge, 0).repeat(enlarge, 1)
    regions = scene.regions.repeat(enlarge, 0).repeat(enlarge, 1)
    colours = np.zeros((256, 3))
    colours[: scene.classes] = StreetDataset.classes.colours
    stuff = regions < scene.classes
    pixels[stuff] = 0.8 * pixels[stuff] + 0.2 * colours[regions[stuff]]
    pixels[regions == IGNORE] //= 3
    rows, columns = np.indices(regions.shape)
    unclear = np.isin(regions, StreetDataset.classes.thing_ids)
    pixels[unclear & ((rows + columns) % 8 < 2)] = 255
    for number in range(len(scene.owners)):
        inside = regions == scene.classes + number
        pixels[inside & ~ndimage.binary_erosion(inside, iterations=2)] = OUTLINES[number % 6]
    return pixels


def sheet(pictures: Iterable[Pixels], columns: int) -> Image.Image:
    """Put pictures of one size side by side, ``columns`` in a row."""
    tiles: list[NDArray[np.uint8]] = list(pictures)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    lines = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return Image.fromarray(np.vstack(lines))


def main(arguments: list[str] | None = None) -> int:
    """Write a contact sheet; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m triptych.data.preview", description=__doc__)
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--root", type=Path, required=True, help="folder with camvid/ and coco/")
    parser.add_argument("--first", type=int, default=0, help="first index (default 0)")
    parser.add_argument("--count", type=int, default=12, help="number of samples (default 12)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data set (default 0)")
    parser.add_argument(
        "--composites", action="store_true", help="the fixed set for measuring, not training views"
    )
    given = parser.parse_args(arguments)
    try:
        wanted = range(given.first, given.first + max(1, given.count))
        if given.composites:
            fixed = CompositeSet(given.root, count=wanted.stop, seed=given.seed)
            scenes = [fixed.scene(index) for index in wanted]
        else:
            views = StreetDataset(given.root, seed=given.seed)
            scenes = [views.scene(index)[0] for index in wanted]
        picture = sheet(map(draw_scene, scenes), columns=4)
        with atomic_write(given.out) as file:
            picture.save(file, "PNG")
    except TriptychError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
