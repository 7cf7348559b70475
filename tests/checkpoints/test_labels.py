"""Class names of real checkpoints, and what is known about them."""

from __future__ import annotations

import json

import pytest

from triptych.checkpoints.labels import DATA_SETS, data_set_classes, read_labels, write_labels
from triptych.classes import Classes
from triptych.errors import TriptychError


def labels(*names):
    return read_labels({"id2label": {str(i): name for i, name in enumerate(names)}})


@pytest.mark.parametrize(
    ("data_set", "things", "stuff"),
    [("ADE20K", 100, 50), ("COCO", 80, 53), ("Cityscapes", 8, 11), ("Mapillary Vistas", 37, 28)],
)
def test_the_tables_have_the_published_numbers(data_set, things, stuff):
    classes = data_set_classes(data_set)
    assert (len(classes.thing_ids), len(classes.stuff_ids)) == (things, stuff)
    assert read_labels(write_labels(classes)).classes == classes
    assert read_labels(write_labels(classes)).source == data_set
    assert read_labels(write_labels(classes)).panoptic


def test_every_table_is_listed_and_read():
    assert {data_set: len(data_set_classes(data_set)) for data_set in DATA_SETS} == {
        "Cityscapes": 19,
        "COCO": 133,
        "Mapillary Vistas": 65,
        "ADE20K": 150,
    }


def test_coco_has_its_things_first():
    coco = data_set_classes("COCO")
    assert coco.thing_ids == tuple(range(80))
    assert (coco.names[0], coco.names[79], coco.names[80]) == ("person", "toothbrush", "banner")
    assert (coco.names[131], coco.names[132]) == ("wall-other-merged", "rug-merged")


def test_the_real_segformer_of_ade(shared_data):
    path = shared_data / "hub-configs" / "segformer-b0-finetuned-ade-512-512" / "config.json"
    found = read_labels(json.loads(path.read_text()))
    table = data_set_classes("ADE20K")
    assert found.source == "ADE20K"
    assert found.classes.is_thing == table.is_thing  # the same order, under other spellings
    assert found.classes.colours == table.colours
    assert found.classes.names[7] == "bed"  # "bed " in the file
    assert found.classes.names[109] == "swimming pool"


def test_long_spellings_of_ade_are_known_by_their_first_word():
    found = labels("wall", "road, route", "window ", "chest of drawers, chest, bureau, dresser")
    assert found.source == "ADE20K"
    assert found.classes.is_thing == (False, False, True, True)
    assert found.classes.names[1:3] == ("road, route", "window")


def test_an_instance_checkpoint_of_coco_has_things_alone():
    coco = data_set_classes("COCO")
    found = labels(*coco.names[:80])
    assert found.source == "COCO"
    assert all(found.classes.is_thing)
    assert not found.panoptic
    assert labels("Person", "rider", "car").panoptic is False


def test_of_sets_that_have_all_the_names_the_smallest_tells():
    # A pole is stuff in Cityscapes, and a thing in ADE20K and Mapillary.
    assert labels("road", "building", "pole").classes.thing_ids == ()
    assert labels("road", "ceiling", "pole").classes.thing_ids == (2,)
    assert labels("Road", "Pole", "Curb").classes.thing_ids == (1,)


def test_names_of_several_sets_and_of_none():
    found = labels("background", "zebra", "vegetation", "tumour", "traffic_light")
    assert found.classes.is_thing == (False, True, False, True, False)
    assert found.source == "names of several data sets; 1 of none, taken for things: tumour"
    assert labels("zebra", "vegetation").source == "names of several data sets"


def test_without_names_all_are_things_and_it_says_so():
    found = read_labels({"num_labels": 12})
    assert found.classes.names[11] == "LABEL_11"
    assert all(found.classes.is_thing)
    assert "12 of none, taken for things: LABEL_0, " in found.source
    assert found.source.endswith(", LABEL_7 and 4 more")
    assert len(read_labels({}).classes) == 2


def test_names_become_unique_and_not_empty():
    assert labels("a", "a ", " ").classes.names == ("a", "a (1)", "LABEL_2")
    assert read_labels({"id2label": {1: "b", 0: 7}}).classes.names == ("7", "b")


@pytest.mark.parametrize(
    ("labels", "names", "told"),
    [
        ({"1": "a", "2": "b", "10": "c"}, ("a", "b", "c"), "1, 2, 10"),
        ({"10": "c", "2": "b", "1": "a"}, ("a", "b", "c"), "1, 2, 10"),
        ({"0": "a", "1": "b", "255": "void"}, ("a", "b", "void"), "0, 1, 255"),
        ({-1: "void", 0: "a"}, ("void", "a"), "-1, 0"),
        ({i: f"n{i}" for i in range(1, 151)}, tuple(f"n{i}" for i in range(1, 151)), "149, 150"),
    ],
)
def test_ids_that_do_not_count_from_0_are_taken_in_their_order(labels, names, told, caplog):
    assert read_labels({"id2label": labels}).classes.names == names
    (line,) = caplog.messages
    assert told in line
    assert f"outputs 0 to {len(names) - 1} " in line


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"a": "0"}, "the id 'a', which is no whole number"),
        ({"0": "a", "1.5": "b"}, "the id '1.5', which is no whole number"),
        ({"1": "a", "01": "b"}, "the id 1 twice"),
    ],
)
def test_ids_that_are_no_numbers(labels, words):
    with pytest.raises(TriptychError, match=words):
        read_labels({"id2label": labels})


def test_back():
    written = write_labels(Classes.of(["road", "car"], things=["car"]))
    assert written == {
        "id2label": {"0": "road", "1": "car"},
        "label2id": {"road": 0, "car": 1},
    }
