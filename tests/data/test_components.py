from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from triptych.data.camvid import BICYCLIST, CAR, CLASSES, PEDESTRIAN, SINGLE_OBJECT, split_things
from triptych.data.components import (
    MAX_GAP,
    bridge,
    hull_area,
    is_single,
    lopsidedness,
    single_components,
)

CARS = SINGLE_OBJECT[CAR]


def canvas(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((120, 200), bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def test_hull_of_simple_figures():
    assert hull_area(np.ones((4, 7), bool)) == pytest.approx(28)
    corner = np.ones((10, 10), bool)
    corner[:5, :5] = False  # the hull cuts this corner off: half of 5 x 5 remains outside
    assert hull_area(corner) == pytest.approx(100 - 12.5)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(lambda m: m.any()))
@settings(max_examples=25, deadline=None)
def test_hull_lies_between_the_figure_and_its_box(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    assert mask.sum() - 1e-9 <= hull_area(mask) <= box + 1e-9


@given(arrays(bool, (5, 23)))
@settings(max_examples=25, deadline=None)
def test_bridging_is_closing_along_rows(mask):
    run = np.ones((1, MAX_GAP + 1), bool)
    padded = np.pad(mask, 8)
    closed = ndimage.binary_closing(padded, run)[8:-8, 8:-8]
    np.testing.assert_array_equal(bridge(mask), closed | mask)


def test_lopsidedness_of_block_and_wedge():
    assert lopsidedness(np.ones((5, 9), bool)) == pytest.approx(0)
    wedge = np.tril(np.ones((60, 60), bool))
    assert lopsidedness(wedge) == pytest.approx(1 / 6, abs=0.01)


def test_one_car_is_one_object():
    ((box, part),) = single_components(canvas((40, 60, 70, 96)), CARS)
    assert (box[0].start, box[0].stop, box[1].start, box[1].stop) == (40, 70, 60, 96)
    assert part.all()


@pytest.mark.parametrize(
    "boxes",
    [
        [(40, 20, 70, 56), (44, 56, 76, 100)],  # touching, wide
        [(40, 20, 70, 50), (60, 40, 95, 78)],  # overlapping steps leave notches
        [(40, 20, 44, 24)],  # a speck
        [(40, 20, 100, 30)],  # a sliver that is no car, standing free
    ],
)
def test_what_may_be_several_or_nothing_is_refused(boxes):
    assert single_components(canvas(*boxes), CARS) == []


def test_a_receding_row_is_refused_for_its_weight_on_one_side():
    rows = np.indices((120, 200))[0]
    depth = np.linspace(60, 8, 90)
    mask = np.zeros((120, 200), bool)
    mask[:, 30:120] = (rows[:, 30:120] >= 40) & (rows[:, 30:120] < 40 + depth)
    assert hull_area(mask[40:100, 30:120]) <= mask.sum() / 0.95  # almost convex all the same
    assert single_components(mask, CARS) == []


def test_a_thin_pole_does_not_part_a_car_but_is_not_of_it():
    mask = canvas((40, 60, 70, 96))
    mask[:, 70 : 70 + MAX_GAP] = False
    ((_, part),) = single_components(mask, CARS)
    assert not part[:, 10 : 10 + MAX_GAP].any()
    assert part.sum() == mask.sum()
    mask[:, 70 : 71 + MAX_GAP] = False
    assert all(part.shape[1] < 36 for _, part in single_components(mask, CARS))


def test_the_border_allows_half_a_car():
    half = canvas((40, 0, 100, 20))
    assert len(single_components(half, CARS)) == 1
    assert single_components(np.roll(half, 50, axis=1), CARS) == []
    assert not is_single(np.ones((120, 200), bool), 4, CARS)


@pytest.mark.parametrize(
    ("class_id", "size"), [(PEDESTRIAN, (40, 12)), (BICYCLIST, (40, 14)), (BICYCLIST, (30, 30))]
)
def test_upright_people_and_riders(class_id, size):
    mask = canvas((20, 50, 20 + size[0], 50 + size[1]))
    assert len(single_components(mask, SINGLE_OBJECT[class_id])) == 1
    if class_id == PEDESTRIAN:  # three abreast are none
        crowd = canvas((20, 50, 20 + size[0], 50 + 3 * size[1]))
        assert single_components(crowd, SINGLE_OBJECT[class_id]) == []


def test_regions_keep_the_classes():
    semantic = np.full((120, 200), 3, np.uint8)
    semantic[40:70, 60:96] = CAR
    semantic[40:70, 120:156] = CAR
    semantic[80:110, 10:19] = PEDESTRIAN
    semantic[0:3] = 255
    labels = split_things(semantic)
    assert labels.owners == (CAR, CAR, PEDESTRIAN)
    table = np.arange(256)
    table[len(CLASSES) : len(CLASSES) + 3] = labels.owners
    np.testing.assert_array_equal(table[labels.regions], semantic)
    for number, box in enumerate(labels.boxes):
        assert (labels.regions[box] == len(CLASSES) + number).all()
    assert not labels.regions.flags.writeable


def test_no_things_no_objects():
    labels = split_things(np.zeros((20, 30), np.uint8))
    assert labels.owners == ()
    assert labels.boxes == ()
