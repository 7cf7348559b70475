"""Queries that answer for one class, for another table of classes."""

from __future__ import annotations

import pytest

from triptych.classes import Classes
from triptych.train.class_queries import carried_queries
from triptych.train.starting import class_sources

STREET = Classes.of(["road", "sky", "tree", "car", "person"], things=("car", "person"))
TOLD = {"points": 9, "crowd_query": [3, 4], "own_query": [0, 1, 2]}


def carried(names: list[str], things: tuple[str, ...], told: dict = TOLD, **renamed: str) -> dict:
    new = Classes.of(names, things=things)
    return carried_queries(told, STREET, new, class_sources(new, STREET, renamed))


def test_the_same_classes_in_another_order_keep_their_queries() -> None:
    result = carried(["person", "car", "tree", "road", "sky"], ("car", "person"))
    assert result == {"crowd_query": [1, 0], "own_query": [3, 4, 2]}


def test_new_classes_take_the_queries_of_those_that_are_gone() -> None:
    result = carried(["person", "dog", "background"], ("person", "dog"))
    # "person" keeps the second, "dog" takes that of "car", "background" that of "road".
    assert result == {"crowd_query": [1, 0], "own_query": [2, None, None]}


def test_a_class_of_another_name_takes_over_as_told() -> None:
    result = carried(["rider", "car", "rest"], ("rider", "car"), rider="person")
    assert result == {"crowd_query": [1, 0], "own_query": [2, None, None]}


def test_with_more_classes_than_queries_nothing_is_carried_over() -> None:
    assert carried(["car", "person", "dog"], ("car", "person", "dog")) == {}
    assert carried(["road", "sky", "tree", "grass", "car"], ("car",)) == {}


def test_own_queries_alone_need_not_do_for_every_class() -> None:
    told = {"own_query": [0, 1, 2]}
    names = ["sky", "road", "tree", "grass", "car"]
    assert carried(names, ("car",), told) == {"own_query": [1, 0, 2]}


@pytest.mark.parametrize("told", [{}, {"own_query": [0, 7]}, {"crowd_query": ["car"]}])
def test_what_is_not_told_is_not_carried_over(told: dict) -> None:
    assert carried(["road", "car"], ("car",), told) == {}


def test_a_thing_that_becomes_stuff_takes_an_own_query() -> None:
    result = carried(["car", "person"], ("person",))
    assert result == {"crowd_query": [None, 1], "own_query": [0, None, None]}


def test_queries_that_became_free_before_are_there_to_be_taken() -> None:
    told = {"crowd_query": [None, 4], "own_query": [0, None, None]}
    result = carried(["dog", "person", "road", "grass"], ("dog", "person"), told)
    assert result == {"crowd_query": [0, 1], "own_query": [2, 3, None]}
