"""A recipe in stages: what each trains, and that a stop at any moment changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.data.sets import disk

from triptych import config
from triptych.commands.cli import main
from triptych.errors import TriptychError
from triptych.train.stages import stage_recipes

RECIPE = """\
model:
  family: segformer
  arguments: {channels: [8, 8, 8, 8], depths: [1, 1, 1, 1], heads: [1, 1, 1, 1]}
data:
  dataset: set
  workers: 0
  arguments: {root: data/mine.yaml, crop: [32, 32], things: 0.0}
optimisation: {steps: 4, batch_size: 2, learning_rate: 0.01, device: cpu, precision: fp32}
checkpoint: {seconds: null, steps: 2}
logging: {seconds: 1000}
stages:
  - {}
  - optimisation: {steps: 6, learning_rate: 0.001, seed: 1}
    data: {arguments: {crop: [64, 64]}}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    disk.plain(tmp_path / "data")
    file = tmp_path / "small.yaml"
    file.write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return file


def steps(run: Path) -> list[int]:
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [line["step"] for line in lines if line["event"] == "step"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    (file,) = (run / "model").glob("*.safetensors")
    return load_file(file)


def stages(text: str, *overrides: str) -> list:
    file = Path("recipe.yaml")
    file.write_text(text)
    return stage_recipes(config.read_document(file), overrides)


def test_a_stage_is_the_recipe_with_its_changes(recipe: Path) -> None:
    first, second = stages(RECIPE, "optimisation.batch_size=8")
    assert (first.optimisation.steps, second.optimisation.steps) == (4, 6)
    assert (first.optimisation.learning_rate, second.optimisation.learning_rate) == (0.01, 0.001)
    assert second.data.arguments == {"root": "data/mine.yaml", "crop": [64, 64], "things": 0.0}
    assert first.optimisation.batch_size == second.optimisation.batch_size == 8
    assert stages(RECIPE.partition("stages")[0]) == []


def test_each_stage_starts_from_the_one_before(recipe: Path) -> None:
    out = Path("out")
    assert main(["train", str(recipe), "--out", str(out)]) == 0
    assert steps(out / "stage-1") == [1, 2, 3, 4]
    assert steps(out / "stage-2") == [1, 2, 3, 4, 5, 6]
    second = config.read_document(out / "stage-2" / "recipe.yaml").values
    assert second["model"]["start_from"] == str(out / "stage-1" / "model")
    ours, last = weights(out), weights(out / "stage-2")
    assert all(torch.equal(ours[name], last[name]) for name in last)
    assert any(not torch.equal(ours[n], w) for n, w in weights(out / "stage-1").items())


def test_what_is_done_is_not_done_again(recipe: Path, capsys) -> None:
    assert main(["train", str(recipe), "--out", "out"]) == 0
    before = (Path("out") / "stage-1" / "log.jsonl").read_bytes()
    assert main(["train", str(recipe), "--out", "out"]) == 2
    assert "out holds a run already; go on with --resume auto" in capsys.readouterr().err
    assert main(["train", str(recipe), "--out", "out", "--resume", "auto"]) == 0
    assert (Path("out") / "stage-1" / "log.jsonl").read_bytes() == before


def test_a_time_limit_is_for_all_stages_and_leaves_them_to_be_resumed(recipe: Path, capsys) -> None:
    whole, cut = Path("whole"), Path("cut")
    more = ["--override", "optimisation.steps=2"]
    assert main(["train", str(recipe), "--out", str(whole), *more]) == 0
    stop = [*more, "--override", "time_limit=1e-9"]
    for _ in range(6):
        assert main(["train", str(recipe), "--out", str(cut), "--resume", "auto", *stop]) == 0
        if (cut / "model").is_dir():
            break
        assert "stopped early; go on with: triptych train" in capsys.readouterr().err
    ours, theirs = weights(cut), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert len(steps(cut / "stage-1")) == 2


@pytest.mark.slow
def test_killed_in_any_stage_and_resumed_equals_uninterrupted(recipe: Path) -> None:
    whole, cut = Path("whole"), Path("cut")
    more = ["--override", "checkpoint.steps=1", "--override", "optimisation.steps=8"]
    assert main(["train", str(recipe), "--out", str(whole), *more]) == 0
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "triptych", "train", str(recipe), "--out", str(cut), *more]
    command += ["--resume", "auto"]
    for stage in ("stage-1", "stage-2"):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        log, deadline = cut / stage / "log.jsonl", time.monotonic() + 120
        while not log.exists() or log.read_bytes().count(b'"event": "step"') < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None, "it should still be training"
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (cut / "model").exists()
    assert main(["train", str(recipe), "--out", str(cut), *more, "--resume", "auto"]) == 0
    for stage in ("stage-1", "stage-2", ""):
        ours, theirs = weights(cut / stage), weights(whole / stage)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("optimisation: {step: 3}", r"line 15: unknown key 'step' in section 'optimisation'"),
        ("optimisation: {steps: x}", r"line 15: optimisation.steps must be a whole number"),
        ("time_limit: 3", r"line 15: time_limit is for the whole recipe"),
        ("stages: []", r"line 15: stages is for the whole recipe"),
    ],
)
def test_mistakes_are_told_with_their_line(recipe: Path, stage: str, words: str) -> None:
    with pytest.raises(TriptychError, match=words):
        stages(RECIPE + f"  - {stage}\n")
