"""Classes, Geometry and MaskSet: what they accept, and what they say about the rest."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch

from triptych.classes import NAMED, Classes, default_colours, distinct
from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet

STREET = Classes.of(
    [
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ],
    things=["car", "pedestrian", "bicyclist"],
)


def test_classes_know_things_from_stuff():
    assert len(STREET) == 11
    assert STREET.thing_ids == (8, 9, 10)
    assert STREET.stuff_ids == tuple(range(8))
    assert STREET.index("road") == 3
    with pytest.raises(TriptychError, match="no class 'boat'; there are: sky, building"):
        STREET.index("boat")


def test_classes_survive_a_json_file():
    assert Classes.from_list(json.loads(json.dumps(STREET.to_list()))) == STREET
    plain = [{"name": entry["name"], "thing": entry["thing"]} for entry in STREET.to_list()]
    assert Classes.from_list(plain) == STREET


@pytest.mark.parametrize(
    "entries",
    [
        ["car"],
        [{"name": "car"}],
        [{"name": "car", "thing": "yes"}],
        [{"name": "car", "thing": True, "colour": [1, 2]}],
        [{"name": "car", "thing": True, "colour": [1, 2, 300]}],
        [{"name": "car", "thing": True, "colour": [1.5, 2, 3]}],
        [{"name": "car", "thing": True, "colour": 7}],
        [{"name": 5, "thing": True}],
        [{"name": "", "thing": True}],
        [{"name": "car", "thing": True}, {"name": "car", "thing": False}],
        [],
        "cars",
        {"name": "car", "thing": True},
        None,
    ],
)
def test_malformed_classes_are_one_clear_line(entries):
    with pytest.raises(TriptychError) as caught:
        Classes.from_list(entries)
    assert "\n" not in str(caught.value)
    assert "class" in str(caught.value)


def test_classes_of_unequal_lengths_are_refused():
    with pytest.raises(TriptychError, match="2 names, 1 thing flags and 2 colours"):
        Classes(("a", "b"), (True,), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(TriptychError, match="things name 'boat'"):
        Classes.of(["car"], things=["boat"])


def test_street_classes_have_the_colours_they_are_known_by():
    assert dict(zip(STREET.names, STREET.colours, strict=True))["road"] == (128, 64, 128)
    assert len(set(STREET.colours)) == 11


def test_default_colours_differ_even_where_a_name_takes_a_generated_one():
    names = [f"class {i}" for i in range(150)]
    assert len(set(default_colours(names))) == 150
    assert len(set(default_colours([*names, *(n for n in NAMED if n != "person")]))) > 150
    assert distinct(3) != distinct(4)


def test_geometry_refuses_impossible_sizes():
    with pytest.raises(TriptychError, match=r"image_size \(0, 5\) is not a positive"):
        Geometry((8, 8), (8, 8), (0, 5))
    with pytest.raises(TriptychError, match=r"valid_size \(8, 9\) exceeds input_size \(8, 8\)"):
        Geometry((8, 8), (8, 9), (5, 5))


SQUARE = Geometry((8, 8), (8, 8), (8, 8))
OBJECT = Classes.of(["object"], things=["object"])


@pytest.mark.parametrize(
    "fields",
    [
        {"mask_logits": torch.zeros(1, 2, 4, 4)},
        {"mask_logits": torch.zeros(0, 4, 4), "class_logits": torch.zeros(0, 12)},
        {"class_logits": torch.zeros(2, 11)},
        {"class_logits": torch.zeros(3, 12)},
        {"class_logits": None},
        {"quality": torch.zeros(3)},
        {"prompt": torch.zeros(3, dtype=torch.long)},
        {"competition": "softmax"},
        {"competition": "softmax", "class_logits": None},
        {"competition": "none"},
        {"class_logits": None, "quality": torch.zeros(2)},
        {"class_logits": None, "quality": torch.zeros(3), "classes": OBJECT},
    ],
)
def test_mask_sets_that_fit_no_kind_of_network_are_refused(fields):
    good: dict[str, Any] = {
        "mask_logits": torch.zeros(2, 4, 4),
        "class_logits": torch.zeros(2, 12),
        "classes": STREET,
        "geometry": SQUARE,
    }
    MaskSet(**good)
    with pytest.raises(TriptychError):
        MaskSet(**(good | fields))


def test_a_mask_set_is_frozen_and_moves_whole():
    masks = MaskSet(torch.zeros(2, 4, 4), None, OBJECT, SQUARE, quality=torch.ones(2))
    assert len(masks) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        masks.classes = STREET  # type: ignore[misc]
    moved = masks.to("meta")
    assert moved.quality is not None
    assert moved.mask_logits.device.type == moved.quality.device.type == "meta"
    assert moved.class_logits is None
    assert moved.geometry == masks.geometry


def test_quality_and_classes_are_independent_of_each_other():
    fields: dict[str, Any] = {
        "mask_logits": torch.ones(2, 4, 4),
        "class_logits": 5 * torch.eye(2, 12),
    }
    plain = MaskSet(**fields, classes=STREET, geometry=SQUARE)
    rated = MaskSet(**fields, classes=STREET, geometry=SQUARE, quality=torch.tensor([0.1, 0.9]))
    assert rated.offers == plain.offers
    for one, other in zip(rated.instances(0.0), plain.instances(0.0), strict=True):
        assert (one.score, one.class_id) == (other.score, other.class_id)
    assert torch.equal(rated.semantic().ids, plain.semantic().ids)
