"""What ``street`` is measured on while it is trained: frames, composites, and photographs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from triptych.data.camvid import CLASSES
from triptych.data.sets.base import DiskSet
from triptych.data.sets.open import open_set
from triptych.data.spread import spread
from triptych.data.views import part
from triptych.errors import TriptychError
from triptych.train.examples import Examples, street_examples
from triptych.truth import IGNORE, Example, PanopticTruth

DATA = Path(__file__).parent / "data"


def examples(
    root: str | Path,
    *,
    frames: int = 0,
    composites: int = 0,
    photographs: int = 0,
    held_out: int = 5,
) -> Examples:
    """Validation examples of each kind.

    Args:
        root: folder that holds ``camvid/`` and ``coco/``.
        frames: how many CamVid frames, spread evenly; 0: all.
        composites: how many composites, likewise; 0: none.
        photographs: how many of COCO's with panoptic truth, likewise; 0: all.
        held_out: which of them: every so-manyth of the training split, which
            :class:`projects.street.mix.StreetMix` leaves out if it is told the same number. The
            photographs of the split val are for the card alone.

    Returns:
        ``""``: frames (mIoU); ``"composite"``; ``"photo"``: photographs, in the classes of street.

    Raises:
        TriptychError: data are missing, or a number is out of range.
    """
    sets = dict(street_examples(root, frames=frames, composites=composites))
    if held_out < 2 or photographs < 0:
        raise TriptychError(
            f"evaluation.arguments: photographs {photographs} must not be negative, and held_out "
            f"{held_out} be 2 or more: no photograph is trained and measured on"
        )
    data = open_set(DATA / "coco-panoptic.yaml", "train")
    numbers = part(len(data), held_out, evaluation=True)
    return sets | {"photo": _photographs(data, numbers, photographs)}


def _photographs(data: DiskSet, numbers: Sequence[int], count: int) -> Iterator[Example]:
    table = np.full(256, IGNORE, np.uint8)
    table[: len(data.classes)] = [CLASSES.index(name) for name in data.classes.names]
    for place in spread(len(numbers), count):
        example = data[numbers[place]]
        assert example.panoptic is not None
        segments = [
            dataclasses.replace(segment, class_id=int(table[segment.class_id]))
            for segment in example.panoptic.segments
        ]
        yield dataclasses.replace(
            example,
            semantic=table[example.semantic],
            panoptic=PanopticTruth(example.panoptic.ids, segments),
        )
