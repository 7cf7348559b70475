"""Prompts as users write them, and what is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import TriptychError
from triptych.segmenter.prompts import read_prompts, spread
from triptych.windows.layout import Windows

SIZE = (60, 80)


def read(**given):
    return read_prompts(SIZE, "", **given)


@pytest.mark.parametrize("make", [list, np.asarray, torch.as_tensor])
def test_one_prompt_and_several_are_told_apart_by_their_depth(make):
    (one,) = read(points=make([[1, 2], [3, 4]]), labels=make([1, 0]))
    assert one.points.tolist() == [[1, 2], [3, 4]]
    assert one.labels.tolist() == [1, 0]
    assert one.box is None
    assert one.mask is None
    two = read(points=make([[[1, 2]], [[3, 4]]]), labels=make([[1], [0]]))
    assert [p.points.tolist() for p in two] == [[[1, 2]], [[3, 4]]]
    assert [p.labels.tolist() for p in two] == [[1], [0]]
    (box,) = read(boxes=make([1, 2, 30, 40]))
    assert box.box.tolist() == [1, 2, 30, 40]
    assert not len(box.points)
    assert len(read(boxes=make([[1, 2, 30, 40], [5, 5, 6, 6]]))) == 2


def test_prompts_may_differ_in_length_and_go_with_their_boxes():
    found = read(
        points=[[[1, 2]], [[3, 4], [5, 6]]],
        labels=[[1], [1, 0]],
        boxes=[[0, 0, 5, 5], [2, 2, 9, 9]],
    )
    assert [p.kind for p in found] == [(True, True, False), (True, True, False)]
    assert [p.box.tolist() for p in found] == [[0, 0, 5, 5], [2, 2, 9, 9]]
    assert [p.is_click for p in read(points=[[[1, 2]], [[3, 4], [5, 6]]])] == [True, False]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no prompt; give points=, boxes= or both"),
        ({"points": []}, "no prompt"),
        ({"labels": [1]}, "no prompt"),
        ({"labels": [1], "boxes": [0, 0, 5, 5]}, "labels but no points"),
        ({"points": [[80.5, 3]]}, r"point \(80.5, 3\) of prompt 0 lies outside .* 80x60"),
        ({"points": [[[1, 1]], [[1, -1]]]}, r"point \(1, -1\) of prompt 1 lies outside"),
        ({"points": [[1, 2]], "labels": [1, 0]}, "prompt 0 has 1 points and labels of shape"),
        ({"points": [[[1, 2]]], "labels": [1]}, "prompt 0 has 1 points and labels of shape"),
        ({"points": [[[1, 2]]], "labels": [[1], [1]]}, "for 1 prompts and labels for 2"),
        ({"points": [[1, 2]], "labels": [2]}, "labels of prompt 0 are .* use 1 for"),
        ({"points": [[1, 2, 3]]}, r"have shape \(1, 3\); give \(n, 2\)"),
        ({"points": [1, 2]}, r"give \(n, 2\)"),
        ({"points": [["a", "b"]]}, "are no numbers"),
        ({"points": [[float("nan"), 2]]}, "not finite"),
        ({"boxes": [30, 2, 10, 40]}, r"box 0 \(30, 2, 10, 40\) is inside out"),
        ({"boxes": [[0, 0, 5, 5], [1, 9, 4, 9]]}, r"box 1 .* is inside out"),
        ({"boxes": [90, 2, 95, 40]}, "box 0 .* lies outside the image of 80x60"),
        ({"boxes": [1, 2, 3]}, r"boxes have shape \(1, 3\)"),
        ({"boxes": []}, "boxes have shape"),
        ({"points": [[1, 2]], "boxes": [[0, 0, 5, 5]] * 2}, "for 1 prompts and 2 boxes"),
        ({"points": 5}, "points= 5 are nested 0 deep"),
        ({"points": torch.tensor(5.0)}, "are nested 0 deep"),
        ({"points": [b"12"]}, r"are nested 1 deep"),
        ({"points": [[b"1", b"2"]]}, "are no numbers"),
        ({"points": [[10**400, 1]]}, "are no numbers"),
        (
            {"points": np.ma.masked_array([[1, 2]], mask=np.array([[True, False]]))},
            "are no numbers",
        ),
        ({"points": torch.zeros(1, 2).to_sparse()}, "sparse"),
        ({"points": [[[1, 2]], [[3, 4]]], "labels": 1}, "labels= is 1; give a list"),
        ({"points": [[1, 2]], "mask": "earlier"}, "mask= is a str"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(given, words):
    with pytest.raises(TriptychError, match=words) as told:
        read(**given)
    assert "\n" not in str(told.value)


def test_rows_may_be_reversed_and_bytes_swapped() -> None:
    rows = np.array([[2, 1], [4, 3]])
    for points in (rows[:, ::-1], rows[:, ::-1].astype(">f4")):
        (one,) = read(points=points)
        assert one.points.tolist() == [[1, 2], [3, 4]]


def test_what_a_box_shows_beyond_the_image_is_in_no_window() -> None:
    prompts = read(boxes=[[-3, -1, 20, 20], [60, 30, 83, 61]])
    found = spread(prompts, Windows(40, 16).over(SIZE))
    assert sorted(number for _, members in found for number in members) == [0, 1]
    assert len(spread(prompts, Windows(1024).over(SIZE))) == 1


corner = st.tuples(st.floats(0, 80, width=32), st.floats(0, 60, width=32))


@given(st.lists(corner, min_size=1, max_size=3))
def test_a_prompt_in_windows_lies_in_the_one_it_gets_and_deepest_there(points):
    prompt = read(points=[[list(p) for p in points]])
    windows = Windows(40, 16).over(SIZE)

    def depth(window):
        rows, columns = window.area
        return min(
            min(x - columns.start, columns.stop - x, y - rows.start, rows.stop - y)
            for x, y in points
        )

    deepest = max(map(depth, windows))
    if deepest < 0:
        with pytest.raises(TriptychError, match="spans more than a window"):
            spread(prompt, windows)
        return
    ((window, members),) = spread(prompt, windows)
    assert members == [0]
    assert depth(window) == deepest
