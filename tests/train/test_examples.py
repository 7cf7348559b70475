from __future__ import annotations

import pytest

from triptych.data.spread import spread
from triptych.errors import TriptychError
from triptych.train.examples import street_examples

CAR = 8


def test_examples_are_spread_evenly_and_differ():
    assert spread(10, 0) == list(range(10))
    assert spread(10, 20) == list(range(10))
    assert spread(10, 4) == [0, 2, 5, 7]


def test_real_frames_and_composites(shared_data):
    sets = street_examples(shared_data, frames=2, composites=2)
    frames, composites = list(sets[""]), list(sets["composite"])
    assert len(frames) == len(composites) == 2
    assert all(example.panoptic is None for example in frames)
    assert any(
        not segment.crowd and segment.class_id >= CAR
        for example in composites
        if example.panoptic is not None
        for segment in example.panoptic.segments
    )
    assert list(street_examples(shared_data, frames=1)) == [""]


def test_negative_numbers_and_missing_data_are_told(tmp_path):
    with pytest.raises(TriptychError, match="must not be negative"):
        street_examples(tmp_path, frames=-1)
    with pytest.raises(TriptychError, match="no folder"):
        street_examples(tmp_path)
