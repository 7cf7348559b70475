"""The plain readings against the fast ones, on mask sets in which something is found."""

from __future__ import annotations

import torch
from tests.bench.small import subject

from triptych.bench import plain
from triptych.classes import Classes
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet


def made_up() -> MaskSet:
    with subject("mask2former") as one:
        assert one.masks is not None
        return one.masks


def test_plain_readings_are_the_fast_ones() -> None:
    masks = made_up()
    assert plain.same_pixels(masks.semantic().ids, plain.semantic(masks)) > 0.999
    whole = masks.panoptic()
    assert len(whole.segments) > 1
    classes = torch.tensor([-1, *(segment.class_id for segment in whole.segments)])
    assert plain.same_pixels(classes[whole.ids.long()], plain.panoptic(masks)) > 0.999
    found = [(one.class_id, one.mask) for one in masks.instances()]
    assert len(found) > 3
    assert plain.same_objects(found, plain.instances(masks)) > 0.999


def test_a_labeller_takes_the_largest() -> None:
    with subject("segformer") as one:
        masks = one.masks
    assert masks is not None
    assert plain.same_pixels(masks.semantic().ids, plain.semantic(masks)) > 0.999


def test_padding_is_cut_off() -> None:
    grid = torch.zeros(1, 2, 2)
    grid[:, :, 1] = 9
    logits = torch.tensor([[5.0, 0.0]])
    geometry = Geometry(input_size=(4, 4), valid_size=(4, 1), image_size=(4, 1))
    masks = MaskSet(grid, logits, Classes.of(["car"], things=["car"]), geometry)
    assert plain.upsampled(masks).shape == (1, 4, 1)
    assert plain.upsampled(masks).max() == 0


def test_objects_agree_by_their_pixels() -> None:
    left, right = torch.zeros(2, 4, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.bool)
    left[:, :2], right[:, 2:] = True, True
    assert plain.same_objects([], []) == 1
    assert plain.same_objects([(0, left)], []) == 0
    assert plain.same_objects([(0, left), (1, right)], [(1, right), (0, left)]) == 1
    assert plain.same_objects([(0, left)], [(1, left)]) == 0
    assert plain.same_objects([(0, left | right)], [(0, right)]) == 0.5
    # Two that claim the same one: it counts once.
    assert plain.same_objects([(0, left), (0, left)], [(0, left)]) == 0.5
