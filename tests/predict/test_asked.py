"""Networks that answer prompts have nothing to read: refused before any work, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.engines.test_engines import small
from tests.networks.models.test_registry import SMALL

from triptych.classes import Classes
from triptych.commands.cli import main
from triptych.image.preprocess import Preprocess
from triptych.segmenter import Segmenter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sam")
    Segmenter(
        small("sam", classes=1),
        Preprocess(longest_edge=64, size_divisor=64),
        Classes.of(["object"], things=["object"]),
        family="sam",
        arguments={"classes": 1, **SMALL["sam"]},
    ).save(made)
    return made


@pytest.mark.parametrize("command", ["predict", "eval", "serve", "bench"])
def test_there_is_nothing_to_read(
    command: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "photo.png"
    Image.fromarray(torch.zeros(40, 60, 3, dtype=torch.uint8).numpy()).save(picture)
    (tmp_path / "labels").mkdir()
    Image.new("L", (60, 40)).save(tmp_path / "labels" / "photo.png")
    (tmp_path / "images").mkdir()
    picture.rename(tmp_path / "images" / "photo.png")
    data = tmp_path / "set.yaml"
    data.write_text("layout: folders\nimages: images\nlabels: labels\nclasses: [object, other]\n")
    options = {
        "predict": [str(tmp_path / "images"), "--out", str(tmp_path / "out")],
        "eval": ["--data", str(data)],
        "serve": ["demo", "--port", "0"],
        "bench": ["--input", "64x64"],
    }
    assert main([command, "--model", str(folder), *options[command]]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert "answers points and boxes: its masks have no classes to read" in told[-1]
    assert not (tmp_path / "out").exists()


def test_families_without_losses_are_not_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "sam.yaml"
    recipe.write_text("model: {family: sam}\noptimisation: {steps: 2}\n")
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert "model.family: sam cannot be trained here yet; use mask2former" in told[-1]
