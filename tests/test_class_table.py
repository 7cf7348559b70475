"""Class tables: what they make of classes, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from triptych.class_table import ClassTable, Group, Members, Merged
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


# --- of a checkpoint


def regrouped(form):
    return ClassTable.of(form).regroup(OLD)


def test_a_checkpoint_is_regrouped_by_a_plain_mapping():
    result = regrouped({"vehicle": ["car", "truck"], "building": ["house", "building"], "wall": []})
    also = {"vehicle": ("car", "truck"), "building": ("house", "building"), "wall": None}
    assert result == regrouped(also)
    assert result.classes.names == ("vehicle", "building", "wall")
    assert result.classes.is_thing == (True, False, False)
    assert (result.new, result.rest) == ((0, 0, None, 1, 1, 2), None)
    assert result.members(OLD) == {
        "vehicle": ("car", "truck"),
        "building": ("house", "building"),
        "wall": ("wall",),
    }


def test_groups_keep_colours_that_people_know():
    colours = dict(zip(OLD.names, OLD.colours, strict=True))
    form: dict[str, Any] = {
        "vehicle": ("truck", "car"),
        "wall": (),
        "house": ("building", "house"),
    }
    form |= {"light": Members(colour=(1, 2, 3))}
    expected = (colours["truck"], colours["wall"], colours["house"], (1, 2, 3))
    assert regrouped(form).classes.colours == expected


def test_tables_are_written_and_read_as_plain_data():
    table = ClassTable.of((Group(name="a", of=("car",), colour=(1, 2, 3)), "wall"))
    assert ClassTable.from_list(table.to_list()) == table
    for broken in ([{"of": ["car"]}], [{"name": "a", "off": ["car"]}], ["car"], [], [{"name": 3}]):
        with pytest.raises(TriptychError, match="regroup: "):
            ClassTable.from_list(broken)


def test_which_classes_inherit_which():
    first = regrouped({"vehicle": ("car", "truck"), "house": (), "wall": ()})
    second = regrouped({"car": (), "lorry": "truck", "solid": ("house", "wall")})
    assert first.heirs(second) == ({0, 1}, {2}, {2})
    assert second.heirs(first) == ({0}, {0}, {1, 2})
    assert Merged.unchanged(OLD).heirs(first) == (
        frozenset({0}),
        frozenset({0}),
        frozenset(),
        frozenset({1}),
        frozenset(),
        frozenset({2}),
    )


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("vehicle: car, truck; wall", {"vehicle": ("car", "truck"), "wall": ()}),
        (" vehicle:car,truck ; wall: ;", {"vehicle": ("car", "truck"), "wall": ()}),
        ("wall", {"wall": ()}),
        ("clock: 12:00", {"clock": ("12:00",)}),
    ],
)
def test_the_short_form(text, groups):
    assert ClassTable.parse(text) == ClassTable.of(groups)


@pytest.mark.parametrize(
    "text",
    [
        "vehicle: [car, truck]\nwall:\nhome: {of: [house], colour: [1, 2, 3]}\n",
        "classes:\n  vehicle: [car, truck]\n  wall:\n  home: {of: [house], colour: [1, 2, 3]}\n",
        "layout: camvid\nroot: x\n"
        "classes:\n  vehicle: [car, truck]\n  wall:\n  home: {of: [house], colour: [1, 2, 3]}\n",
        "classes:\n- {name: vehicle, of: [car, truck]}\n- wall\n"
        "- {name: home, of: [house], colour: [1, 2, 3]}\n",
    ],
)
def test_a_file_says_the_same(tmp_path, text):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    found = ClassTable.parse(str(path))
    home = Members(of=("house",), colour=(1, 2, 3))
    form: dict[str, Any] = {"vehicle": ("car", "truck"), "wall": (), "home": home}
    assert found == ClassTable.of(form)


def test_a_group_may_be_called_classes(tmp_path):
    path = tmp_path / "table.yaml"
    path.write_text("classes: [car, truck]\n")
    assert ClassTable.parse(str(path)) == ClassTable.of({"classes": ("car", "truck")})


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "regroup: the table is empty"),
        ((), "regroup: the table is empty"),
        (3, "regroup: 3 is no table"),
        ("car", "regroup: 'car' is no table"),
        ({"a": 3}, "is no table; give each group a list of classes"),
        ({"a": [3]}, "is no group"),
        ({"": ["car"]}, "is no group"),
        ({"a": ["cart"]}, r"regroup: the checkpoint has no class 'cart' \(did you mean 'car'\?\)"),
        ({"a": ["car"], "car": []}, "regroup: 'car' is taken twice; keep one"),
        ({"a": ["car", "wall"]}, r"regroup: 'a' mixes things \(car\) and stuff \(wall\)"),
        (
            {"a": Members(of=("car", "wall"), thing=False)},
            r"regroup: 'a' mixes things \(car\) and stuff \(wall\); make two groups",
        ),
        ((Group(name="a", of=("car",)), Group(name="a", of=("truck",))), "group 'a' stands twice"),
    ],
)
def test_mistakes_in_the_table_of_a_checkpoint(form, words):
    with pytest.raises(TriptychError, match=words) as caught:
        regrouped(form)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "regroup: the table is empty"),
        (" ; ", "regroup: the table is empty"),
        (": car", "regroup: ': car' has no name"),
        ("a: car; a: truck", "regroup: the group 'a' stands twice; keep one"),
        ("no/such.yaml", "no such class table: no/such.yaml; check the path"),
        ("table.yml", "no such class table: table.yml; check the path"),
    ],
)
def test_mistakes_in_the_short_form(text, words):
    with pytest.raises(TriptychError, match=words):
        ClassTable.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "regroup: the table is empty"),
        ("- car\n", "a class table is a mapping of keys"),
        ("a: [car\n", "not valid YAML"),
        ("a: [car]\na: [truck]\n", "line 2: the key a stands twice"),
        ("a: {off_: [car]}\n", r"line 1: unknown key 'off_' .*did you mean 'of'\?"),
        ("a: [car]\nb: 3\n", "line 2: regroup.b must be"),
        ("a: [[car]]\n", "line 1: regroup.a must be"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, words):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(TriptychError, match=words):
        ClassTable.parse(str(path))


def test_a_table_longer_than_a_path_may_be_is_no_path():
    names = [f"class {number}" for number in range(2000)]
    assert ClassTable.parse("a: " + ", ".join(names)).groups[0].of == tuple(names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layout: folders\nclasses: [road, car]\n", "line 2: classes is a plain list and no table"),
        (
            "layout: folders\nclasses: {way: [road]}\nrest: other\n",
            "line 3: rest is for data sets; list its classes as a group",
        ),
    ],
)
def test_a_data_set_that_is_no_table_is_told_so(tmp_path, text, words):
    path = tmp_path / "set.yaml"
    path.write_text(text)
    with pytest.raises(TriptychError, match=words):
        ClassTable.parse(str(path))


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "two\nlines", "x" * 101])
def test_names_can_be_printed_and_are_short(name):
    with pytest.raises(TriptychError, match="is no name of a group") as told:
        ClassTable.of({name: ["car"]})
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "dir.yaml").mkdir()
    with pytest.raises(TriptychError, match=r"dir\.yaml: is a folder"):
        ClassTable.parse(str(tmp_path / "dir.yaml"))


@pytest.mark.parametrize("members", [False, 0, 1.5])
def test_members_are_a_list_of_classes(members):
    with pytest.raises(TriptychError, match="give each group a list of classes"):
        ClassTable.of({"car": members})
