"""A paused frame under other thresholds."""

from __future__ import annotations

import dataclasses

from triptych.readings.instance import Instance
from triptych.readings.settings import ReadingSettings
from triptych.stream.result import Result


def read_again(result: Result, readings: ReadingSettings) -> Result:
    """The same frame, read from the same mask set under other thresholds, without the network.

    Numbers stay with their objects: thresholds choose among the masks and change none, so that
    an object is known by its box, class and score. Objects that only appear now have no number,
    for nobody followed them.

    Raises:
        TriptychError: the masks cannot be read.
    """
    if readings == result.readings:
        return result
    before = {_key(instance): index for index, instance in enumerate(result.instances)}
    instances = result.masks.instances(readings.instance_threshold, readings.top)
    places = {before.get(_key(instance)): index for index, instance in enumerate(instances)}
    tracks = tuple(
        dataclasses.replace(track, instance=places.get(track.instance))
        for track in result.tracks
        if track.instance is not None
    )
    return dataclasses.replace(
        result,
        readings=readings,
        instances=instances,
        panoptic=result.masks.panoptic(readings.panoptic_threshold, readings.overlap),
        tracks=tracks,
    )


def _key(instance: Instance) -> tuple[object, ...]:
    return instance.class_id, instance.box, instance.score
