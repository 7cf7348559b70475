"""A fixed set of composites to measure instance and panoptic quality on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from triptych.data.camvid import CLASSES, CamVidScenes
from triptych.data.cutouts import CocoCutouts
from triptych.data.paste import compose
from triptych.data.scene import Scene
from triptych.errors import TriptychError
from triptych.truth import Example, PanopticTruth, TrueSegment


class CompositeSet(Dataset[Example]):
    """COCO objects pasted onto whole CamVid frames, the same ones at every call.

    The truth is exact for the pasted objects only. CamVid's own things are there as one crowd
    region a class, since nobody told them apart: finding them is neither right nor wrong. Stuff
    is CamVid's, less what the objects hide. Void stays void. Figures on this set are figures on
    composites, not on streets, and must be called so.

    Args:
        root: folder that holds ``camvid/`` and ``coco/``.
        camvid_split: split of the frames.
        coco_split: split of the objects.
        count: number of composites; frames are taken in turn, again from the first after the last.
        seed: composite ``i`` depends on ``(seed, i)`` and the data alone.
        objects: greatest number of objects on a frame; each has at least one, if it has a place.

    Raises:
        TriptychError: data are missing or broken; the message names the file.
    """

    classes = CLASSES

    def __init__(
        self,
        root: str | Path,
        *,
        camvid_split: str = "val",
        coco_split: str = "val",
        count: int = 101,
        seed: int = 0,
        objects: int = 6,
    ) -> None:
        if count < 1 or objects < 1:
            raise TriptychError(f"composites: count {count} and objects {objects} must be positive")
        self.frames = CamVidScenes(Path(root) / "camvid", camvid_split, split_objects=False)
        self.cutouts = CocoCutouts(Path(root) / "coco", coco_split)
        self.count, self.seed, self.objects = count, seed, objects

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.count:
            raise IndexError(index)
        scene = self.scene(index)
        return Example(torch.from_numpy(scene.pixels), scene.semantic(), panoptic_truth(scene))

    def scene(self, index: int) -> Scene:
        """Composite ``index``; its single objects are the pasted ones."""
        random = np.random.default_rng([self.seed, index])
        count = int(random.integers(1, self.objects + 1))
        frame = self.frames[index % len(self.frames)]
        return compose(frame, self.cutouts.draw, count, random)


def panoptic_truth(scene: Scene) -> PanopticTruth:
    """Stuff and single objects as segments, things of unknown split as one crowd a class."""
    table = scene.class_table()
    ids = scene.regions.astype(np.int32) + 1
    ids[ids == 256] = 0
    present = np.flatnonzero(scene.visible()[:255]).tolist()
    segments = [
        TrueSegment(code + 1, int(table[code]), code < scene.classes and CLASSES.is_thing[code])
        for code in present
    ]
    return PanopticTruth(ids, segments)
