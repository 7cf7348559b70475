"""Figures of a model that reads the answer off the picture, and of one that errs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.evaluation.evaluate import Report, evaluate
from triptych.image.preprocess import Preprocess
from triptych.networks.contract import Prediction
from triptych.segmenter import Segmenter
from triptych.truth import Example, PanopticTruth, TrueSegment

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
        return Prediction.from_logits(self.scale * (torch.stack(masks, 1) - 0.5), classes)


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
    usual = segmenter.readings
    segmenter.readings = usual.replace(panoptic_threshold=1.0)
    try:
        assert evaluate(segmenter, [example]).figures["pq"] == 0
    finally:
        segmenter.readings = usual


def test_images_without_panoptic_truth_count_for_miou_only(segmenter: Segmenter) -> None:
    report = evaluate(segmenter, [Example(painted(), truth().semantic(255))])
    assert report.figures == {"miou": 1.0, "pixel_accuracy": 1.0, "images": 1.0}
    assert set(report.per_class) == {"iou"}


def test_no_image_at_all(segmenter: Segmenter) -> None:
    with pytest.raises(TriptychError, match="no image to evaluate on"):
        evaluate(segmenter, [])


def test_undefined_figures_are_null_in_json() -> None:
    report = Report({"ap": math.nan, "pq": 0.5}, {"iou": {"bus": math.nan}})
    assert report.to_dict() == {
        "figures": {"ap": None, "pq": 0.5},
        "per_class": {"iou": {"bus": None}},
    }


def test_classes_are_matched_by_name(segmenter: Segmenter) -> None:
    # The same truth under another table: other order, spelling, and a class nobody can find.
    data = Classes.of(["Bus", "CAR", "sky", "tram", "Road"], things=["Bus", "CAR", "tram"])
    table = {0: 4, 1: 2, 2: 1}
    whole = truth()
    moved = PanopticTruth(whole.ids, [TrueSegment(s.id, table[s.class_id]) for s in whole.segments])
    example = Example(painted(), moved.semantic(255), moved)
    report = evaluate(segmenter, [example], classes=data)
    assert report.figures["miou"] == report.figures["pq"] == 1.0
    assert set(report.per_class["pq"]) == set(data.names)


def test_classes_that_the_data_do_not_have_are_mistakes(segmenter: Segmenter) -> None:
    data = Classes.of(["road", "sky"])
    ids = np.where(np.arange(SIZE)[:, None] < SIZE // 2, 2, 1) * np.ones((1, SIZE), int)
    bare = PanopticTruth(ids, [TrueSegment(1, 0), TrueSegment(2, 1)])
    report = evaluate(segmenter, [Example(painted(), bare.semantic(255), bare)], classes=data)
    cars = 2 * 14 * 10 / (SIZE * SIZE)
    assert report.figures["pixel_accuracy"] == pytest.approx(1 - cars)
    assert report.confusion is not None
    assert report.confusion[:, -1].sum() == 2 * 14 * 10
    assert report.figures["sq"] < report.figures["rq"] == 1


def test_objects_alone_give_average_precision_alone(segmenter: Segmenter) -> None:
    known = truth()
    objects = known.instances(CLASSES.thing_ids)
    nothing = np.full((SIZE, SIZE), 255)
    report = evaluate(segmenter, [Example(painted(), nothing, instances=objects)], semantic=False)
    assert set(report.per_class) == {"ap", "ap50"}
    assert report.figures["ap"] == pytest.approx(1.0)
    assert report.confusion is None


def test_intervals_hold_the_figures(segmenter: Segmenter) -> None:
    right = Example(painted(), truth().semantic(255), truth())
    missed = Example(painted(cars=(8,)), truth().semantic(255), truth())
    report = evaluate(segmenter, [right, missed] * 4, replicates=60)
    assert set(report.intervals) == {"miou", "pq", "pq_things", "pq_stuff", "ap", "ap50", "ap75"}
    for name, (low, high) in report.intervals.items():
        assert low <= report.figures[name] <= high
        assert low < high
    assert "intervals" in report.to_dict()
