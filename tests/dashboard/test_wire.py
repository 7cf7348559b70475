"""Frames as bytes: what a browser would decode is what was encoded."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from tests.dashboard.rig import STREET
from tests.stream.rendered import CLASSES, ExactNetwork

from triptych.dashboard.held import read_again
from triptych.dashboard.layers import lay_out
from triptych.dashboard.picture import PANELS, panel, triptych
from triptych.dashboard.wire import encode_frame, encode_jpeg, encode_runs
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.stream.frames import Frame
from triptych.stream.result import Result
from triptych.stream.scene import SourceScene


def unpack(message: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    assert message[:4] == b"TRP1"
    (length,) = struct.unpack("<I", message[4:8])
    header = json.loads(message[8 : 8 + length])
    at, blobs = 8 + length, {}
    for name, _, size in header["blobs"]:
        assert at % 4 == 0
        blobs[name] = message[at : at + size]
        at += size + -size % 4
    assert at == len(message)
    return header, blobs


def expand(runs: bytes) -> np.ndarray:
    pairs = np.frombuffer(runs, "<u2").reshape(-1, 2)
    return np.repeat(pairs[:, 0], pairs[:, 1])


@pytest.fixture(scope="module")
def result() -> Result:
    """The twentieth frame: two cars and, less sure, a person."""
    scene, network = SourceScene("street", ("car", "person")), ExactNetwork()

    for frame in STREET.frames(2.0):
        (masks,) = network.segment([torch.from_numpy(frame.pixels)])
        found = scene.observe(frame, masks, ReadingSettings(), {})
    return found


@given(
    labels=arrays.arrays(
        np.uint16,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.integers(0, 3),
    )
)
def test_runs_are_exact(labels: np.ndarray) -> None:
    assert np.array_equal(expand(encode_runs(labels)), labels.ravel())


@pytest.mark.parametrize("size", [65534, 65535, 65536, 131070, 131071, 200_000])
def test_long_runs_are_cut(size: int) -> None:
    labels = np.full((1, size), 7, np.uint16)
    assert np.array_equal(expand(encode_runs(labels)), labels.ravel())
    mixed = np.concatenate([labels, np.zeros((1, 3), np.uint16)], axis=1)
    assert np.array_equal(expand(encode_runs(mixed)), mixed.ravel())


def test_a_frame_holds_the_readings(result: Result) -> None:
    layers = lay_out(result)
    message = encode_frame(result, layers, encode_jpeg(result.frame.pixels, 80))
    header, blobs = unpack(message)
    size = result.frame.size
    assert (header["height"], header["width"]) == size
    assert np.array_equal(expand(blobs["semantic"]).reshape(size), result.semantic.ids.numpy())
    assert np.array_equal(expand(blobs["panoptic"]).reshape(size), result.panoptic.ids.numpy())
    labels = expand(blobs["instances"]).reshape(size)
    assert len(header["things"]) == len(result.instances) == 3
    for index, instance in enumerate(result.instances):
        assert np.array_equal(labels == index + 1, instance.mask.numpy())
        assert header["things"][index]["area"] == int(instance.mask.sum())
        assert header["things"][index]["class"] == instance.class_id
    assert sum(header["areas"]) == size[0] * size[1]
    assert Image.open(io.BytesIO(blobs["camera"])).size == (size[1], size[0])


def test_segments_know_their_object(result: Result) -> None:
    layers = lay_out(result)
    cars = [region for region in layers.regions if CLASSES.names[region.class_id] == "car"]
    assert len(cars) == 2
    for region in cars:
        assert region.thing is not None
        assert layers.things[region.thing].area == region.area
    stuff = [region for region in layers.regions if not CLASSES.is_thing[region.class_id]]
    assert [region.thing for region in stuff] == [None]


def test_overlapping_objects_show_the_better_one() -> None:
    """Of two masks on one another the first, which scores best, is on top."""

    grid = torch.full((2, 4, 4), -10.0)
    grid[0, :3], grid[1, 1:] = 10.0, 10.0
    logits = torch.tensor([[0, 0, 2.0, 0, 0], [0, 0, 0, 8.0, 0]])
    masks = MaskSet(grid, logits, CLASSES, Geometry((4, 4), (4, 4), (4, 4)))
    frame = Frame(np.zeros((4, 4, 3), np.uint8), 0, 0.0)
    found = SourceScene("s", ("car", "person")).observe(frame, masks, ReadingSettings(0.1), {})
    layers = lay_out(found)
    assert [CLASSES.names[thing.class_id] for thing in layers.things][:2] == ["person", "car"]
    assert layers.instances[:, 0].tolist() == [2, 1, 1, 1]
    assert [thing.area for thing in layers.things][:2] == [12, 12]


def test_a_new_track_has_no_number_yet() -> None:

    scene, network = SourceScene("street", ("car", "person")), ExactNetwork()
    numbers = []
    for frame in list(STREET.frames(2.0))[-4:]:
        (masks,) = network.segment([torch.from_numpy(frame.pixels)])
        layers = lay_out(scene.observe(frame, masks, ReadingSettings(), {}))
        numbers.append({thing.track for thing in layers.things})
    assert numbers[0] == {None}
    assert len(numbers[-1]) == 3
    assert None not in numbers[-1]


def test_pictures_have_the_size_of_the_frame_and_differ(result: Result) -> None:
    layers = lay_out(result)
    pictures = [np.asarray(panel(result, layers, kind)) for kind in PANELS]
    assert all(picture.shape == (120, 240, 3) for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert triptych(result, layers).width > 3 * 240


def test_reading_again_keeps_the_numbers(result: Result) -> None:
    before = {t.track: t.box for t in lay_out(result).things}
    fewer = read_again(result, ReadingSettings(instance_threshold=0.9))
    kept = {t.track: t.box for t in lay_out(fewer).things}
    assert len(kept) == 2
    assert kept.items() <= before.items()
    more = read_again(fewer, ReadingSettings(instance_threshold=0.5))
    numbers = [t.track for t in lay_out(more).things]
    assert len(numbers) == 3
    assert numbers.count(None) == 1  # nobody followed the one that came back
    assert read_again(result, result.readings) is result
