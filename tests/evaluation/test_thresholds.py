"""Thresholds that suit a model, found on images with truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from triptych.classes import Classes
from triptych.evaluation.thresholds import GRID, choose_thresholds, panoptic_truth
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.truth import Example, PanopticTruth, TrueInstance, TrueSegment

SIZE = (32, 32)
CLASSES = Classes.of(["car", "sky"], things=["car"])


def square(left: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[8:20, left : left + 10] = True
    return mask


class Model:
    """Finds the left square with a score of about 0.45, the sky with 0.6 and a ghost with 0.2."""

    classes = CLASSES
    readings = ReadingSettings()

    def for_readings(self, image: torch.Tensor) -> MaskSet:
        left, ghost = square(2), square(20)
        masks = np.stack([left, ~left, ghost])
        logits = torch.where(torch.from_numpy(masks), 12.0, -12.0)
        scores = torch.tensor([[0.45, 0.05, 0.5], [0.05, 0.6, 0.35], [0.2, 0.05, 0.75]]).log()
        scores[0, 2] = scores[0, 0] - 0.1  # likelier an object than none, and yet unsure
        geometry = Geometry(SIZE, SIZE, SIZE)
        return MaskSet(logits, scores, self.classes, geometry, readings=self.readings)


def image() -> torch.Tensor:
    return torch.zeros(*SIZE, 3, dtype=torch.uint8)


def partition() -> PanopticTruth:
    ids = np.where(square(2), 1, 2)
    return PanopticTruth(ids, [TrueSegment(1, 0), TrueSegment(2, 1)])


def chosen(example: Example):
    return choose_thresholds(Model(), [example, example])  # type: ignore[arg-type]


def test_a_short_training_is_read_with_a_lower_threshold():
    semantic = partition().semantic(255)
    found = chosen(Example(image(), semantic, partition()))
    assert found.images == 2
    assert found.usual_pq == 0, "at 0.8 the panoptic map is empty"
    assert found.pq == 1
    assert found.panoptic is not None
    assert found.panoptic < 0.45
    assert found.instance is not None
    assert 0.2 < found.instance <= 0.5
    assert found.f1 == 1
    assert "panoptic 0.4 (PQ 100.0 %, at the usual threshold 0.0 %)" in str(found)
    assert "thresholds chosen on 2 images" in str(found)


def test_outlines_alone_judge_both():
    semantic = np.where(square(2), 0, 255).astype(np.uint8)
    found = chosen(Example(image(), semantic, None, [TrueInstance(square(2), 0)]))
    assert found.instance is not None
    assert found.panoptic is not None
    assert 0.2 <= found.panoptic < 0.5


def test_class_maps_judge_the_stuff():
    semantic = np.where(square(2), 0, 1).astype(np.uint8)
    found = chosen(Example(image(), semantic))
    assert found.instance is None
    assert found.panoptic == 0.5, "the nearest to the usual one that keeps the sky"
    assert math.isnan(found.f1)


def test_nothing_that_could_be_judged():
    found = chosen(Example(image(), np.full(SIZE, 255, np.uint8)))
    assert (found.panoptic, found.instance) == (None, None)
    assert "stay as they are" in str(found)


def test_pixels_of_no_object_have_a_class_of_their_own():
    truth = panoptic_truth(
        Example(image(), np.full(SIZE, 255, np.uint8), None, [TrueInstance(square(2), 0)]), CLASSES
    )
    assert sorted((s.class_id, int((truth.ids == s.id).sum())) for s in truth.segments) == [
        (0, 120),
        (2, 32 * 32 - 120),
    ]


@pytest.mark.parametrize("threshold", GRID)
def test_the_grid_is_of_round_numbers(threshold):
    assert threshold == round(threshold, 2)
