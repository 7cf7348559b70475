"""One result as three maps of small numbers and the tables that say what the numbers mean.

The browser, the MJPEG stream and recordings all paint from these maps, in the same colours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from triptych.classes import Colour
from triptych.readings.instance import Box
from triptych.render.palette import object_colour, shade
from triptych.stream.result import Result
from triptych.stream.track import State


@dataclass(frozen=True)
class Thing:
    """An object in sight."""

    track: int | None
    """Its number from frame to frame; None until it has been seen often enough to count."""
    class_id: int
    score: float
    area: int
    """Pixels of its mask, parts that others cover included."""
    box: Box
    age: float
    """Seconds since it was first seen."""
    colour: Colour


@dataclass(frozen=True)
class Region:
    """A segment of the panoptic map."""

    class_id: int
    score: float
    area: int
    thing: int | None
    """Which of :attr:`Layers.things` covers most of it."""
    colour: Colour


@dataclass(frozen=True, eq=False)
class Layers:
    """The three maps, each ``(H, W)`` uint16, and their tables."""

    semantic: np.ndarray
    """Class ids; the number of classes where there is none (void)."""
    instances: np.ndarray
    """0 where there is no object, else 1 + the index in ``things``; the best score is on top."""
    panoptic: np.ndarray
    """0 where there is no segment, else 1 + the index in ``regions``."""
    things: tuple[Thing, ...]
    regions: tuple[Region, ...]
    areas: tuple[int, ...]
    """Pixels of every class in the semantic map."""


def lay_out(result: Result) -> Layers:
    """Make the layers of a result."""
    semantic = result.semantic.ids.cpu().numpy().astype(np.uint16)
    classes = len(result.semantic.classes)
    semantic[semantic == result.semantic.void] = classes
    panoptic = result.panoptic.ids.cpu().numpy().astype(np.uint16)
    instances, things = _objects(result, semantic.shape)
    areas = np.bincount(semantic.ravel(), minlength=classes)[:classes]
    regions = _regions(
        result, _covering(panoptic, instances, len(result.panoptic.segments)), things
    )
    return Layers(semantic, instances, panoptic, things, regions, tuple(areas.tolist()))


def _objects(result: Result, size: tuple[int, ...]) -> tuple[np.ndarray, tuple[Thing, ...]]:
    tracks = {t.instance: t for t in result.tracks if t.instance is not None}
    labels = np.zeros(size, dtype=np.uint16)
    things = []
    for index, instance in enumerate(result.instances):
        left, top, right, bottom = (int(edge) for edge in instance.box)
        window = slice(top, bottom), slice(left, right)
        mask = instance.mask[window].cpu().numpy()
        # Instances come best first, so whoever finds a pixel free keeps it.
        area = labels[window]
        np.copyto(area, index + 1, where=mask & (area == 0))
        track = tracks.get(index)
        things.append(
            Thing(
                track=track.id if track and track.state is not State.NEW else None,
                class_id=instance.class_id,
                score=instance.score,
                area=int(np.count_nonzero(mask)),
                box=instance.box,
                age=track.age if track else 0.0,
                colour=object_colour(track.id if track else index),
            )
        )
    return labels, tuple(things)


def _covering(panoptic: np.ndarray, instances: np.ndarray, segments: int) -> np.ndarray:
    """For every segment, the label that covers most of it in ``instances`` (0: none does)."""
    columns = int(instances.max(initial=0)) + 1
    pairs = panoptic.astype(np.int64).ravel() * columns + instances.ravel()
    shared = np.bincount(pairs, minlength=(segments + 1) * columns).reshape(-1, columns)
    return shared[1:].argmax(axis=1)


def _regions(result: Result, covering: np.ndarray, things: tuple[Thing, ...]) -> tuple[Region, ...]:
    earlier: Counter[int] = Counter()
    regions = []
    for segment, label in zip(result.panoptic.segments, covering.tolist(), strict=True):
        thing = label - 1 if label and segment.is_thing else None
        track = None if thing is None else things[thing].track
        colour = result.panoptic.classes.colours[segment.class_id]
        # The number of its object keeps the shade of a segment from frame to frame.
        number = earlier[segment.class_id] if track is None else track
        earlier[segment.class_id] += 1
        regions.append(
            Region(segment.class_id, segment.score, segment.area, thing, shade(colour, number))
        )
    return tuple(regions)
