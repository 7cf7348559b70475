"""Composites: objects of COCO on frames of CamVid, whose objects nobody told apart."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from triptych.class_table import ClassTable
from triptych.data.camvid import CLASSES
from triptych.data.composites import CompositeSet, panoptic_truth
from triptych.data.sets.base import DiskSet, Note, refuse
from triptych.data.sets.layout import AsPacked, DataLayout, Splits
from triptych.errors import TriptychError
from triptych.truth import Example, Truth

CAMVID_SPLITS = ("train", "val", "test")


class Composites(DiskSet):
    """One composite for each frame of a split of CamVid, the same ones every time.

    Objects come from COCO's split val, which no recipe trains on; see
    :class:`triptych.data.composites.CompositeSet` for what their truth is worth.
    """

    classes = CLASSES
    instances = panoptic = True

    def __init__(self, root: Path, split: str) -> None:
        self.title = f"composites in {root}: objects of COCO val on frames of CamVid {split}"
        made = CompositeSet(root, camvid_split=split, coco_split="val", count=1)
        made.count = len(made.frames)
        self._made = made

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._made)

    def image(self, index: int) -> Path:
        """The frame below composite ``index``."""
        return self._made.frames.files[index]

    def name(self, index: int) -> str:
        """The name of the frame."""
        return self.image(index).stem

    def truth(self, index: int, note: Note = refuse) -> Truth:
        """Paste again; there is no file that could be at fault."""
        scene = self._made.scene(index)
        return Truth(scene.semantic(), panoptic_truth(scene))

    def read(self, index: int, note: Note = refuse) -> Example:
        """The composite and its truth: its picture is not the frame that :meth:`image` names."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        scene = self._made.scene(index)
        return Example(torch.from_numpy(scene.pixels), scene.semantic(), panoptic_truth(scene))


def find(root: Path, own: ClassTable | None) -> Splits:
    """The splits of CamVid, where COCO lies beside it."""
    if not (root / "coco" / "val" / "instances.json").is_file():
        return {}
    splits = [name for name in CAMVID_SPLITS if (root / "camvid" / name / "labels").is_dir()]
    if splits and own is not None:
        raise TriptychError("classes: composites have CamVid's classes; leave them out")
    return {split: functools.partial(Composites, root, split) for split in splits}


LAYOUT = DataLayout(
    "composites",
    "composites of CamVid and COCO",
    "camvid/{train,val,test} and coco/val beside each other",
    find,
    AsPacked,
)
