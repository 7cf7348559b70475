"""Matching the classes of a model with those of the data."""

from __future__ import annotations

import pytest
import torch

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.evaluation.answers import match_classes, some
from triptych.readings.instance import Instance
from triptych.readings.panoptic import PanopticMap, Segment

MODEL = Classes.of(["road", "traffic-light", "car", "sky"], things=["car"])
DATA = Classes.of(["Traffic Light", "tram", "Road", "car"], things=["tram", "Traffic Light"])


def test_names_match_whatever_their_case_and_hyphens() -> None:
    match = match_classes(MODEL, DATA)
    assert match.table == (2, 0, 3, None)
    assert match.unknown == ("tram",)
    assert match.extra == 1
    assert match.semantic(torch.tensor([[0, 1], [2, 3]])).tolist() == [[2, 0], [3, 255]]


def test_instances_and_segments_take_the_names_of_the_data() -> None:
    match = match_classes(MODEL, DATA)
    mask = torch.ones(1, 4, dtype=torch.bool)
    found = [Instance(mask, i, MODEL.names[i], 0.5, (0, 0, 4, 1)) for i in (1, 3)]
    (kept,) = match.instances(found)
    assert (kept.class_id, kept.name) == (0, "Traffic Light")

    segments = tuple(Segment(i + 1, i, MODEL.names[i], MODEL.is_thing[i], 0.9, 1) for i in range(4))
    panoptic = match.panoptic(PanopticMap(torch.tensor([[1, 2, 3, 4]]), segments, MODEL))
    assert panoptic.ids.tolist() == [[1, 2, 3, 0]]
    assert [s.class_id for s in panoptic.segments] == [2, 0, 3]
    assert [s.is_thing for s in panoptic.segments] == [False, True, False]  # as the data say


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (["a"], ["b"], "no class in common: the model has a; the data have b"),
        (["a"], ["a-b", "A B"], "the data have two classes called 'A B'"),
        (["a b", "A-b"], ["a b"], "the model has two classes called 'a b'"),
    ],
)
def test_mistakes(model: list[str], data: list[str], words: str) -> None:
    with pytest.raises(TriptychError, match=words):
        match_classes(Classes.of(model), Classes.of(data))


def test_long_lists_are_cut() -> None:
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a", "b", "c", "d"], 2) == "a, b and 2 more"


def test_void_of_a_regrouped_model_is_void_of_the_data() -> None:
    match = match_classes(MODEL, DATA)
    assert match.semantic(torch.tensor([[0, 255, 2]])).tolist() == [[2, 255, 3]]
