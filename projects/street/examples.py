"""What ``street`` is measured on while it is trained: frames, composites, and photographs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from triptych.data.camvid import CLASSES
from triptych.data.sets.base import DiskSet
from triptych.data.sets.open import open_set
from triptych.data.spread import spread
from triptych.metrics.truth import IGNORE, Example, PanopticTruth
from triptych.train.examples import Examples, street_examples

DATA = Path(__file__).parent / "data"


def examples(
    root: str | Path, *, frames: int = 0, composites: int = 0, photographs: int = 0
) -> Examples:
    """Validation examples of each kind.

    Args:
        root: folder that holds ``camvid/`` and ``coco/``.
        frames: how many CamVid frames, spread evenly; 0: all.
        composites: how many composites, likewise; 0: none.
        photographs: how many of COCO's with panoptic truth, likewise; 0: all.

    Returns:
        ``""``: frames (mIoU); ``"composite"``; ``"photo"``: photographs, in the classes of street.
    """
    sets = dict(street_examples(root, frames=frames, composites=composites))
    data = open_set(DATA / "coco-panoptic.yaml", "val")
    return sets | {"photo": _photographs(data, photographs)}


def _photographs(data: DiskSet, count: int) -> Iterator[Example]:
    table = np.full(256, IGNORE, np.uint8)
    table[: len(data.classes)] = [CLASSES.index(name) for name in data.classes.names]
    for index in spread(len(data), count):
        example = data[index]
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
