"""Run lengths as numbers, held against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as rle

from triptych.errors import TriptychError
from triptych.metrics.instance import placed_run_lengths, turned_run_lengths
from triptych.metrics.run_lengths import check_counts, counts_from_string, cut_mask

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)) | st.tuples(
    st.integers(1, 90), st.integers(1, 70), st.integers(0, 2**32 - 1)
).map(lambda given: np.random.default_rng(given[2]).random(given[:2]) < 0.02)


@settings(deadline=None)
@given(mask=masks)
def test_a_mask_comes_back_as_its_part_in_the_box(mask):
    height, width = mask.shape
    code = rle.encode(np.asfortranarray(mask, np.uint8))
    counts = counts_from_string(code["counts"])
    check_counts(counts, (height, width))
    cut, (left, top, right, bottom) = cut_mask(counts, height)
    whole = np.zeros(mask.shape, bool)
    whole[top:bottom, left:right] = cut
    assert (whole == mask).all()
    if mask.any():
        x, y, w, h = rle.toBbox(code).astype(int).tolist()
        assert (left, top, right, bottom) == (x, y, x + w, y + h), "no wider than it must be"
        placed = placed_run_lengths(cut, (left, top, right, bottom), (height, width))
        assert placed == turned_run_lengths(mask, (left, top, right, bottom))


def test_a_large_image_is_not_drawn():
    """33 million pixels would show: the cut alone is made."""
    counts = np.array([5_000_000, 7, 28_177_600 - 7])
    cut, box = cut_mask(counts, 4320)
    assert cut.shape == (7, 1)
    assert box == (1157, 1760, 1158, 1767)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!", "characters that no run lengths have"),
        ("é", "characters that no run lengths have"),
        ("P", "end within a number"),
        ("o" * 20 + "0", "a number that is too large"),
    ],
)
def test_texts_that_are_no_run_lengths(text, words):
    with pytest.raises(TriptychError, match=words):
        counts_from_string(text)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([3, 4], "add up to 7 pixels, not 12"),
        ([-3, 15], r"one of them is negative \(-3\)"),
        ([2**40, 1], "one of them is 1099511627776, the image has 12"),
        ([], "add up to 0 pixels, not 12"),
    ],
)
def test_runs_that_do_not_fill_the_image(counts, words):
    with pytest.raises(TriptychError, match=words):
        check_counts(np.array(counts, np.int64), (3, 4))
