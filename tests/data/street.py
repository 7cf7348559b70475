"""A folder of CamVid-like frames and COCO-like objects, drawn, small, and known to the pixel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SKY, BUILDING, ROAD, PAVEMENT, CAR, PEDESTRIAN, BICYCLIST, VOID = 0, 1, 3, 4, 8, 9, 10, 11
HEIGHT, WIDTH = 180, 240
HORIZON_ROW = 80


def frame(number: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels and CamVid ids: sky, buildings, a road between pavements, one car, a pair of cars."""
    ids = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    ids[40:HORIZON_ROW] = BUILDING
    ids[HORIZON_ROW:] = ROAD
    ids[HORIZON_ROW:, :40] = PAVEMENT
    ids[0, :5] = VOID
    ids[90:120, 60:95] = CAR  # alone
    ids[90:110, 150:176] = CAR  # two that touch
    ids[100:135, 170:215] = CAR
    ids[70:110, 10 + number : 20 + number] = PEDESTRIAN
    grain = np.random.default_rng(number).integers(-20, 20, (HEIGHT, WIDTH, 3))
    pixels = (ids[..., None].astype(int) * 18 + 30 + grain).clip(0, 255).astype(np.uint8)
    return pixels, ids


def write_frames(folder: Path, names: list[str]) -> None:
    """Write ``folder/{images,labels}``."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number, name in enumerate(names):
        pixels, ids = frame(number)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        Image.fromarray(ids).save(folder / "labels" / f"{name}.png")


def box_polygon(x: float, y: float, w: float, h: float) -> list[float]:
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def annotation(
    category: int, x: float, y: float, w: float, h: float, **more: Any
) -> dict[str, Any]:
    """A COCO annotation whose outline fills most of its box (a hexagon)."""
    outline = [x, y + 0.2 * h, x + 0.5 * w, y, x + w, y + 0.2 * h]
    outline += [x + w, y + 0.9 * h, x + 0.5 * w, y + h, x, y + 0.9 * h]
    return {
        "segmentation": [outline],
        "bbox": [x, y, w, h],
        "area": 0.85 * w * h,
        "iscrowd": 0,
        "category_id": category,
        "image_id": 1,
        **more,
    }


def slim(category: int, x: float, y: float, w: float, h: float, **more: Any) -> dict[str, Any]:
    """A COCO annotation that fills half its box, as a person does (a diamond)."""
    outline = [x + 0.5 * w, y, x + w, y + 0.5 * h, x + 0.5 * w, y + h, x, y + 0.5 * h]
    return annotation(category, x, y, w, h, segmentation=[outline], area=0.5 * w * h, **more)


PERSON_ID, BICYCLE_ID, CAR_ID, BUS_ID, CHAIR_ID = 1, 2, 3, 6, 62
CATEGORIES = [
    {"id": PERSON_ID, "name": "person"},
    {"id": BICYCLE_ID, "name": "bicycle"},
    {"id": CAR_ID, "name": "car"},
    {"id": BUS_ID, "name": "bus"},
    {"id": CHAIR_ID, "name": "chair"},
]
OBJECTS = [
    annotation(CAR_ID, 20, 20, 90, 60),
    slim(PERSON_ID, 140, 20, 32, 90),
    slim(PERSON_ID, 230, 20, 30, 80),  # rides
    slim(BICYCLE_ID, 210, 60, 70, 50),
]


def write_coco(folder: Path, annotations: list[dict[str, Any]] | None = None) -> None:
    """Write ``folder/images/1.png`` (320x200, coloured) and ``folder/instances.json``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 60, (200, 320, 3)) + np.array([150, 60, 20])
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / "1.png")
    document = {
        "images": [{"id": 1, "file_name": "1.png", "width": 320, "height": 200}],
        "categories": CATEGORIES,
        "annotations": OBJECTS if annotations is None else annotations,
    }
    (folder / "instances.json").write_text(json.dumps(document))


def write_street(root: Path) -> Path:
    """A root for every data set of this package: ``camvid/{train,val}``, ``coco/{train,val}``."""
    for split in ("train", "val"):
        write_frames(root / "camvid" / split, [f"f{number}" for number in range(3)])
        write_coco(root / "coco" / split)
    return root


@pytest.fixture(scope="session")
def street_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("street"))
