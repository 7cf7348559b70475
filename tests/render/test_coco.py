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
