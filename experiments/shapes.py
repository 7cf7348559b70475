"""A data set to learn in minutes: discs, squares and triangles before a wall and on a floor.

    python -m experiments.shapes FOLDER

Pictures are drawn, so that nothing has to be fetched and the truth is exact, and a few hundred
steps on one core tell networks apart. Still all three tasks are there: stuff that only texture and
place tell apart, things whose colour tells nothing of their class, objects of one class that touch
and cover each other.

The folder has COCO's panoptic layout; ``things.yaml`` in it describes the same pictures with the
outlines of things alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from triptych.atomic import atomic_write
from triptych.render.run_lengths import encode_mask

NAMES = ("disc", "square", "triangle", "wall", "floor")
THINGS = 3
HEIGHT, WIDTH = 96, 128
MAXIMUM, MIN_SIZE, LARGEST_SIZE = 7, 12, 34
THINGS_FILE = "things.yaml"
VISIBLE = 30
"""Pixels of an object that must be in sight; what is hidden more than that is not drawn."""

Pixels = NDArray[np.uint8]
Plane = NDArray[np.bool_]


def outline(kind: int, random: np.random.Generator) -> Plane:
    """A mask ``(H, W)`` of a shape at random place, size and turn."""
    size = random.uniform(MIN_SIZE, LARGEST_SIZE) / 2
    x, y = random.uniform(0, WIDTH), random.uniform(0.25 * HEIGHT, HEIGHT)
    picture = Image.new("1", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(picture)
    if kind == 0:
        pen.ellipse((x - size, y - size, x + size, y + size), fill=1)
    else:
        corners = (4, 3)[kind - 1]
        turn = random.uniform(0, 2 * np.pi)
        angles = turn + 2 * np.pi * np.arange(corners) / corners
        ends = np.stack([x + 1.2 * size * np.cos(angles), y + 1.2 * size * np.sin(angles)], 1)
        pen.polygon([tuple(end) for end in ends.tolist()], fill=1)
    return np.array(picture)


def scene(random: np.random.Generator) -> tuple[Pixels, NDArray[np.int32], list[int]]:
    """A picture, its segment ids ``(H, W)`` from 1 on, and the class of each id."""
    horizon = int(random.uniform(0.25, 0.6) * HEIGHT)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.empty((HEIGHT, WIDTH, 3))
    # The wall is striped in two colours, the floor has their mean.
    tone, other = random.uniform(40, 215, 3), random.uniform(40, 215, 3)
    stripe = int(random.integers(4, 9))
    across = ((columns if random.random() < 0.5 else rows) // stripe % 2)[..., None]
    wall = rows[..., None] < horizon
    pixels[:] = np.where(wall, np.where(across, tone, other), 0.5 * (tone + other))
    ids = np.where(wall[..., 0], 1, 2).astype(np.int32)
    kinds = [3, 4]
    for _ in range(int(random.integers(2, MAXIMUM + 1))):
        kind = int(random.integers(THINGS))
        mask = outline(kind, random)
        covered = [int((ids[~mask] == number).sum()) for number in range(1, len(kinds) + 1)]
        if mask.sum() < VISIBLE or min(covered) < VISIBLE:
            continue
        kinds.append(kind)
        ids[mask] = len(kinds)
        pixels[mask] = random.uniform(0, 255, 3)
    pixels += random.normal(0, 12, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8), ids, kinds


def write(folder: Path, counts: dict[str, int]) -> Path:
    """Draw the data set, unless it is there already.

    Args:
        folder: where to.
        counts: pictures of each split.

    Returns:
        ``folder``.
    """
    if (folder / THINGS_FILE).is_file():  # written last
        return folder
    for number, (split, count) in enumerate(counts.items()):
        _write_split(folder, split, np.random.default_rng(number), count)
    with atomic_write(folder / THINGS_FILE) as path:
        path.write_text(
            "layout: coco-instances\nimages: '{split}'\n"
            "annotations: annotations/instances_{split}.json\n"
            f"splits: {json.dumps(list(counts))}\nclasses: {json.dumps(NAMES[:THINGS])}\n",
            encoding="utf-8",
        )
    return folder


def _write_split(folder: Path, split: str, random: np.random.Generator, count: int) -> None:
    maps = folder / "annotations" / f"panoptic_{split}"
    for made in (folder / split, maps):
        made.mkdir(parents=True, exist_ok=True)
    images: list[Any] = []
    segments: list[Any] = []
    objects: list[Any] = []
    for number in range(count):
        pixels, ids, kinds = scene(random)
        name = f"{number:05d}"
        Image.fromarray(pixels).save(folder / split / f"{name}.png")
        coloured = np.stack([ids, 0 * ids, 0 * ids], -1).astype(np.uint8)
        Image.fromarray(coloured).save(maps / f"{name}.png")
        images.append({"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH})
        parts = []
        for place, kind in enumerate(kinds, 1):
            mask = ids == place
            parts.append(
                {"id": place, "category_id": kind + 1, "iscrowd": 0, "area": int(mask.sum())}
            )
            if kind < THINGS:
                code = encode_mask(mask)
                objects.append(
                    {
                        "id": len(objects) + 1,
                        "image_id": number,
                        "category_id": kind + 1,
                        "iscrowd": 0,
                        "area": int(mask.sum()),
                        "segmentation": {**code, "counts": code["counts"].decode("ascii")},
                    }
                )
        segments.append({"image_id": number, "file_name": f"{name}.png", "segments_info": parts})
    categories = [{"id": k + 1, "name": n, "isthing": int(k < THINGS)} for k, n in enumerate(NAMES)]
    for truth, entries in (("panoptic", segments), ("instances", objects)):
        contents = {"images": images, "annotations": entries, "categories": categories}
        file = folder / "annotations" / f"{truth}_{split}.json"
        file.write_text(json.dumps(contents), encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Draw 600 pictures for training and 100 for validation."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m experiments.shapes FOLDER")
    print(write(Path(arguments[0]), {"train": 600, "val": 100}))


if __name__ == "__main__":
    main(sys.argv[1:])
