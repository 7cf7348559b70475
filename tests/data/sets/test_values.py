"""One value, many spellings."""

from __future__ import annotations

import unicodedata

import pytest

from triptych.data.sets import values


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        (" 007 ", 7),
        ("7.0", 7),
        ("-3", -3),
        ("a7", "a7"),
        ("7.5", "7.5"),
        (10**400, 10**400),
        (1e300, int(1e300)),
        (unicodedata.normalize("NFD", "é"), "é"),
        (7.5, None),
        (True, None),
        (None, None),
        ("", None),
        ("  ", None),
        ([7], None),
        ({}, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_ids(written, meant):
    assert values.plain_id(written) == meant
    assert type(values.plain_id(written)) is type(meant)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, False),
        (1, True),
        (0.0, False),
        ("0", False),
        ("1", True),
        (" False ", False),
        ("TRUE", True),
        (True, True),
        (2, None),
        (-1, None),
        ("yes", None),
        ([], None),
        (float("nan"), None),
        (None, None),
    ],
)
def test_flags(written, meant):
    assert values.flag(written) is meant


@pytest.mark.parametrize("value", [True, None, "5", float("nan"), float("inf"), 10**400, -1e10, []])
def test_what_is_no_number(value):
    assert values.number(value) is None


def test_numbers_and_whole_ones():
    assert values.number(-2) == -2.0
    assert values.whole("60", 1, 100) == 60
    assert values.whole(60.5, 1, 100) is None
    assert values.whole(0, 1, 100) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ([1, 2, 3], (1, 2, 3)),
        ([1, 2, 3, 255], (1, 2, 3)),
        ("#a60f2f", (166, 15, 47)),
        ("red", (255, 0, 0)),
        ([0.65, 0.06, 0.18], None),
        ([300, 0, 0], None),
        ([1, 2], None),
        ("nothing", None),
        (7, None),
        (None, None),
    ],
)
def test_colours(written, meant):
    assert values.colour(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a\\b.jpg", "a/b.jpg"),
        ("./a.jpg", "a.jpg"),
        ("C:\\x\\a.jpg", "C:/x/a.jpg"),
        (12, "12"),
        ("a\x00.jpg", None),
        ("\ud800.jpg", None),
        ("x" * 300, None),
        ("", None),
        (None, None),
        (["a.jpg"], None),
    ],
)
def test_file_names(written, meant):
    assert values.file_name(written) == meant


def test_files_of_urls():
    url = "http://images.cocodataset.org/val2017/000000397133.jpg?size=1"
    assert values.file_of_url(url) == "val2017/000000397133.jpg"
    assert values.file_of_url("http://[broken/a.jpg") is None
    assert values.file_of_url(None) is None


def test_values_for_messages():
    assert values.shown("x" * 90) == "'" + "x" * 36 + "..."
    assert "digits" in values.shown(10**5000)
