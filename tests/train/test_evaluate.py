from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.images import Preprocess
from triptych.masks import Classes
from triptych.metrics.truth import Example, PanopticTruth, TrueSegment
from triptych.models.registry import build
from triptych.prediction import Prediction
from triptych.segmenter import Segmenter, load
from triptych.train.evaluate import Report, evaluate, evaluate_street, main

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
    report = Report({"ap": math.nan, "pq": 0.5}, {"iou": {"bus": math.nan}})
    assert report.to_dict() == {
        "figures": {"ap": None, "pq": 0.5},
        "per_class": {"iou": {"bus": None}},
    }


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of CamVid's classes that has learnt nothing."""
    from triptych.data.camvid import CLASSES as STREET

    arguments = {"classes": 11, "channels": [8] * 4, "depths": [1] * 4, "heads": [1] * 4}
    folder = tmp_path_factory.mktemp("street")
    torch.manual_seed(0)
    network = build("segformer", **arguments)
    small = Preprocess(size=(64, 96))
    Segmenter(network, small, STREET, family="segformer", arguments=arguments).save(folder)
    return folder


@pytest.mark.data
def test_the_command_measures_real_frames_and_composites(
    street: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    options = ["--data", str(shared_data), "--frames", "2", "--composites", "2"]
    assert main(["--model", str(street), *options, "--json", str(file)]) == 0
    told = capsys.readouterr().out
    assert "bicyclist" in told
    assert "frames: miou" in told
    found = json.loads(file.read_text())
    assert (found["split"], found["composite_split"]) == ("test", "val")
    assert set(found["frames"]["per_class"]) == {"iou"}
    assert set(found["composites"]["per_class"]) == {"iou", "pq", "ap"}
    for part in ("frames", "composites"):
        assert found[part]["figures"]["images"] == 2
        assert 0 <= found[part]["figures"]["miou"] < 0.3
    again = evaluate_street(load(street), shared_data, frames=2, composites=0)
    assert set(again) == {"frames"}
    assert again["frames"].to_dict() == found["frames"]


def test_mistakes_end_in_one_line(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(street), "--data", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("triptych: no folder")
    assert told.count("\n") == 1


def test_a_model_of_other_classes_is_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(TriptychError, match="has the classes road, sky, car, bus; the data have"):
        evaluate_street(segmenter, tmp_path)
