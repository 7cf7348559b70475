"""What the model ``street`` is trained on: CamVid frames with pasted objects, in random views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from triptych.data.augment import Light, View, random_light, random_view
from triptych.data.camvid import CLASSES, CamVidScenes
from triptych.data.cutouts import CocoCutouts, FrameCutouts, Mixture
from triptych.data.paste import compose, paste_near
from triptych.data.scene import Scene, to_targets
from triptych.data.targets import Sample
from triptych.errors import TriptychError


class StreetDataset(Dataset[Sample]):
    """Endless random views of composites.

    ``dataset[index]`` depends on the arguments and ``index`` alone, for any index from 0 on:
    every ``len(dataset)`` indices visit each frame once (but see ``even_drives``), in an order of
    their own.

    Args:
        root: folder that holds ``camvid/`` and ``coco/``.
        seed: of everything random.
        split: split of CamVid.
        coco_split: split of COCO that objects come from.
        paste: greatest number of pasted objects; each frame gets 0 to ``paste`` of them.
        own: share of pasted objects that come from other CamVid frames instead of COCO.
        crop: ``(height, width)`` of a sample.
        scale: least and greatest enlargement of a frame.
        tilt: turn of the camera, see :class:`View`.
        near: chance that one more object, cut by the lower border of the frame, stands right before
            the camera.
        cutouts: more folders with ``images`` and ``instances.json`` that objects come from, below
            ``root``.
        light: strengths of photometric changes, see :class:`Light`.
        even_drives: visit the frames of short drives several times, so that each drive counts
            about as much as the longest one. Training frames are from three: 204 and 101 by day
            and 62 at dusk.

    Raises:
        TriptychError: data are missing or broken (the message names the file), or an argument is
            out of range.
    """

    classes = CLASSES
    semantic = True

    def __init__(
        self,
        root: str | Path,
        *,
        seed: int = 0,
        split: str = "train",
        coco_split: str = "train",
        paste: int = 6,
        own: float = 0.4,
        crop: Sequence[int] = (320, 416),
        scale: Sequence[float] = (0.6, 2.0),
        tilt: float = 0.0,
        near: float = 0.0,
        cutouts: Sequence[str] = (),
        light: dict[str, float] | None = None,
        even_drives: bool = False,
    ) -> None:
        if paste < 0 or not 0 <= own <= 1:
            raise TriptychError(
                f"paste {paste} and own {own}: paste is a number of objects, own a share of them"
            )
        if not 0 <= near <= 1:
            raise TriptychError(f"near {near}: a chance lies between 0 and 1")
        self.root = Path(root)
        self.frames = CamVidScenes(self.root / "camvid", split)
        self.cutouts = Mixture(
            CocoCutouts(self.root / "coco", coco_split, [self.root / more for more in cutouts]),
            FrameCutouts(self.frames),
            own,
        )
        self.visits = _even([_drive(file) for file in self.frames.files], even_drives)
        self.seed, self.paste, self.near = seed, paste, near
        self.view = View(tuple(crop), tuple(scale), tilt=tilt)  # type: ignore[arg-type]  # View checks
        self.light = Light.of(light or {})

    def __len__(self) -> int:
        return len(self.visits)

    def __getitem__(self, index: int) -> Sample:
        scene, number = self.scene(index)
        pixels = torch.from_numpy(scene.pixels).permute(2, 0, 1).contiguous()
        return Sample(pixels, to_targets(scene, CLASSES.thing_ids), self.frames.files[number].stem)

    def scene(self, index: int) -> tuple[Scene, int]:
        """The augmented composite behind a sample, and the number of its frame."""
        epoch, position = divmod(index, len(self.visits))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.visits))
        number = self.visits[int(order[position])]
        random = np.random.default_rng([self.seed, epoch, position])
        count = int(random.integers(self.paste + 1))
        scene = compose(self.frames[number], self.cutouts.draw, count, random)
        if self.near and random.random() < self.near:
            scene = paste_near(scene, self.cutouts.draw, random)
        scene = random_view(scene, self.view, random)
        lit = random_light(scene.pixels, self.light, random)
        return replace(scene, pixels=lit), number


def _drive(file: Path) -> str:
    """The recording that a frame belongs to: CamVid's file names begin with it."""
    return file.stem.partition("_")[0]


def _even(drives: Sequence[str], even: bool) -> list[int]:
    """Numbers of the frames to visit, those of short drives as often as makes up for it."""
    frames = Counter(drives)
    most = max(frames.values())
    return [
        number
        for number, name in enumerate(drives)
        for _ in range(round(most / frames[name]) if even else 1)
    ]
