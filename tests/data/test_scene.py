from __future__ import annotations

import numpy as np
import torch

from triptych.data.scene import MIN_STUFF, MIN_VISIBLE, Scene, hide, to_targets
from triptych.truth import IGNORE

THINGS = (8, 9, 10)


def scene() -> Scene:
    regions = np.full((20, 40), 3, np.uint8)
    regions[:4] = 0
    regions[4:10, 0:10] = 11  # a car
    regions[4:10, 20:30] = 12  # another
    regions[10:12, 0:18] = 8  # cars that nobody told apart
    regions[15, 0:5] = 13  # a speck of a pedestrian
    regions[19] = IGNORE
    regions[18, 0 : MIN_STUFF - 1] = 6
    return Scene(np.zeros((20, 40, 3), np.uint8), regions, (8, 8, 9), 11)


def test_every_segment_has_its_mask():
    made = scene()
    targets = to_targets(made, THINGS)
    assert targets.class_ids.tolist() == [0, 3, 8, 8]
    assert targets.class_ids.dtype == torch.int64
    for mask, code in zip(targets.masks.numpy(), (0, 3, 11, 12), strict=True):
        np.testing.assert_array_equal(mask, made.regions == code)


def test_dense_labels_keep_what_is_too_small_for_a_segment():
    semantic = to_targets(scene(), THINGS).semantic
    assert semantic.dtype == torch.int64
    assert (semantic[4:10, 20:30] == 8).all()
    assert (semantic[15, :5] == 9).all()
    assert (semantic[18, : MIN_STUFF - 1] == 6).all()
    assert (semantic[19] == IGNORE).all()


def test_ambiguous_things_are_regions_and_specks_no_targets():
    targets = to_targets(scene(), THINGS)
    assert targets.ambiguous_class_ids.tolist()[0] == 8
    np.testing.assert_array_equal(targets.ambiguous[0], scene().regions == 8)
    assert not (targets.ambiguous.any(0) & targets.masks.any(0)).any()
    assert MIN_VISIBLE > 5  # pixels of the speck
    assert not targets.masks.any(0)[15, :5].any()


def test_regions_apart_are_told_apart():
    made = scene()
    made.regions[13:16, 20:32] = 8
    made.regions[13:15, 36:40] = 8  # a speck again
    targets = to_targets(made, THINGS)
    assert targets.ambiguous_class_ids.tolist() == [8, 8]
    assert targets.ambiguous.flatten(1).sum(1).tolist() == [36, 36]
    assert (targets.semantic[13:15, 36:40] == 8).all()


def test_an_image_of_nothing():
    void = Scene(np.zeros((4, 5, 3), np.uint8), np.full((4, 5), IGNORE, np.uint8), (), 11)
    targets = to_targets(void, THINGS)
    assert targets.masks.shape == targets.ambiguous.shape == (0, 4, 5)
    assert targets.masks.dtype == targets.ambiguous.dtype == torch.bool
    assert len(targets.class_ids) == len(targets.ambiguous_class_ids) == 0


def test_hiding_changes_codes_but_no_class():
    before = scene()
    lost = np.zeros(256, bool)
    lost[12] = True
    after = hide(before, lost)
    np.testing.assert_array_equal(after.semantic(), before.semantic())
    assert after.visible()[12] == 0
    assert after.visible()[8] == before.visible()[8] + before.visible()[12]


def test_counts_are_those_of_numpy():
    made = scene()
    np.testing.assert_array_equal(made.visible(), np.bincount(made.regions.ravel(), minlength=256))
