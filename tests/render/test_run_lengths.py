"""Run lengths against the reference tool."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as reference

from triptych.render.run_lengths import encode_mask


def check(mask: np.ndarray) -> None:
    theirs = reference.encode(np.asfortranarray(mask, np.uint8))
    assert encode_mask(torch.from_numpy(mask)) == theirs
    assert encode_mask(mask, around(mask)) == theirs
    assert encode_mask(np.asfortranarray(mask), around(mask)) == theirs


def around(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return (0, 0, 0, 0)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
@settings(deadline=None, max_examples=200)
def test_run_lengths_equal_the_reference(mask):
    check(mask)


@pytest.mark.parametrize("rows", [slice(0, 5), slice(1, 5), slice(0, 4), slice(2, 3), slice(0, 0)])
@pytest.mark.parametrize("columns", [slice(0, 6), slice(1, 6), slice(0, 5), slice(3, 4)])
def test_run_lengths_of_boxes_at_every_border(rows, columns):
    mask = np.zeros((5, 6), bool)
    mask[rows, columns] = True
    check(mask)
    check(~mask)


def test_long_runs_take_several_digits():
    masks = np.zeros((3, 700, 900), bool)
    masks[0, 699, 899] = True  # one run of 629,999 pixels
    masks[1, 1:] = True
    masks[2, ::2, 450:] = True
    for mask in masks:
        check(mask)


def test_pixels_outside_the_box_are_not_looked_at():
    mask = np.ones((4, 5), bool)
    cut = np.zeros_like(mask)
    cut[1:3, 2:4] = True
    assert encode_mask(mask, (2, 1, 4, 3)) == encode_mask(cut)
