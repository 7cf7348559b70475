"""A paused frame under other thresholds, or with other classes."""

from __future__ import annotations

import dataclasses

from triptych.readings.instance import Instance
from triptych.readings.settings import ReadingSettings
from triptych.stream.naming import Naming
from triptych.stream.result import Result


def read_again(result: Result, readings: ReadingSettings, naming: Naming | None = None) -> Result:
    """The same frame, read from the same mask set under other thresholds, without the network.

    Args:
        result: the frame as it was.
        readings: the thresholds.
        naming: the classes; those of the result by default.

    Numbers stay with their objects: thresholds choose among the masks and change none, so that
    an object is known by its box, class and score; with other classes, by its box. Objects that
    only appear now have no number, for nobody followed them.

    Raises:
        TriptychError: the masks cannot be read.
    """
    naming = naming or result.naming
    same = naming is None or naming is result.naming
    if same and readings == result.readings:
        return result
    masks = result.masks if naming is None or same else naming.apply(result.found)
    known = _key if same else _place
    before: dict[object, int] = {}
    for index, instance in enumerate(result.instances):
        before.setdefault(known(instance), index)
    instances = masks.instances(readings.instance_threshold, readings.top)
    places: dict[int | None, int] = {}
    for index, instance in enumerate(instances):
        places.setdefault(before.get(known(instance)), index)
    tracks = tuple(
        dataclasses.replace(track, instance=places.get(track.instance))
        for track in result.tracks
        if track.instance is not None
    )
    return dataclasses.replace(
        result,
        readings=readings,
        naming=naming,
        masks=masks,
        semantic=result.semantic if same else masks.semantic(),
        instances=instances,
        panoptic=masks.panoptic(readings.panoptic_threshold, readings.overlap),
        tracks=tracks,
    )


def _key(instance: Instance) -> tuple[object, ...]:
    return instance.class_id, instance.box, instance.score


def _place(instance: Instance) -> object:
    return instance.box
