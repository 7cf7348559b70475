"""Made-up input: the same each time, and as busy as a real one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.bench.madeup import made_up_masks, made_up_picture
from triptych.checkpoints.labels import data_set_classes
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet

COCO = data_set_classes("COCO")
GEOMETRY = Geometry((256, 384), (256, 384), (128, 192))


def test_a_picture_is_of_its_size_and_not_flat() -> None:
    picture = made_up_picture(120, 80)
    assert picture.size == (120, 80)
    assert np.asarray(picture).std() > 20
    assert picture.tobytes() == made_up_picture(120, 80).tobytes()


def test_every_reading_finds_something_to_do() -> None:
    silent = MaskSet(torch.zeros(100, 64, 96), torch.zeros(100, 134), COCO, GEOMETRY)
    masks = made_up_masks(silent)
    assert masks.geometry == GEOMETRY
    assert len(masks.semantic().ids.unique()) > 15
    assert len(masks.instances()) > 10
    whole = masks.panoptic()
    assert len(whole.segments) > 15
    assert (whole.ids > 0).float().mean() > 0.9
    again = made_up_masks(silent)
    assert torch.equal(again.mask_logits, masks.mask_logits)


@pytest.mark.parametrize("count", [1, 2])
def test_a_single_query_is_enough(count: int) -> None:
    silent = MaskSet(torch.zeros(count, 8, 8), torch.zeros(count, 134), COCO, GEOMETRY)
    assert torch.isfinite(made_up_masks(silent).mask_logits).all()


def test_the_masks_of_a_labeller_share_the_picture() -> None:
    silent = MaskSet(torch.zeros(133, 64, 96), None, COCO, GEOMETRY, competition="softmax")
    masks = made_up_masks(silent)
    assert masks.class_logits is None
    assert len(masks.semantic().ids.unique()) > 50
    assert len(masks.panoptic().segments) > 10
