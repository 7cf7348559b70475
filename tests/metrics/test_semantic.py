from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from triptych.errors import TriptychError
from triptych.metrics.semantic import ConfusionMatrix


def slow_iou(predicted: list[np.ndarray], true: list[np.ndarray], classes: int) -> list[float]:
    """Set by set, straight from the definition."""
    result = []
    for k in range(classes):
        both = either = 0
        for guess, truth in zip(predicted, true, strict=True):
            for g, t in zip(guess.ravel().tolist(), truth.ravel().tolist(), strict=True):
                if t != 255:
                    both += g == k and t == k
                    either += g == k or t == k
        result.append(both / either if either else math.nan)
    return result


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition_over_several_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [(7, 9), (1, 1), (12, 5)]
    predicted = [rng.integers(0, 4, size) for size in sizes]
    true = [rng.choice([0, 1, 2, 3, 255], size) for size in sizes]
    matrix = ConfusionMatrix(6)
    for guess, truth in zip(predicted, true, strict=True):
        matrix.update(torch.from_numpy(guess), truth.astype(np.uint8))
    expected = slow_iou(predicted, true, 6)
    np.testing.assert_allclose(matrix.iou(), expected, rtol=0, atol=1e-12)
    assert matrix.miou == pytest.approx(np.nanmean(expected), abs=1e-12)
    right = sum(int(((g == t) & (t != 255)).sum()) for g, t in zip(predicted, true, strict=True))
    assert matrix.pixel_accuracy == right / sum(int((t != 255).sum()) for t in true)


def test_absent_classes_are_left_out_but_false_alarms_are_not() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update([[0, 0, 1, 2]], [[0, 0, 1, 1]])
    iou = matrix.iou()
    assert iou[:3].tolist() == [1.0, 0.5, 0.0]
    assert math.isnan(iou[3])
    assert matrix.miou == 0.5
    assert matrix.matrix.tolist() == [[2, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0] * 5, [0] * 5]


def test_before_the_first_pixel_everything_is_undefined() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update([[0, 1]], [[255, 255]])
    assert np.isnan(matrix.iou()).all()
    assert math.isnan(matrix.miou)
    assert math.isnan(matrix.pixel_accuracy)


def test_another_ignored_id() -> None:
    matrix = ConfusionMatrix(11, ignore=11)
    matrix.update([[3, 3]], [[3, 11]])
    assert matrix.pixel_accuracy == 1.0


@pytest.mark.parametrize(
    ("predicted", "true", "words"),
    [
        ([[0, 3]], [[0, 1]], "prediction holds id 3; ids go from 0 to 2"),
        ([[0, -1]], [[0, 1]], "prediction holds id -1"),
        ([[0, 0]], [[0, 7]], "truth holds id 7"),
        ([[0, 0]], [[0]], "resize the prediction"),
    ],
)
def test_mistakes_are_named(predicted: list, true: list, words: str) -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(TriptychError, match=words):
        matrix.update(predicted, true)
    assert matrix.matrix.sum() == 0


def test_an_id_predicted_on_ignored_pixels_does_not_matter() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update([[1, 99]], [[1, 255]])
    assert matrix.miou == 1.0


def test_no_prediction_is_a_mistake_of_the_true_class_alone() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update([[0, 255, 1, 255]], [[0, 0, 1, 255]])
    assert matrix.iou().tolist() == [0.5, 1.0]
    assert matrix.pixel_accuracy == pytest.approx(2 / 3)
    assert matrix.matrix.tolist() == [[1, 0, 1], [0, 1, 0]]
    twice = ConfusionMatrix(2)
    twice += matrix
    twice += matrix
    assert twice.matrix.tolist() == [[2, 0, 2], [0, 2, 0]]
