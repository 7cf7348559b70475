"""Whole runs: how they are resumed, and what they start from."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.train import tiny
from tests.train.test_loop import log_lines

from triptych.train import runs as runs_module


def test_train_recipe_reads_overrides_and_turns_signals_into_exit_codes(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "small.yaml").write_text(tiny.tiny_recipe().to_yaml())
    made = []

    def interrupted(model, step):
        signal.raise_signal(signal.SIGINT)
        return {}

    def assemble(recipe):
        made.append(recipe)
        return tiny.tiny_parts(evaluate=interrupted if len(made) == 1 else None)

    monkeypatch.setattr(runs_module, "assemble", assemble)
    monkeypatch.chdir(tmp_path)
    overrides = ["optimisation.steps=5", "evaluation.every=2"]
    with pytest.raises(SystemExit) as stopped:
        runs_module.train_recipe(Path("small.yaml"), None, overrides, False)
    assert stopped.value.code == 130
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(
        "triptych train small.yaml --out runs/small --resume auto "
        "--override optimisation.steps=5 --override evaluation.every=2"
    )
    assert runs_module.train_recipe(Path("small.yaml"), None, overrides, True) == Path("runs/small")
    assert [line["step"] for line in log_lines(Path("runs/small"))] == [1, 2, 3, 4, 5]


def test_a_recipe_may_start_from_the_model_of_another_recipe(tmp_path, monkeypatch) -> None:
    calls = []

    def record(path: Path, out: Path, overrides: list[str], resume: bool) -> Path:
        calls.append((path, out, overrides, resume))
        (out / "model").mkdir(parents=True)
        return out

    monkeypatch.setattr(runs_module, "train_recipe", record)
    recipe = tiny.tiny_recipe(model={"start_from": "first.yaml"})
    overrides = ["optimisation.steps=3", "data.arguments.root=elsewhere", "logging.every=2"]
    runs = tmp_path / "runs"
    for _ in range(2):  # the second time its model is there
        ready = runs_module._train_first(recipe, tmp_path / "recipes", runs, overrides)
        assert ready.model.start_from == str(runs / "first" / "model")
    assert calls == [
        (tmp_path / "recipes" / "first.yaml", runs / "first", overrides[1:], True),
    ]


def test_a_recipe_that_starts_from_a_folder_or_from_nothing_trains_nothing_first(tmp_path) -> None:
    for model in ({}, {"start_from": str(tmp_path)}):
        recipe = tiny.tiny_recipe(model=model)
        assert runs_module._train_first(recipe, tmp_path, tmp_path, []) is recipe
