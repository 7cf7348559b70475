from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.images import Preprocess
from triptych.masks import Classes
from triptych.metrics.truth import PanopticTruth, TrueSegment
from triptych.models.prediction import Prediction
from triptych.segmenter import Segmenter
from triptych.train.evaluate import Example, evaluate, plain

CLASSES = Classes.of(["road", "sky", "car", "bus"], things=["car", "bus"])
SIZE = 48


class Painter(nn.Module):
    """Reads the answer off the picture: red is road, green sky, blue a car; blue halves differ."""

    competition = "independent"
    size_divisor = 1

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(40.0))
        self.passes = 0

    def forward(self, pixels: Tensor) -> Prediction:
        self.passes += 1
        left = torch.arange(pixels.shape[-1]) < SIZE // 2
        masks = [pixels[:, 0], pixels[:, 1], pixels[:, 2] * left, pixels[:, 2] * ~left]
        classes = torch.full((1, 4, 5), -20.0)
        classes[:, range(4), [0, 1, 2, 2]] = 20.0
        return Prediction(self.scale * (torch.stack(masks, 1) - 0.5), classes)


def painted(cars: tuple[int, ...] = (8, 32)) -> Tensor:
    """Sky above, road below, a car on either side from the given columns on."""
    picture = torch.zeros(SIZE, SIZE, 3, dtype=torch.uint8)
    picture[: SIZE // 2, :, 1] = 255
    picture[SIZE // 2 :, :, 0] = 255
    for start in cars:
        picture[20:34, start : start + 10] = torch.tensor([0, 0, 255], dtype=torch.uint8)
    return picture


def truth() -> PanopticTruth:
    ids = np.where(np.arange(SIZE)[:, None] < SIZE // 2, 2, 1) * np.ones((1, SIZE), int)
    ids[20:34, 8:18], ids[20:34, 32:42] = 3, 4
    classes = {1: 0, 2: 1, 3: 2, 4: 2}
    return PanopticTruth(ids, [TrueSegment(i, c) for i, c in classes.items()])


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(Painter(), Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3), CLASSES)


def test_a_perfect_model_has_perfect_figures(segmenter: Segmenter) -> None:
    right = Example(painted(), truth().semantic(255), truth())
    report = evaluate(segmenter, [right, right])
    for name in ("miou", "pixel_accuracy", "pq", "sq", "rq", "pq_things", "pq_stuff"):
        assert report.figures[name] == 1.0
    assert report.figures["ap"] == pytest.approx(1.0)
    assert report.figures["images"] == 2
    assert report.per_class["iou"]["car"] == report.per_class["pq"]["sky"] == 1.0
    assert all(math.isnan(table["bus"]) for table in report.per_class.values())
    assert math.isnan(report.per_class["ap"]["road"])  # stuff is no object


def test_each_image_goes_through_the_network_once(segmenter: Segmenter) -> None:
    example = Example(painted(), truth().semantic(255), truth())
    evaluate(segmenter, (example for _ in range(3)))
    assert segmenter.model.passes == 3


def test_every_figure_falls_with_the_mistake_that_it_measures(segmenter: Segmenter) -> None:
    moved = Example(painted(cars=(10, 32)), truth().semantic(255), truth())
    missed = Example(painted(cars=(8,)), truth().semantic(255), truth())
    worse = evaluate(segmenter, [moved]).figures
    worst = evaluate(segmenter, [missed]).figures
    for name in ("miou", "pq", "sq", "pq_things", "ap"):
        assert worse[name] < 1
    assert worse["rq"] == worse["ap50"] == 1
    assert worst["rq"] < 1
    assert worst["ap50"] == pytest.approx(0.5, abs=0.01)
    assert worst["ar100"] == pytest.approx(0.5)


def test_thresholds_reach_the_panoptic_reading(segmenter: Segmenter) -> None:
    example = Example(painted(), truth().semantic(255), truth())
    assert evaluate(segmenter, [example], threshold=1.0).figures["pq"] == 0


def test_images_without_panoptic_truth_count_for_miou_only(segmenter: Segmenter) -> None:
    report = evaluate(segmenter, [Example(painted(), truth().semantic(255))])
    assert report.figures == {"miou": 1.0, "pixel_accuracy": 1.0, "images": 1.0}
    assert set(report.per_class) == {"iou"}


def test_no_image_at_all(segmenter: Segmenter) -> None:
    with pytest.raises(TriptychError, match="no image to evaluate on"):
        evaluate(segmenter, [])


def test_undefined_figures_are_null_in_json() -> None:
    assert plain({"ap": math.nan, "pq": 0.5}) == {"ap": None, "pq": 0.5}
