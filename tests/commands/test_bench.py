"""``triptych bench`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.bench.small import FAMILIES, PEAKS
from tests.engines.test_engines import needs

from triptych.commands.cli import main

SMALL = ["bench", "--rounds", "1", "--size", "96x64", "--device", "cpu"]


def small(family: str) -> list[str]:
    options = [*SMALL, "--random", family]
    for assignment in ["classes=6", *FAMILIES[family]]:
        options += ["--override", assignment]
    return options


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    # Large matrices take long on one thread.
    monkeypatch.setattr("triptych.bench.measure.measure_peaks", lambda *args: PEAKS)


def test_everything_is_told_written_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, drawing = tmp_path / "figures.json", tmp_path / "plot.svg"
    options = ["--batch", "1", "3", "--against", "transformers"]
    files = ["--json", str(figures), "--plot", str(drawing)]
    assert main([*small("mask2former"), *options, *files]) == 0
    told = capsys.readouterr().out
    for word in ("pixel decoder", "panoptic", "pictures/s", "times as", "mask logits"):
        assert word in told
    assert "network input 96x64, float32" in told
    assert "what is read and drawn is a made-up mask set" in told

    found = json.loads(figures.read_text())
    assert found["picture"] == [96, 64]
    stages = {stage["name"]: stage for stage in found["stages"]}
    total = sum(stage["seconds"]["median"] for stage in stages.values())
    assert total == pytest.approx(found["whole"]["median"])
    backbone = stages["backbone"]
    assert backbone["floor"] == max(backbone["operations"] / 1e11, backbone["bytes"] / 1e10)
    assert stages["decode"]["floor"] is None
    assert [one["batch"] for one in found["throughput"]] == [1, 3]
    for one in found["throughput"]:
        assert one["rate"] == pytest.approx(one["batch"] / one["seconds"]["median"])
    assert [one["name"] for one in found["beside"]] == [
        "forward",
        "semantic",
        "instances",
        "panoptic",
    ]

    words = [text.text or "" for text in ElementTree.parse(drawing).findall(".//{*}text")]
    assert {"backbone", "pixel decoder", "draw", "forward"} <= set(words)
    assert any("Pictures a second" in word for word in words)


def test_answers_that_differ_end_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("triptych.bench.beside.TOLERANCE", 0.0)
    monkeypatch.setattr("triptych.bench.beside.FEW", -1.0)  # a share above 1 is out of reach
    assert main([*small("segformer"), "--against", "transformers"]) == 1
    assert "the answers differ" in capsys.readouterr().out


def test_another_engine_is_timed_beside_eager(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("openvino")
    figures, drawing = tmp_path / "figures.json", tmp_path / "plot.svg"
    files = ["--json", str(figures), "--plot", str(drawing)]
    assert main([*small("segformer"), "--engine", "openvino", *files]) == 0
    told = capsys.readouterr().out
    assert "eager ms" in told
    assert "engine openvino: " in told
    found = json.loads(figures.read_text())
    assert (found["engine"], found["against"]) == ("openvino", "eager")
    assert found["preparation"] > 0
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert "backbone" not in stages
    assert stages["network"]["operations"] > 1e6
    assert [one["name"] for one in found["beside"]] == ["forward", "file to drawing"]
    assert [one["what"] for one in found["agreements"]] == ["mask logits"]
    assert found["agreements"][0]["value"] < 1e-4
    assert "openvino (blue), eager (brown)" in drawing.read_text()


def test_bf16_and_a_busy_machine_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (77.7, 0.0, 0.0))
    assert main([*small("segformer"), "--precision", "bf16"]) == 0
    told = capsys.readouterr().out
    assert "bfloat16" in told
    assert "busy machine: 77.7 programs" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "640"], "--size is '640'; give WIDTHxHEIGHT"),
        (["--input", "0x4"], "--input is '0x4'"),
        (["--threads", "0"], "--threads is 0"),
        (["--engine", "openvion"], "openvion"),
        (["--rounds", "0"], "rounds and batch sizes must be at least 1"),
        (["--batch", "0"], "rounds and batch sizes must be at least 1"),
        (["--random", "unet"], "neither a family"),
        (["--model", "street", "--backbone", "swin_tiny"], "are for --random"),
    ],
)
def test_mistakes_end_in_one_line(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench"] if "--random" in options or "--model" in options else small("segformer")
    assert main([*arguments, *options]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
