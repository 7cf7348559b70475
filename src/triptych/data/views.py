"""Training samples from any data set on disk: endless random views of its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from triptych.classes import Classes
from triptych.data.augment import PADDING, Light, View, ViewWindow, random_light, random_window
from triptych.data.scene import MIN_STUFF, MIN_VISIBLE, touching
from triptych.data.sets.open import open_set, open_splits
from triptych.data.targets import Sample, Targets
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.truth import IGNORE, VOID, Example, ignored_id, map_type

Mask = NDArray[np.bool_]

REDRAWN = 3
"""How often, at most, a view is drawn again because it shows no thing."""


class Views(Dataset[Sample]):
    """Endless random views of a split of a data set.

    ``dataset[index]`` depends on the arguments and ``index`` alone, for any index from 0 on:
    every ``len(dataset)`` indices visit each image once, in an order of their own, but for views
    that are drawn again.

    Args:
        root: the data set, as :func:`triptych.data.sets.open.open_set` takes it.
        seed: of everything random.
        split: which part; by default the only one, or the one for training.
        held_out: every so-manyth image is left out, for evaluation; 0: none.
        crop: ``(height, width)`` of a sample.
        scale: least and greatest enlargement of an image, on top of what ``preprocess`` does to
            its size, so that objects are as large as they will be in use.
        mirror: chance of a mirror image.
        tilt: turn of the camera, see :class:`View`.
        light: strengths of photometric changes, see :class:`Light`.
        things: chance that a view without any thing is drawn again, from an image chosen at
            random, up to :data:`REDRAWN` times. Where things are rare, most of the training would
            go by without one. 0 takes all views as they come.
        preprocess: how the network is given images.

    Raises:
        TriptychError: the data set cannot be opened or has no image, or an argument is out of
            range.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        seed: int = 0,
        split: str | None = None,
        held_out: int = 0,
        crop: Sequence[int] = (512, 512),
        scale: Sequence[float] = (0.5, 2.0),
        mirror: float = 0.5,
        tilt: float = 0.0,
        light: dict[str, float] | None = None,
        things: float = 0.8,
        preprocess: Preprocess | None = None,
    ) -> None:
        if not 0 <= things <= 1:
            raise TriptychError(f"things is {things}; a chance lies between 0 and 1")
        self.data = open_set(root, training_split(root) if split is None else split)
        self.classes: Classes = self.data.classes
        self.semantic = self.data.semantic
        self.numbers = part(len(self.data), held_out, evaluation=False)
        if not self.numbers:
            raise TriptychError(f"{self.data.title}: no image is left to train on")
        self.seed = seed
        self.view = View(tuple(crop), tuple(scale), mirror, tilt)  # type: ignore[arg-type]  # View checks
        self.light = Light.of(light or {})
        self.things = things if any(self.classes.is_thing) else 0.0
        self.preprocess = preprocess or Preprocess()

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        epoch, position = divmod(index, len(self))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self))
        number = self.numbers[int(order[position])]
        random = np.random.default_rng([self.seed, epoch, position])
        example, window, targets = self._view(number, random)
        for _ in range(REDRAWN):
            if shows_thing(targets, self.classes) or random.random() >= self.things:
                break
            number = self.numbers[int(random.integers(len(self)))]
            del example  # large images: never two at a time
            example, window, targets = self._view(number, random)
        seen = window.look(example.image.numpy(), Image.Resampling.BILINEAR, PADDING)
        seen = random_light(seen, self.light, random)
        return Sample(
            torch.from_numpy(seen).permute(2, 0, 1).contiguous(), targets, self.data.name(number)
        )

    def _view(
        self, number: int, random: np.random.Generator
    ) -> tuple[Example, ViewWindow, Targets]:
        """An image, a random window of it, and what is to be seen there."""
        example = self.data[number]
        height, width = example.image.shape[:2]
        goal = self.preprocess.plan((height, width)).valid_size
        enlarge = (goal[0] / height, goal[1] / width)
        window = random_window(example.semantic, self.view, random, enlarge)
        return example, window, view_targets(example, window, self.classes, dense=self.semantic)


def shows_thing(targets: Targets, classes: Classes) -> bool:
    """Whether there is a thing, told apart or not."""
    return any(classes.is_thing[class_id] for class_id in targets.all_class_ids.tolist())


