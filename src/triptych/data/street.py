"""What the model ``street`` is trained and measured on: CamVid frames with pasted COCO objects."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from triptych.data.augment import Light, View, random_light, random_view
from triptych.data.camvid import CLASSES, CamVidScenes, CamVidSet
from triptych.data.composites import CompositeSet
from triptych.data.cutouts import CocoCutouts, FrameCutouts, Mixture
from triptych.data.paste import compose
from triptych.data.scene import Scene, to_targets
from triptych.data.targets import IGNORE, Sample
from triptych.errors import TriptychError
from triptych.train.evaluate import Example


class StreetDataset(Dataset[Sample]):
    """Endless random views of composites.

    ``dataset[index]`` depends on the arguments and ``index`` alone, for any index from 0 on:
    every ``len(dataset)`` indices visit each frame once, in an order of their own.

    Args:
        root: folder that holds ``camvid/`` and ``coco/``.
        seed: of everything random.
        split: split of CamVid.
        coco_split: split of COCO that objects come from.
        paste: greatest number of pasted objects; each frame gets 0 to ``paste`` of them.
        own: share of pasted objects that come from other CamVid frames instead of COCO.
        crop: ``(height, width)`` of a sample.
        scale: least and greatest enlargement of a frame.
        light: strengths of photometric changes, see :class:`Light`.

    Raises:
        TriptychError: data are missing or broken (the message names the file), or an argument is
            out of range.
    """

    classes = CLASSES

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
        light: dict[str, float] | None = None,
    ) -> None:
        if paste < 0 or not 0 <= own <= 1:
            raise TriptychError(
                f"paste {paste} and own {own}: paste is a number of objects, own a share of them"
            )
        self.root = Path(root)
        self.frames = CamVidScenes(self.root / "camvid", split)
        self.cutouts = Mixture(
            CocoCutouts(self.root / "coco", coco_split), FrameCutouts(self.frames), own
        )
        self.seed, self.paste = seed, paste
        self.view = View(tuple(crop), tuple(scale))  # type: ignore[arg-type]  # View checks
        self.light = Light(**(light or {}))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        scene, number = self.scene(index)
        pixels = torch.from_numpy(scene.pixels).permute(2, 0, 1).contiguous()
        return Sample(pixels, to_targets(scene, CLASSES.thing_ids), self.frames.files[number].stem)

    def scene(self, index: int) -> tuple[Scene, int]:
        """The augmented composite behind a sample, and the number of its frame."""
        epoch, position = divmod(index, len(self.frames))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.frames))
        number = int(order[position])
        random = np.random.default_rng([self.seed, epoch, position])
        count = int(random.integers(self.paste + 1))
        scene = compose(self.frames[number], self.cutouts.draw, count, random)
        scene = random_view(scene, self.view, random)
        lit = random_light(scene.pixels, self.light, random)
        return Scene(lit, scene.regions, scene.owners, scene.classes), number

    def examples(
        self,
        *,
        composites: int = 101,
        frames: int | None = None,
        split: str = "val",
        coco_split: str = "val",
    ) -> Iterator[Example]:
        """Images to measure on: composites with panoptic truth, then CamVid frames without.

        Where there are frames, composites are left out of mIoU, so that each figure is that of
        one kind of image.

        Args:
            composites: number of composites, see :class:`CompositeSet`.
            frames: number of plain frames, all by default.
            split: split of CamVid.
            coco_split: split of COCO.

        Raises:
            TriptychError: data are missing or broken.
        """
        plain = CamVidSet(self.root / "camvid", split)
        shown = len(plain) if frames is None else min(frames, len(plain))
        made: Iterator[Example] = iter(())
        if composites:
            fixed = CompositeSet(
                self.root, camvid_split=split, coco_split=coco_split, count=composites
            )
            made = (fixed[index] for index in range(composites))
            if shown:
                made = (_without_semantic(example) for example in made)
        return itertools.chain(made, (_plain_example(plain, index) for index in range(shown)))


def _without_semantic(example: Example) -> Example:
    return dataclasses.replace(example, semantic=np.full_like(example.semantic, IGNORE))


def _plain_example(frames: CamVidSet, index: int) -> Example:
    image, ids = frames[index]
    return Example(image, ids.numpy())
