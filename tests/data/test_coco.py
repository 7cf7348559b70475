from __future__ import annotations

import json

import pytest
from tests.data.street import (
    BICYCLE_ID,
    BUS_ID,
    CAR_ID,
    CHAIR_ID,
    OBJECTS,
    PERSON_ID,
    annotation,
    slim,
    write_coco,
)

from triptych.data.camvid import BICYCLIST, CAR, PEDESTRIAN
from triptych.data.coco import Outline, read_outlines
from triptych.errors import TriptychError


@pytest.fixture
def read(tmp_path):
    def reading(*annotations) -> list[Outline]:
        write_coco(tmp_path, list(annotations))
        return read_outlines(tmp_path)

    return reading


def test_classes_of_the_street(read):
    car, person, rider = read(*OBJECTS)
    assert (car.class_id, car.box, car.cut) == (CAR, (20, 20, 110, 80), frozenset())
    assert (person.class_id, person.box) == (PEDESTRIAN, (140, 20, 172, 110))
    assert rider.class_id == BICYCLIST
    assert rider.box == (210, 20, 280, 110)  # person and bicycle together
    assert len(rider.parts) == 2
    (bus,) = read(annotation(BUS_ID, 20, 20, 90, 60))
    assert bus.class_id == CAR
    assert bus.tallness > car.tallness


@pytest.mark.parametrize(
    "left_out",
    [
        annotation(CAR_ID, 20, 20, 90, 60, iscrowd=1),
        annotation(CAR_ID, 20, 0, 90, 60),  # cut above
        annotation(CAR_ID, 20, 140, 90, 60),  # cut below
        annotation(CAR_ID, 0, 20, 320, 150),  # cut on both sides
        annotation(CAR_ID, 20, 20, 30, 20),  # small
        annotation(CAR_ID, 20, 20, 90, 60, area=1000),  # mostly hidden
        annotation(CAR_ID, 20, 20, 90, 0),
        annotation(CHAIR_ID, 20, 20, 90, 60),
        slim(BICYCLE_ID, 20, 20, 90, 60),  # without a rider
        slim(PERSON_ID, 20, 20, 60, 80),  # sits
        slim(PERSON_ID, 0, 20, 30, 80),  # half a person
        annotation(PERSON_ID, 20, 20, 30, 80),  # a bust: fills its box
        slim(PERSON_ID, 20, 20, 20, 38),  # small
    ],
)
def test_what_cannot_stand_in_a_street_is_left_out(read, left_out):
    assert read(left_out) == []


def test_people_in_pieces_or_behind_something_are_left_out(read):
    whole = slim(PERSON_ID, 100, 20, 30, 80)
    assert len(read(whole)) == 1
    outline = whole["segmentation"][0]
    assert read({**whole, "segmentation": [outline, [100, 20, 110, 20, 110, 30]]}) == []
    assert read(whole, annotation(CHAIR_ID, 95, 70, 60, 60)) == []
    assert len(read(whole, annotation(CHAIR_ID, 135, 70, 60, 60))) == 1  # beside
    assert len(read(whole, annotation(CHAIR_ID, 95, 40, 60, 40))) == 1  # behind


def test_cars_may_be_cut_on_one_side(read):
    left, right = read(annotation(CAR_ID, 0, 20, 90, 60), annotation(CAR_ID, 240, 20, 80, 60))
    assert left.cut == {"left"}
    assert right.cut == {"right"}


@pytest.mark.parametrize(
    ("person", "mounted"),
    [
        ((230, 20, 30, 80), True),
        ((205, 20, 30, 90), False),  # stands beside it: perhaps hidden by it, too
        ((230, 55, 30, 80), False),  # in front of it
        ((230, 20, 30, 42), False),  # behind it
    ],
)
def test_riders_sit_over_the_middle(read, person, mounted):
    found = read(slim(PERSON_ID, *person), slim(BICYCLE_ID, 210, 60, 70, 50))
    assert [outline.class_id for outline in found] == ([BICYCLIST] if mounted else [])


def test_missing_and_foreign_annotation_files(tmp_path):
    with pytest.raises(TriptychError, match=r"cannot read .*instances\.json"):
        read_outlines(tmp_path)
    file = tmp_path / "instances.json"
    no_box = {"annotations": [{"iscrowd": 0, "bbox": [1, 2]}], "images": [], "categories": []}
    for text in ("", "[]", "{}", json.dumps(no_box), '{"images": 3}'):
        file.write_text(text)
        with pytest.raises(TriptychError, match=r"instances\.json is no COCO instance file"):
            read_outlines(tmp_path)


@pytest.mark.data
def test_real_annotations(shared_data):
    found = [outline.class_id for outline in read_outlines(shared_data / "coco" / "train")]
    assert found.count(CAR) > 50
    assert found.count(PEDESTRIAN) > 50
    assert found.count(BICYCLIST) > 5