def training_split(source: str | Path) -> str:
    """The only split of a data set, or the one for training.

    Raises:
        TriptychError: there is no such split, or no such data set.
    """
    names = list(open_splits(source))
    found = names if len(names) == 1 else [name for name in names if name.startswith("train")]
    if len(found) != 1:
        raise TriptychError(
            f"{source}: which split is for training? There are: {', '.join(names)}; name it by "
            "--override data.arguments.split=NAME"
        )
    return found[0]


def part(length: int, held_out: int, *, evaluation: bool) -> list[int]:
    """Indices of the images for training, or of those that are held out for evaluation.

    Raises:
        TriptychError: ``held_out`` is 1 (all of them), negative, or no whole number.
    """
    if type(held_out) is not int or held_out < 0 or held_out == 1:
        raise TriptychError(f"held_out is {held_out}; give 2 or more, or 0 to hold out none")
    if held_out == 0:
        return list(range(length))
    last = held_out - 1
    return [index for index in range(length) if (index % held_out == last) == evaluation]


def view_targets(example: Example, window: ViewWindow, classes: Classes, *, dense: bool) -> Targets:
    """What an image teaches in a view of it.

    Stuff is one segment a class. Things are the segments of the partition; the outlines, which
    may overlap, where there is none; and where objects are not told apart at all, ambiguous. So
    are crowds, and objects of which fewer than :data:`MIN_VISIBLE` pixels are on view.

    Args:
        example: image and truth.
        window: where to look.
        classes: of the truth.
        dense: False where the truth tells of objects only: what has no class is then known to be
            in none of them.
    """
    unknown, kind = ignored_id(len(classes)), map_type(len(classes))
    semantic = window.nearest(np.asarray(example.semantic, kind), unknown)
    counts = np.bincount(semantic.ravel(), minlength=unknown + 1)
    chosen = [
        (k, semantic == k)
        for k in range(len(classes))
        if not classes.is_thing[k] and counts[k] >= MIN_STUFF
    ]
    unclear: dict[int, Mask] = {}
    for class_id, mask, crowd in _things(example, window, semantic, classes):
        pixels = np.count_nonzero(mask)
        if not crowd and pixels >= MIN_VISIBLE:
            chosen.append((class_id, mask))
        elif pixels:
            unclear[class_id] = unclear.get(class_id, False) | mask
    ambiguous = _ambiguous(unclear, chosen)
    void = None if unknown == IGNORE else torch.from_numpy(semantic == unknown)
    if not dense:
        nothing = np.zeros(example.semantic.shape, bool)
        ignored = nothing if example.ignored is None else example.ignored
        void = torch.from_numpy(window.nearest(ignored, True))
    return Targets(
        *_stacked(chosen, window.crop)[::-1],
        torch.from_numpy(semantic.astype(np.int64)),
        *_stacked(ambiguous, window.crop),
        void,
        padding=None if (beyond := window.padding()) is None else torch.from_numpy(beyond),
    )


def _things(
    example: Example, window: ViewWindow, semantic: NDArray[np.integer], classes: Classes
) -> list[tuple[int, Mask, bool]]:
    """Class, mask ``(h, w)`` in the view, and whether it is a crowd, of each object."""
    if example.panoptic is not None:
        ids = window.nearest(example.panoptic.ids, VOID)
        present = set(np.unique(ids).tolist())
        return [
            (segment.class_id, ids == segment.id, segment.crowd)
            for segment in example.panoptic.segments
            if classes.is_thing[segment.class_id] and segment.id in present
        ]
    if example.instances is not None:
        seen = (
            (true, window.nearest_cut(true.cut, true.window, true.size))
            for true in example.instances
        )
        return [(true.class_id, mask, true.crowd) for true, mask in seen if mask is not None]
    return [(k, semantic == k, True) for k in classes.thing_ids]


def _ambiguous(unclear: dict[int, Mask], clear: list[tuple[int, Mask]]) -> list[tuple[int, Mask]]:
    """Connected regions of things that nobody told apart, less the objects that lie on them."""
    regions = []
    for class_id, mask in unclear.items():
        for _, other in clear:
            mask = mask & ~other
        if mask.any():
            regions += [(class_id, region) for region in touching(mask)]
    return regions


def _stacked(
    masks: list[tuple[int, Mask]], size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks ``(n, h, w)`` and class ids ``(n,)``."""
    planes = np.stack([mask for _, mask in masks]) if masks else np.zeros((0, *size), np.bool_)
    return torch.from_numpy(planes), torch.tensor(
        [k for k, _ in masks], dtype=torch.int64, device="cpu"
    )
