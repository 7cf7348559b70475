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
from tests.train import tiny

from triptych.errors import TriptychError
from triptych.networks.decoders.annealing import MaskAnnealing
from triptych.train import loop
from triptych.train.parts import Parts
from triptych.train.stopping import TIME_IS_UP

ROOT = Path(__file__).resolve().parents[2]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "model" / "weights.pt", weights_only=True)


def assert_same(one: Path, two: Path) -> None:
    ours, theirs = weights(one), weights(two)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def log_lines(out: Path, event: str = "step") -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def timeless(lines: list[dict]) -> list[dict]:
    measured = ("seconds", "data_seconds", "memory_megabytes")
    return [{k: v for k, v in line.items() if k not in measured} for line in lines]


def go(out: Path, *, resume: bool = False, parts: dict | None = None, **sections) -> int:
    made = tiny.tiny_parts(export=tiny.save_weights, **(parts or {}))
    return loop.run(tiny.tiny_recipe(**sections), made, out, resume=resume)


def program(out: Path, **settings) -> list[str]:
    return [
        sys.executable,
        "-W",
        "error",
        str(ROOT / "tests/train/tiny.py"),
        json.dumps({"out": str(out), **settings}),
    ]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **more}


def test_training_lowers_the_loss_and_logs_every_step(tmp_path):
    assert go(tmp_path, optimisation={"steps": 60, "learning_rate": 0.05}) == 0
    lines = log_lines(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    assert lines[0]["loss"] == pytest.approx(sum(lines[0]["losses"].values()))
    assert set(lines[0]) >= {"learning_rate", "seconds", "data_seconds", "memory_megabytes"}


def test_same_recipe_gives_the_same_weights_and_another_seed_does_not(tmp_path):
    go(tmp_path / "a")
    go(tmp_path / "b")
    go(tmp_path / "c", optimisation={"seed": 1})
    assert_same(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_number_of_workers_does_not_change_the_result(tmp_path, workers):
    go(tmp_path / "alone", optimisation={"steps": 6})
    go(tmp_path / "helped", optimisation={"steps": 6}, data={"workers": workers})
    assert_same(tmp_path / "alone", tmp_path / "helped")


def test_killed_twice_and_resumed_equals_uninterrupted(tmp_path):
    """Shown with real processes, ``kill -9``, a prefetching worker, batch norm and dropout."""
    common: dict = {"optimisation": {"steps": 40, "schedule": "cosine"}, "checkpoint": {"steps": 3}}
    go(tmp_path / "whole", **common)
    out = tmp_path / "cut"
    settings = {"recipe": common | {"data": {"workers": 1}}, "parts": {"delay": 0.03}}
    for least in (8, 22):
        process = subprocess.Popen(
            program(out, resume=True, **settings), env=environment(), stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        log = out / "log.jsonl"
        while not log.exists() or log.read_bytes().count(b'"event": "step"') < least:
            assert time.monotonic() < deadline
            assert process.poll() is None, "it should still be training"
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (out / "model").exists()
    finished = subprocess.run(
        program(out, resume=True, **settings), env=environment(), capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert_same(tmp_path / "whole", out)
    assert timeless(log_lines(out)) == timeless(log_lines(tmp_path / "whole"))
    starts = [line["step"] for line in log_lines(out, "start")]
    assert len(starts) == 3
    assert 0 < starts[1] < starts[2] < 40


def test_truncated_newest_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    whole, out = tmp_path / "whole", tmp_path / "cut"
    go(whole, checkpoint={"steps": 5})
    go(out, checkpoint={"steps": 5})
    newest = out / "checkpoints" / "step-00000012.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    (out / "model" / "weights.pt").unlink()
    go(out, resume=True, checkpoint={"steps": 5})
    assert "cannot read checkpoint" in capsys.readouterr().err
    assert log_lines(out, "start")[-1]["step"] == 10
    assert_same(whole, out)
    assert timeless(log_lines(out)) == timeless(log_lines(whole))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_finishes_the_step_and_writes_a_checkpoint(tmp_path, number):
    whole, out = tmp_path / "whole", tmp_path / "cut"
    go(whole)
    before = signal.getsignal(number)

    def interrupted(model, step):
        signal.raise_signal(number)
        return {"figure": 1.0}

    parts = tiny.tiny_parts(evaluate=interrupted)
    recipe = tiny.tiny_recipe(evaluation={"every": 5})
    # The evaluation runs after the question whether to stop, so one more step is done.
    assert loop.run(recipe, parts, out) == number
    assert signal.getsignal(number) is before
    assert [path.stem for path in (out / "checkpoints").iterdir()] == ["step-00000006"]
    assert go(out, resume=True) == 0
    assert_same(whole, out)


def test_time_limit_stops_cleanly_exports_and_can_be_resumed(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "cut"
    go(whole)
    assert go(out, time_limit=1e-9) == TIME_IS_UP
    assert len(log_lines(out)) == 1
    assert (out / "model").exists()
    assert go(out, resume=True) == 0
    assert_same(whole, out)


def test_finished_run_resumed_changes_nothing(tmp_path):
    go(tmp_path)
    before = weights(tmp_path)
    assert go(tmp_path, resume=True) == 0
    assert len(log_lines(tmp_path)) == 12
    for name, tensor in weights(tmp_path).items():
        assert torch.equal(tensor, before[name])


def test_evaluation_sees_the_average_at_its_steps_and_after_the_last(tmp_path):
    seen = {}

    def evaluate(model, step):
        assert not model.training
        seen[step] = model.head.weight.clone()
        return {"miou": step / 100}

    parts = tiny.tiny_parts(evaluate=evaluate, export=tiny.save_weights)
    loop.run(tiny.tiny_recipe(evaluation={"every": 5}), parts, tmp_path)
    assert list(seen) == [5, 10, 12]
    assert torch.equal(seen[12], weights(tmp_path)["head.weight"])
    assert not torch.equal(seen[12], parts.model.head.weight)
    assert [line["miou"] for line in log_lines(tmp_path, "evaluation")] == [0.05, 0.1, 0.12]


def test_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path):
    parts = {"norm": "group", "dropout": 0.0}
    go(tmp_path / "one", parts=parts)
    go(tmp_path / "four", parts=parts, optimisation={"accumulate": 4})
    theirs = weights(tmp_path / "four")
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=0)


def test_loss_that_is_not_finite_names_step_term_and_images(tmp_path):
    parts = tiny.tiny_parts(poison="dice")
    with pytest.raises(TriptychError, match=r"step 1: not finite: dice = nan, on images tiny-0, "):
        loop.run(tiny.tiny_recipe(), parts, tmp_path)
    assert not list((tmp_path / "checkpoints").glob("*"))


@pytest.mark.parametrize("workers", [0, 1])
def test_error_in_a_sample_arrives_as_its_one_line(tmp_path, workers):
    class Broken(tiny.TinyData):
        def __getitem__(self, index):
            if index == 9:
                raise TriptychError("picture 9 is truncated; fetch it again")
            return super().__getitem__(index)

    made = tiny.tiny_parts()
    parts = Parts(made.model, made.criterion, Broken(), tiny.collate)
    with pytest.raises(TriptychError, match=r"^picture 9 is truncated; fetch it again$"):
        loop.run(tiny.tiny_recipe(data={"workers": workers}), parts, tmp_path)


def test_annealing_counts_steps_and_not_the_parts_of_a_batch(tmp_path):
    made = tiny.tiny_parts()
    made.model.fading = MaskAnnealing(0, 12)
    recipe = tiny.tiny_recipe(optimisation={"accumulate": 2})
    assert loop.run(recipe, made, tmp_path) == 0
    assert int(made.model.fading.seen) == recipe.optimisation.steps == 12


def test_run_is_not_overwritten_without_being_asked(tmp_path):
    go(tmp_path)
    with pytest.raises(TriptychError, match=r"holds a run already; go on with --resume auto"):
        go(tmp_path)


def test_resuming_with_another_recipe_names_what_changed(tmp_path):
    go(tmp_path)
    with pytest.raises(TriptychError, match=r"another recipe: optimisation\.learning_rate changed"):
        go(tmp_path, resume=True, optimisation={"learning_rate": 0.02})
    harmless: dict = {
        "data": {"workers": 0, "prefetch": 5},
        "logging": {"every": 3},
        "time_limit": 9.0,
    }
    assert go(tmp_path, resume=True, **harmless) == 0


def test_second_training_in_the_same_folder_is_refused(tmp_path):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
            "print('held', flush=True); sys.stdin.read()",
            str(tmp_path / ".lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TriptychError, match="another training is running in"):
            go(tmp_path)
    assert go(tmp_path) == 0


def test_crop_must_suit_the_network(tmp_path):
    parts = tiny.tiny_parts()
    parts.model.size_divisor = 32
    with pytest.raises(TriptychError, match=r"step 1: training crops are 8 x 8.*multiples of 32"):
        loop.run(tiny.tiny_recipe(), parts, tmp_path)


def test_frozen_norm_keeps_the_statistics_of_the_backbone(tmp_path):
    parts = tiny.tiny_parts()
    before = parts.model.backbone[1].weight.clone()
    loop.run(tiny.tiny_recipe(model={"freeze_norm": True}), parts, tmp_path)
    norm = parts.model.backbone[1]
    assert torch.equal(norm.running_mean, torch.zeros(8))
    assert not torch.equal(norm.weight, before), "scale and shift learn on"
