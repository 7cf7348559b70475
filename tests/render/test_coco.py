"""COCO's panoptic PNG and run lengths against the reference tools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from panopticapi.utils import rgb2id
from PIL import Image
from pycocotools import mask as reference

from triptych.render.coco import encode_ids, encode_mask
from triptych.render.run_lengths import encode_masks


def test_ids_come_back(tmp_path):
    ids = torch.tensor([[0, 1, 255], [256, 65535, 70000]], dtype=torch.int32)
    encode_ids(ids).save(tmp_path / "panoptic.png")
    with Image.open(tmp_path / "panoptic.png") as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(rgb2id(np.asarray(image)), ids.numpy())


def check(mask: np.ndarray) -> None:
    ours = encode_mask(torch.from_numpy(mask))
    theirs = reference.encode(np.asfortranarray(mask, np.uint8))
    assert ours["counts"] == theirs["counts"]
    assert list(ours["size"]) == list(theirs["size"])


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
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


@given(
    st.tuples(st.integers(0, 4), st.integers(1, 40), st.integers(1, 40)).flatmap(
        lambda shape: arrays(bool, shape)
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_many_masks_at_once_equal_the_reference(masks, boxed):
    boxes = [around(mask) for mask in masks] if boxed else None
    ours = encode_masks(list(masks), boxes)
    theirs = [reference.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    assert ours == theirs


def around(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return (0, 0, 0, 0)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_long_runs_take_several_digits():
    masks = np.zeros((3, 700, 900), bool)
    masks[0, 699, 899] = True  # one run of 629,999 pixels
    masks[1, 1:] = True
    masks[2, ::2, 450:] = True
    check_all(list(masks))
    check_all([np.asfortranarray(mask) for mask in masks])


def check_all(masks: list[np.ndarray]) -> None:
    theirs = [reference.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    assert encode_masks(masks) == theirs
    assert encode_masks(masks, [around(mask) for mask in masks]) == theirs


def test_pixels_outside_the_box_are_not_looked_at():
    mask = np.ones((4, 5), bool)
    cut = np.zeros_like(mask)
    cut[1:3, 2:4] = True
    assert encode_masks([mask], [(2, 1, 4, 3)]) == encode_masks([cut])
