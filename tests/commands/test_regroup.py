"""``--regroup``, as users give it to each command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.sets import disk
from tests.engines.test_engines import needs
from tests.tiny_model import tiny_segformer

from triptych.commands.cli import main
from triptych.data.camvid import CLASSES
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter, load

TABLE = "way: road; scenery: sky, tree; car"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("regroup") / "model"
    torch.manual_seed(0)
    tiny_segformer().save(folder)
    return str(folder)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


@pytest.mark.parametrize("how", ["in short", "in a file"])
def test_predict(how: str, model: str, photo: str, tmp_path: Path) -> None:
    table = TABLE
    if how == "in a file":
        table = str(tmp_path / "table.yaml")
        Path(table).write_text("way: [road]\nscenery: [sky, tree]\ncar:\n")
    out = tmp_path / "out"
    assert main(["predict", photo, "--model", model, "--regroup", table, "--out", str(out)]) == 0
    found = json.loads((out / "a.json").read_text())
    assert [entry["name"] for entry in found["classes"]] == ["way", "scenery", "car"]
    few = load(model, "cpu").regroup({"way": ["road"], "scenery": ["sky", "tree"], "car": []})
    ids = np.asarray(Image.open(out / "a.semantic.png"))
    np.testing.assert_array_equal(ids, few(photo).semantic().ids.numpy())


@pytest.mark.parametrize("to", ["openvino", "onnx"])
def test_export_keeps_the_table(to: str, model: str, photo: str, tmp_path: Path) -> None:
    needs(to)
    out = tmp_path / "exported"
    options = ["--to", to, "--out", str(out), "--size", "40x32", "--regroup", TABLE]
    assert main(["export", model, *options]) == 0
    found, plain = load(out, "cpu"), load(model, "cpu")
    assert found.engine.name == to
    assert found.classes.names == ("way", "scenery", "car")
    few = plain.regroup({"way": ["road"], "scenery": ["sky", "tree"], "car": []})
    ours, theirs = found(photo), few(photo)
    assert ours.groups == theirs.groups
    assert (ours.semantic().ids == theirs.semantic().ids).float().mean() > 0.99


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model of CamVid's classes that has learnt nothing, and data with some of them merged."""
    arguments = {"classes": 11, "channels": [8] * 4, "depths": [1] * 4, "heads": [1] * 4}
    folder = tmp_path_factory.mktemp("streets")
    torch.manual_seed(0)
    network = build("segformer", **arguments)
    small = Preprocess(size=(64, 96))
    Segmenter(network, small, CLASSES, family="segformer", arguments=arguments).save(
        folder / "model"
    )
    disk.camvid(folder / "camvid", frames=3)
    data = folder / "data.yaml"
    data.write_text(
        "layout: camvid\nroot: camvid\nclasses:\n  way: [road, pavement]\n  sky:\n  tree:\n"
    )
    return str(folder / "model"), str(data)


def test_eval_measures_by_the_new_names(
    streets: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = streets
    figures = tmp_path / "figures.json"
    table = "way: road, pavement; sky; tree"
    options = ["--data", data, "--model", model, "--regroup", table, "--json", str(figures)]
    assert main(["eval", *options, "--against", model]) == 0
    assert "cannot find" not in capsys.readouterr().out
    found = json.loads(figures.read_text())
    assert list(found["per_class"]["iou"]) == ["way", "sky", "tree"]
    assert [group["name"] for group in found["regroup"]] == ["way", "sky", "tree"]
    assert found["against"]["miou"]["interval"] == [0, 0], "the table holds for both"
    # By its own names the model has no "way".
    assert main(["eval", "--data", data, "--model", model]) == 0
    assert "does not have, and these images do not show: way;" in capsys.readouterr().out


def test_predictions_under_a_table_give_the_same_figures(
    streets: tuple[str, str], tmp_path: Path
) -> None:
    model, data = streets
    stuff = [CLASSES.names[one] for one in CLASSES.stuff_ids if CLASSES.names[one] != "tree"]
    table, out = f"sky: {', '.join(stuff)}", tmp_path / "out"
    images = str(Path(data).parent / "camvid" / "val" / "images")
    assert main(["predict", images, "--model", model, "--regroup", table, "--out", str(out)]) == 0
    told = []
    for options in (["--model", model, "--regroup", table], ["--predictions", str(out)]):
        figures = tmp_path / "figures.json"
        assert main(["eval", "--data", data, *options, "--json", str(figures)]) == 0
        told.append(json.loads(figures.read_text())["figures"])
    assert told[0] == told[1]
    assert 0 < told[0]["pixel_accuracy"] <= 1


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("x: car, road", "regroup: 'x' mixes things (car) and stuff (road); make two groups"),
        ("x: road; y: road", "regroup: 'road' is taken twice"),
        ("x: raod", "no class 'raod' (did you mean 'road'?)"),
        ("x: road; x: sky", "regroup: the group 'x' stands twice"),
        ("", "regroup: the table is empty"),
        ("missing.yaml", "no such class table: missing.yaml"),
        ("FOLDER/wrong.yaml", "line 1: unknown key 'members'"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "eval", "serve", "export"])
def test_mistakes_end_in_one_line(
    command: str,
    table: str,
    words: str,
    model: str,
    photo: str,
    streets: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "wrong.yaml").write_text("x: {members: [car]}\n")
    out = str(tmp_path / "out")
    arguments = {
        "predict": [photo, "--model", model, "--out", out],
        "eval": ["--data", streets[1], "--model", model],
        "serve": ["demo", "--model", model, "--port", "0", "--state", f"{out}.json"],
        "export": [model, "--to", "onnx", "--out", out],
    }[command]
    if command == "export":
        needs("onnx")
    table = table.replace("FOLDER", str(tmp_path))
    assert main([command, *arguments, "--regroup", table]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert len(told.splitlines()) == 1


def test_predictions_have_their_classes(
    streets: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", streets[1], "--predictions", str(tmp_path), "--regroup", "sky"]
    assert main(["eval", *options]) == 2
    assert "--regroup goes with --model" in capsys.readouterr().err
