"""``triptych eval`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.data.sets import disk

from triptych.commands.cli import main
from triptych.data.camvid import CLASSES
from triptych.data.sets.open import open_set
from triptych.data.spread import spread
from triptych.evaluation.evaluate import evaluate
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter, load


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of CamVid's classes that has learnt nothing."""
    arguments = {"classes": 11, "channels": [8] * 4, "depths": [1] * 4, "heads": [1] * 4}
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = build("segformer", **arguments)
    small = Preprocess(size=(64, 96))
    Segmenter(network, small, CLASSES, family="segformer", arguments=arguments).save(folder)
    return str(folder)


def test_a_model_is_measured(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = disk.camvid(tmp_path / "camvid", frames=3)
    figures, confusion = tmp_path / "figures.json", tmp_path / "confusion.png"
    options = ["--intervals", "20", "--json", str(figures), "--confusion", str(confusion)]
    assert main(["eval", "--model", model, "--data", str(data), *options]) == 0
    told = capsys.readouterr().out
    assert "bicyclist" in told
    assert "95 % interval" in told
    assert "split val: 3 images" in told
    found = json.loads(figures.read_text())
    assert found["data"].endswith("split val")
    assert found["figures"]["images"] == 3
    assert (found["engine"], found["precision"]) == ("eager", "fp32"), "what auto became"
    assert set(found["per_class"]) == {"iou"}
    assert found["readings"]["overlap"] == 0.8, "the checkpoint's"
    low, high = found["intervals"]["miou"]
    assert 0 <= low <= found["figures"]["miou"] <= high <= 1
    with Image.open(confusion) as picture:
        assert min(picture.size) > 300


def test_two_models_are_compared_on_the_same_images(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = disk.camvid(tmp_path / "camvid", frames=3)
    figures = tmp_path / "figures.json"
    options = ["--against", model, "--classes", "sky", "--json", str(figures)]
    assert main(["eval", "--model", model, "--data", str(data), *options]) == 0
    told = capsys.readouterr().out
    assert "IoU sky" in told
    assert "+0.0 to +0.0" in told
    against = json.loads(figures.read_text())["against"]
    assert against["model"] == model
    assert against["miou"]["interval"] == [0, 0]


def test_images_may_be_fewer(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = disk.camvid(tmp_path / "camvid", frames=3)
    assert main(["eval", "--model", model, "--data", str(data), "--count", "2"]) == 0
    assert ": 2 images" in capsys.readouterr().out


def test_predictions_give_the_same_figures_as_their_model(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = disk.camvid(tmp_path / "camvid")
    out = str(tmp_path / "out")
    images = str(data / "val" / "images")
    assert main(["predict", images, "--model", model, "--out", out]) == 0
    files = [tmp_path / "of_model.json", tmp_path / "of_files.json"]
    for source, file in zip((["--model", model], ["--predictions", out]), files, strict=True):
        assert main(["eval", "--data", str(data), *source, "--json", str(file)]) == 0
    ours, theirs = (json.loads(file.read_text()) for file in files)
    assert ours["figures"] == theirs["figures"]
    assert theirs["engine"] is None
    capsys.readouterr()


@pytest.mark.data
def test_composites_have_all_three_figures(
    model: str, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    options = ["--split", "val", "--count", "2", "--json", str(figures)]
    assert main(["eval", "--model", model, "--data", str(shared_data), *options]) == 0
    found = json.loads(figures.read_text())
    assert set(found["per_class"]) == {"iou", "pq", "ap", "ap50"}
    assert "composites" in found["data"]
    # The pictures that are measured hold what was pasted, like those that anybody else reads.
    data = open_set(shared_data, "val")
    examples = (data[index] for index in spread(len(data), 2))
    report = evaluate(load(model, "cpu"), examples, classes=data.classes)
    assert found["figures"] == report.to_dict()["figures"]
    assert "composites" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give either --model or --predictions"),
        (["--model", "street", "--predictions", "x"], "give either --model or --predictions"),
        (["--model", "street", "--count", "-1"], "must not be negative"),
        (["--model", "street", "--split", "best"], "no split 'best'; there are: val"),
        (["--predictions", "x", "--against", "street"], "--against compares two models"),
        (["--model", "street", "--classes", "car"], "--classes goes with --against"),
        (["--predictions", "nowhere"], "no folder of results nowhere"),
    ],
)
def test_mistakes_end_in_one_line(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = disk.camvid(tmp_path / "camvid")
    assert main(["eval", "--data", str(data), *options]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_faults_are_told_in_one_line_and_what_makes_truth_wrong_stops(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = disk.camvid(tmp_path / "camvid", frames=3)
    (data / "val" / "labels" / "0016E5_00001.png").unlink()
    disk.numbers(data / "val" / "labels" / "0016E5_00002.png", disk.halves(11, 11))
    assert main(["eval", "--model", model, "--data", str(data)]) == 0
    before, after = capsys.readouterr().err.splitlines()
    assert "1 fault (image without labels: 1), such as: image" in before
    assert "are void everywhere" in after
    disk.numbers(data / "val" / "labels" / "0016E5_00002.png", disk.halves(77, 77))
    assert main(["eval", "--model", model, "--data", str(data)]) == 2
    assert "hold 77" in capsys.readouterr().err


def test_a_class_that_no_image_shows_gets_no_0(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = "classes: [sky, {name: cow, thing: true}, horse]\n"
    file = disk.plain(tmp_path, listed)
    assert main(["eval", "--model", model, "--data", str(file)]) == 0
    told = capsys.readouterr().out
    assert "the model cannot find, and gets 0 for: cow\n" in told
    assert "the model does not have, and these images do not show: horse; they count in" in told


def test_nothing_to_measure(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = disk.coco_instances(tmp_path, lambda content: content["annotations"].clear())
    assert main(["eval", "--model", model, "--data", str(data)]) == 2
    assert "no image has an object; there is nothing to measure" in capsys.readouterr().err
