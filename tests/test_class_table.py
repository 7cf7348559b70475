"""Class tables: what they make of classes, and what they refuse."""

from __future__ import annotations

import pytest

from triptych.class_table import ClassTable, Group, Members
from triptych.classes import Classes
from triptych.errors import TriptychError

OLD = Classes.of(["car", "truck", "light", "house", "building", "wall"], ["car", "truck", "light"])


def merged(form, rest=None, **more):
    table = ClassTable.read(form, rest)
    assert table is not None
    return table.merge(OLD, **more)


def test_a_mapping_merges_renames_and_leaves_out():
    result = merged({"vehicle": ("car", "truck"), "building": ("house", "building"), "wall": ()})
    assert result.classes.names == ("vehicle", "building", "wall")
    assert result.classes.is_thing == (True, False, False)
    assert result.new == (0, 0, None, 1, 1, 2)
    assert result.rest is None


def test_a_list_says_the_same():
    form = {"vehicle": ("car", "truck"), "wall": None, "home": "house"}
    listed = (Group(name="vehicle", of=("car", "truck")), "wall", Group(name="home", of=("house",)))
    assert merged(form) == merged(listed)


def test_a_rest_takes_what_no_group_lists():
    result = merged({"wall": ()}, rest="else")
    assert result.classes.names == ("wall", "else")
    assert (result.new, result.rest) == ((1, 1, 1, 1, 1, 0), 1)
    assert not result.classes.is_thing[1]


def test_things_become_stuff_where_the_table_says_so():
    result = merged({"sign": Members(of=("light", "wall"), thing=False, colour=(1, 2, 3))})
    assert not result.classes.is_thing[0]
    assert result.classes.colours[0] == (1, 2, 3)


def test_nothing_is_no_table():
    assert ClassTable.read({}) is None
    assert ClassTable.read(()) is None


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"a": ("cart",)}, r"the checkpoint has no class 'cart' \(did you mean 'car'\?\)"),
        ({"a": ("car",), "car": ()}, "'car' is taken twice; keep one"),
        ({"a": ("car", "car")}, "'car' is taken twice; keep one"),
        ({"a": ("car", "wall")}, "'a' is made of things and stuff; say 'thing: false'"),
        ({"wall": Members(thing=True)}, "'wall' cannot be a thing"),
        ((Group(name="a", of=("car",)), Group(name="a", of=("wall",))), "'a' appears twice"),
        ({"car": (), "else": ("wall",)}, "'else' appears twice"),
    ],
)
def test_mistakes(form, words):
    with pytest.raises(TriptychError, match=words):
        merged(form, rest="else" if "else" in form else None, having="the checkpoint has")


def test_a_rest_needs_classes():
    with pytest.raises(TriptychError, match="rest: list the other classes under 'classes'"):
        ClassTable.read({}, "else")
