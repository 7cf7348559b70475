"""What models are measured on while they are trained, by name of the training set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from triptych.data.camvid import CamVidScenes
from triptych.data.composites import CompositeSet
from triptych.data.scene import Scene
from triptych.data.sets.open import open_set
from triptych.data.spread import spread
from triptych.data.views import part
from triptych.errors import TriptychError
from triptych.truth import Example

Examples = Mapping[str, Iterator[Example]]
"""Sets of examples by name; the name goes before their figures. The main set is called ``""``."""


def set_examples(
    root: str | Path, *, split: str | None = None, count: int = 0, held_out: int = 0
) -> Examples:
    """Images of a data set on disk, with all its truth.

    Args:
        root: the data set, as :func:`triptych.data.sets.open.open_set` takes it.
        split: which part; by default the only one, or the one for validation.
        count: how many images, spread evenly over the split; 0 takes all.
        held_out: only every so-manyth image, which training leaves out; 0: any.

    Raises:
        TriptychError: the data set cannot be opened, or a number is out of range.
    """
    if count < 0:
        raise TriptychError("evaluation.arguments: count must not be negative")
    data = open_set(root, split)
    indices = part(len(data), held_out, evaluation=True)
    return {"": (data[indices[place]] for place in spread(len(indices), count))}


def street_examples(
    root: str | Path, *, split: str = "val", frames: int = 0, composites: int = 0, seed: int = 0
) -> Examples:
    """Plain CamVid frames for mIoU, and composites of known objects for PQ and mask AP.

    Args:
        root: folder that holds ``camvid/`` and ``coco/``.
        split: of CamVid; objects are pasted from COCO's "val" in any case.
        frames: how many frames, spread evenly over the split; 0 takes all.
        composites: how many composites, likewise; 0 leaves this set out.
        seed: of the composites.

    Returns:
        ``""``: the frames; ``"composite"``: the composites, if any.

    Raises:
        TriptychError: data are missing, or a number is negative.
    """
    if frames < 0 or composites < 0:
        raise TriptychError("evaluation.arguments: frames and composites must not be negative")
    scenes = CamVidScenes(Path(root) / "camvid", split)
    sets = {"": (frame_example(scenes[index]) for index in spread(len(scenes), frames))}
    if composites:
        made = CompositeSet(root, camvid_split=split, count=len(scenes), seed=seed)
        sets["composite"] = (made[index] for index in spread(len(made), composites))
    return sets


def frame_example(scene: Scene) -> Example:
    """A frame whose truth is by class only."""
    return Example(torch.from_numpy(scene.pixels), scene.semantic())
