"""Tiny data sets, written to disk in the layouts of the published ones."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from triptych.truth import Example, TrueInstance

HEIGHT, WIDTH = 12, 16


def segments(example: Example) -> list[tuple[int, bool, int]]:
    """``(class, crowd, pixels)`` of every segment, sorted."""
    truth = example.panoptic
    assert truth is not None
    return sorted((s.class_id, s.crowd, int((truth.ids == s.id).sum())) for s in truth.segments)


def objects(example: Example) -> Sequence[TrueInstance]:
    """The objects, which there must be."""
    assert example.instances is not None
    return example.instances


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """An image of noise, which no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def numbers(path: Path, values: ArrayLike, wide: bool = False) -> Path:
    """A label map, 16 bits if ``wide``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint16 if wide else np.uint8)).save(path)
    return path


def narrow(path: Path, values: np.ndarray, bits: int) -> Path:
    """A grey PNG of 1, 2 or 4 bits a sample, which Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    height, width = values.shape
    places = (values[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(places.reshape(height, width * bits).astype(bool), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def coloured(path: Path, ids: ArrayLike) -> Path:
    """A panoptic map, whose colours are ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = np.asarray(ids)
    digits = [ids % 256, ids // 256 % 256, ids // 65536]
    Image.fromarray(np.stack(digits, -1).astype(np.uint8)).save(path)
    return path


def halves(left: int, right: int) -> np.ndarray:
    """A map of two numbers, side by side."""
    values = np.full((HEIGHT, WIDTH), left)
    values[:, WIDTH // 2 :] = right
    return values


def box(x: float, y: float, w: float, h: float) -> list[list[float]]:
    """The outline of a box as COCO's polygons."""
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def annotation(image: int, category: int, outline: Any, **more: Any) -> dict[str, Any]:
    return {"id": 7, "image_id": image, "category_id": category, "segmentation": outline} | more


CATEGORIES = [{"id": 3, "name": "person"}, {"id": 9, "name": "tie"}, {"id": 5, "name": "car"}]


def coco_instances(root: Path, change: Callable[[dict[str, Any]], Any] = lambda _: None) -> Path:
    """Two images: a person with a tie and a crowd of cars; nothing. ``change`` edits the JSON."""
    runs = {"size": [HEIGHT, WIDTH], "counts": [144, 48]}
    for number in (1, 2):
        photo(root / "val" / "images" / f"{number}.png", number)
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "height": HEIGHT, "width": WIDTH} for n in (1, 2)
        ],
        "categories": [dict(category) for category in CATEGORIES],
        "annotations": [
            annotation(1, 9, box(2, 2, 2, 3), area=6.0, iscrowd=0, id=1),
            annotation(1, 3, box(0, 0, 6, 10), area=60.0, iscrowd=0, id=2),
            annotation(1, 5, runs, area=48.0, iscrowd=1, id=3),
        ],
    }
    change(content)
    (root / "val" / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def coco_panoptic(root: Path, change: Callable[[dict[str, Any]], Any] = lambda _: None) -> Path:
    """One image: sky 300 above, grass 7 below, cars 70000 and 8, two pixels of void."""
    photo(root / "val2017" / "a.png", 1)
    ids = np.full((HEIGHT, WIDTH), 300)
    ids[6:] = 7
    ids[4:8, 2:5] = 70000
    ids[4:8, 5:8] = 8
    ids[0, :2] = 0
    coloured(root / "annotations" / "panoptic_val2017" / "a.png", ids)
    segments = [
        {"id": 300, "category_id": 1, "iscrowd": 0, "area": int((ids == 300).sum())},
        {"id": 7, "category_id": 2, "iscrowd": 0, "area": int((ids == 7).sum())},
        {"id": 70000, "category_id": 4, "iscrowd": 0, "area": 12},
        {"id": 8, "category_id": 4, "iscrowd": 1, "area": 12},
    ]
    content = {
        "images": [{"id": "a", "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [
            {"id": 1, "name": "sky", "isthing": 0, "color": [0, 0, 255]},
            {"id": 2, "name": "grass", "isthing": 0, "color": [0, 255, 0]},
            {"id": 4, "name": "car", "isthing": 1, "color": [255, 0, 0]},
        ],
        "annotations": [{"image_id": "a", "file_name": "a.png", "segments_info": segments}],
    }
    change(content)
    file = root / "annotations" / "panoptic_val2017.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return root


def camvid(root: Path, split: str = "val", frames: int = 2) -> Path:
    """Frames with sky (0) to the left and void (11) to the right."""
    for number in range(frames):
        photo(root / split / "images" / f"0016E5_{number:05}.jpg", number)
        numbers(root / split / "labels" / f"0016E5_{number:05}.png", halves(0, 11))
    return root


def plain(root: Path, description: str = "", names: tuple[str, ...] = ("a", "b")) -> Path:
    """Images with labels 0 to the left and 1 to the right; returns the YAML file."""
    for seed, name in enumerate(names):
        photo(root / "images" / f"{name}.png", seed)
        numbers(root / "labels" / f"{name}.png", halves(0, 1))
    file = root / "mine.yaml"
    usual = "classes:\n  - name: road\n  - {name: car, thing: true}\n"
    file.write_text(
        "layout: folders\nimages: images\nlabels: labels\n" + (description or usual),
        encoding="utf-8",
    )
    return file
