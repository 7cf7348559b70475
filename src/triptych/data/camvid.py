"""CamVid (Brostow et al. 2009), the 480x360 frames with 11 classes of the SegNet tutorial.

Folder layout: ``ROOT/{train,val,test}/{images,labels}``, images as JPEG or PNG, labels as PNG of
class ids with 11 for void, the two matched by their stem.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from triptych.classes import Classes
from triptych.data.components import OutlineLimits, single_components
from triptych.data.scene import Pixels, Regions, Scene
from triptych.errors import TriptychError
from triptych.truth import IGNORE

CLASS_NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
CLASSES = Classes.of(CLASS_NAMES, things=("car", "pedestrian", "bicyclist"))
VOID = 11
ROAD, PAVEMENT, CAR, PEDESTRIAN, BICYCLIST = 3, 4, 8, 9, 10
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

SINGLE_OBJECT = {
    CAR: (
        OutlineLimits(aspect=(0.7, 1.42), height=12, solidity=0.84, fill=0.72, lopsided=0.06),
        OutlineLimits(aspect=(1.42, 2.2), height=20, solidity=0.87, fill=0.68, lopsided=0.04),
        OutlineLimits(aspect=(0.42, 0.7), height=15, solidity=0.90, fill=0.80),  # buses and vans
        OutlineLimits(aspect=(0.12, 1.7), height=20, solidity=0.89, fill=0.745, cut=True),
    ),
    PEDESTRIAN: (
        OutlineLimits(aspect=(0.12, 0.4), height=18, solidity=0.60, fill=0.38),
        OutlineLimits(aspect=(0.12, 0.3), height=30, solidity=0.66, fill=0.45, cut=True),
    ),
    BICYCLIST: (
        OutlineLimits(aspect=(0.2, 0.45), height=16, solidity=0.64, fill=0.38),
        OutlineLimits(aspect=(0.45, 1.2), height=22, solidity=0.76, fill=0.45),  # from the side
        OutlineLimits(aspect=(0.2, 0.8), height=40, solidity=0.70, fill=0.45, cut=True),
    ),
}
"""Which components are taken for single objects. The limits were set by sorting all components of
the training split by these numbers and looking where wrong ones set in; of those accepted, about
one in thirty holds more than one object (mostly a person half behind another)."""


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in the order of their names.

    Raises:
        TriptychError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise TriptychError(f"no folder {folder}: name the root of the CamVid data")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise TriptychError(f"no images in {folder}: expected .jpg or .png files")
    return files


def read_pixels(path: Path) -> Pixels:
    """Decode an image to RGB ``(H, W, 3)``.

    Raises:
        TriptychError: the file is missing or broken.
    """
    try:
        # Pillow reads files in small pieces; one read is quicker.
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return np.array(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise TriptychError(f"cannot read image {path}: {error}; restore the file") from error


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Decode a label PNG to class ids ``(H, W)`` with :data:`IGNORE` for void.

    Raises:
        TriptychError: the file is missing, broken, not one plane of ids, or has unknown ids.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise TriptychError(
                    f"labels {path} have mode {image.mode}: expected one 8-bit plane of class ids"
                )
            labels = np.array(image)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise TriptychError(f"cannot read labels {path}: {error}; restore the file") from error
    highest = int(labels.max())
    if highest > VOID:
        raise TriptychError(f"labels {path} hold the id {highest}: CamVid has 0 to 10, and 11 void")
    labels[labels == VOID] = IGNORE
    return labels


@dataclass(frozen=True)
class FrameLabels:
    """What is known about one frame, without its pixels."""

    regions: Regions
    """``(H, W)``, coded as :mod:`triptych.data.scene` says; read-only."""

    owners: tuple[int, ...]
    boxes: tuple[tuple[slice, slice], ...]
    """Rows and columns of each single object."""


def split_things(semantic: NDArray[np.uint8]) -> FrameLabels:
    """Give every plausible single object among the things its own region code.

    Args:
        semantic: ``(H, W)`` class ids, :data:`IGNORE` where unknown.
    """
    regions = semantic.copy()
    owners: list[int] = []
    boxes: list[tuple[slice, slice]] = []
    for thing in CLASSES.thing_ids:
        for box, part in single_components(semantic == thing, SINGLE_OBJECT[thing]):
            code = len(CLASSES) + len(owners)
            if code < IGNORE:  # more would be specks
                regions[box][part] = code
                owners.append(thing)
                boxes.append(box)
    regions.setflags(write=False)
    return FrameLabels(regions, tuple(owners), tuple(boxes))


class CamVidScenes:
    """The frames of one split as scenes.

    Objects are told apart once a frame and kept in memory (173 kB a frame at 480x360); pixels are
    decoded each time.

    Args:
        root: the CamVid folder.
        split: ``train``, ``val`` or ``test``.
        split_objects: False leaves all things as regions of unknown split.

    Raises:
        TriptychError: the folder is missing or holds no image.
    """

    def __init__(self, root: str | Path, split: str, *, split_objects: bool = True) -> None:
        self.root, self.split, self.split_objects = Path(root), split, split_objects
        self.files = image_files(self.root / split / "images")
        self._known: dict[int, FrameLabels] = {}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Scene:
        """Frame ``index``.

        Raises:
            TriptychError: image or labels are missing or broken, or differ in size.
        """
        labels = self.labels(index)
        pixels = read_pixels(self.files[index])
        _same_size(pixels, labels.regions, self.files[index])
        return Scene(pixels, labels.regions, labels.owners, len(CLASSES))

    def labels(self, index: int) -> FrameLabels:
        """What is known about frame ``index``; raises as access by index does."""
        if index not in self._known:
            semantic = read_labels(_label_file(self.root, self.split, self.files[index]))
            self._known[index] = split_things(semantic) if self.split_objects else _as_is(semantic)
        return self._known[index]


class CamVidSet(Dataset[tuple[Tensor, Tensor]]):
    """Frames with dense labels, for mean intersection over union.

    Items are ``(pixels (H, W, 3) uint8, ids (H, W) int64)``; void is :data:`IGNORE`.
    """

    def __init__(self, root: str | Path, split: str = "val") -> None:
        self.root = Path(root)
        self.split = split
        self.files = image_files(self.root / split / "images")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path = self.files[index]
        pixels = read_pixels(path)
        labels = read_labels(_label_file(self.root, self.split, path))
        _same_size(pixels, labels, path)
        return torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))


def _label_file(root: Path, split: str, image: Path) -> Path:
    return root / split / "labels" / f"{image.stem}.png"


def _as_is(semantic: NDArray[np.uint8]) -> FrameLabels:
    semantic.setflags(write=False)
    return FrameLabels(semantic, (), ())


def _same_size(pixels: Pixels, labels: NDArray[np.uint8], path: Path) -> None:
    if pixels.shape[:2] != labels.shape:
        height, width = labels.shape
        raise TriptychError(
            f"image {path} is {pixels.shape[1]}x{pixels.shape[0]}, its labels {width}x{height}: "
            "the two must match"
        )
