from __future__ import annotations

import io
import json
import sys

import pytest
from rich.console import Console

from triptych.errors import TriptychError
from triptych.train.log import JsonLines, RunLog

RECORD = {"step": 3, "loss": 1.5, "losses": {"mask": 1.0, "dice": 0.5}, "learning_rate": 0.1}


def make(out, *, terminal: bool = False, **changes) -> tuple[RunLog, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, soft_wrap=True, width=200)
    options = {"first_step": 0, "steps": 10, "log_bytes": 0, "seconds": 0.0, "tensorboard": False}
    return RunLog(out, console=console, **{**options, **changes}), stream


def test_lines_behind_the_start_are_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = JsonLines(path, 0)
    lines.write({"step": 1})
    position = lines.position()
    lines.write({"step": 2})
    lines.close()
    again = JsonLines(path, position)
    again.write({"step": 3})
    again.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]


def test_log_shorter_than_the_checkpoint_says_is_continued(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n')
    lines = JsonLines(path, 1000)
    lines.write({"step": 2})
    lines.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_line_is_on_disk_at_once(tmp_path):
    log, _ = make(tmp_path)
    log.step(RECORD)
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"event": "step", **RECORD}
    log.close()


def test_without_a_terminal_plain_lines_come_as_often_as_asked(tmp_path):
    log, stream = make(tmp_path, seconds=1000.0)
    for step in range(1, 11):
        log.advance(step, 1.25)
    log.evaluation(10, {"miou": 0.5, "iou/sky": 0.25, "ap": float("nan")})
    log.close()
    record = json.loads((tmp_path / "log.jsonl").read_text())
    assert record == {"event": "evaluation", "step": 10, "miou": 0.5, "iou/sky": 0.25, "ap": None}
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2, "the last step is always told"
    assert lines[0].startswith("step 10/10  loss 1.250")
    assert "left" in lines[0]
    assert lines[1] == "step 10: miou 0.5, ap nan"

    log, stream = make(tmp_path, seconds=0.0)
    for step in range(1, 11):
        log.advance(step, 1.25)
    log.close()
    assert len(stream.getvalue().splitlines()) == 10


def test_on_a_terminal_a_bar_shows_rate_and_time_left(tmp_path):
    log, stream = make(tmp_path, terminal=True, first_step=4)
    log.advance(5, 1.25)
    log.close()
    shown = stream.getvalue()
    assert "5/10" in shown
    assert "s/step" in shown
    assert "left" in shown


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_every_figure(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log, _ = make(tmp_path, tensorboard=True)
    log.step(RECORD)
    log.evaluation(3, {"miou": 0.25})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "loss",
        "learning_rate",
        "losses/mask",
        "losses/dice",
        "evaluation/miou",
    }
    [figure] = events.Scalars("evaluation/miou")
    assert (figure.step, figure.value) == (3, 0.25)


def test_missing_tensorboard_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TriptychError, match=r"pip install '\.\[tensorboard\]'"):
        make(tmp_path, tensorboard=True)
