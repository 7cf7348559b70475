"""What ``street`` is trained on: composites on CamVid, and photographs of COCO under a class table.

Three parts, interleaved by fixed shares:

- composites: CamVid frames with objects cut out of COCO (:mod:`triptych.data.street`);
- dense: photographs with panoptic truth;
- outlined: photographs of which only cars, pedestrians and signs are known.

Sets of photographs are YAML files whose class tables give them classes of ``street``. A class that
a set does not have is one that nobody labelled there, and no query is told that it is absent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from triptych.data.camvid import CLASSES
from triptych.data.street import StreetDataset
from triptych.data.targets import Sample, Targets
from triptych.data.views import Views
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.truth import IGNORE

BLOCK = 20
"""Samples among which the shares hold; each block has an order of its own."""

MIN_KNOWN = 0.05
"""A dense photograph of which less than this share is known teaches little, and is left out."""


class StreetMix(Dataset[Sample]):
    """Endless random views of all parts.

    ``dataset[index]`` depends on the arguments and ``index`` alone, for any index from 0 on.

    Args:
        root: folder that holds ``camvid/``, ``coco/`` and the rest.
        seed: of everything random.
        crop: ``(height, width)`` of a sample.
        tilt: turn of the camera, in all parts, see :class:`triptych.data.augment.View`.
        light: strengths of photometric changes, in all parts.
        composites: further arguments of :class:`triptych.data.street.StreetDataset`.
        photographs: YAML file of each set of photographs, and its share of the samples; the rest
            are composites. A share is a multiple of 1 / :data:`BLOCK`.
        scale: least and greatest enlargement of photographs.
        held_out: every so-manyth photograph of a set is left out, to be measured on.
        preprocess: how the network is given images.

    Raises:
        TriptychError: data are missing, an argument is out of range, or a set has a class that
            ``street`` does not have.
    """

    classes = CLASSES
    semantic = True

    def __init__(
        self,
        root: str | Path,
        *,
        seed: int = 0,
        crop: Sequence[int] = (320, 416),
        tilt: float = 4.0,
        light: dict[str, float] | None = None,
        composites: Mapping[str, Any] | None = None,
        photographs: Mapping[str, float] | None = None,
        scale: Sequence[float] = (0.3, 2.0),
        held_out: int = 0,
        preprocess: Preprocess | None = None,
    ) -> None:
        given = dict(photographs or {})
        counts = [round(share * BLOCK) for share in given.values()]
        if min(counts, default=1) < 1 or sum(counts) > BLOCK:
            raise TriptychError(
                f"photographs: shares {list(given.values())} are multiples of 1/{BLOCK}, together "
                "at most 1"
            )
        every: dict[str, Any] = {"seed": seed, "crop": crop, "tilt": tilt, "light": light}
        self.seed = seed
        self.parts: list[Views | StreetDataset] = [
            StreetDataset(root, **every, **dict(composites or {}))
        ]
        self.tables: list[tuple[Tensor, Tensor] | None] = [None]
        for file in given:
            views = Views(
                file,
                split="train",
                held_out=held_out,
                scale=scale,
                preprocess=preprocess,
                **every,
            )
            if views.semantic:
                views.things = 0.0  # sky, trees and buildings are worth a view of their own
                views.numbers = [n for n in views.numbers if _known(views, n) >= MIN_KNOWN]
            self.parts.append(views)
            self.tables.append(_tables(file, views))
        self.counts = [BLOCK - sum(counts), *counts]

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Sample:
        place, inner = self.part(index)
        sample = self.parts[place][inner]
        table = self.tables[place]
        if table is None:
            return sample
        return dataclasses.replace(sample, targets=_in_our_classes(sample.targets, *table))

    def part(self, index: int) -> tuple[int, int]:
        """Which part a sample is of, and its index there: each part is gone through in order."""
        block, position = divmod(index, BLOCK)
        order = np.random.default_rng([self.seed, 1, block]).permutation(
            np.repeat(np.arange(len(self.counts)), self.counts)
        )
        place = int(order[position])
        before = int(np.count_nonzero(order[:position] == place))
        return place, block * self.counts[place] + before


def _known(views: Views, number: int) -> float:
    """The share of an image's pixels whose class is known."""
    semantic = views.data.truth(number).semantic
    return float((semantic != IGNORE).mean())


def _tables(file: str, views: Views) -> tuple[Tensor, Tensor]:
    """Class ids of ``street`` by those of a set ``(256,)``, and the classes nobody labelled there.

    Where the truth is a list of objects, that is all stuff as well.
    """
    for name in views.classes.names:
        if name not in CLASSES.names:
            raise TriptychError(f"{file}: street has no class {name!r}; change the class table")
    table = torch.full((256,), IGNORE)
    table[: len(views.classes)] = torch.tensor([CLASSES.index(n) for n in views.classes.names])
    labelled = [
        CLASSES.index(name)
        for name, thing in zip(views.classes.names, views.classes.is_thing, strict=True)
        if thing or views.semantic
    ]
    return table, torch.tensor([k for k in range(len(CLASSES)) if k not in labelled])


def _in_our_classes(targets: Targets, table: Tensor, unlabelled: Tensor) -> Targets:
    return dataclasses.replace(
        targets,
        class_ids=table[targets.class_ids],
        ambiguous_class_ids=table[targets.ambiguous_class_ids],
        semantic=table[targets.semantic],
        unlabelled=unlabelled,
    )
