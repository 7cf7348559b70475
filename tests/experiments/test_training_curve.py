"""The drawing of several runs in a row."""

from __future__ import annotations

import json
import re
import sys

from experiments.training_curve import FIGURES, evaluations, main


def log(folder, steps_and_values):
    folder.mkdir()
    lines = [{"event": "step", "step": 1, "loss": 2.0}]
    lines += [
        {"event": "evaluation", "step": step, **dict.fromkeys(FIGURES, value)}
        for step, value in steps_and_values
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_step_measured_twice_counts_once_and_the_start_not_at_all(tmp_path):
    run = log(tmp_path / "a", [(0, 0.9), (10, 0.1), (20, 0.2), (10, 0.3)])
    assert [(one["step"], one["miou"]) for one in evaluations(run)] == [(10, 0.3), (20, 0.2)]


def test_runs_follow_each_other_along_the_axis(tmp_path, monkeypatch, capsys):
    first = log(tmp_path / "a", [(10, 0.1), (20, 0.3)])
    second = log(tmp_path / "b", [(0, 0.5), (30, 0.5)])
    out = tmp_path / "curve.svg"
    monkeypatch.setattr(sys, "argv", ["curve", str(first), str(second), "--out", str(out)])
    main()
    drawing = out.read_text()
    assert capsys.readouterr().out == f"{out}\n"
    places = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawing)]
    assert len(places) == 3 * len(FIGURES)
    left, middle, right = places[:3]
    # Steps 10, 20 and 50 of the two runs together.
    assert abs((middle - left) / (right - left) - 10 / 40) < 0.01
    assert all(f">{tick}<" in drawing for tick in (20, 50))
