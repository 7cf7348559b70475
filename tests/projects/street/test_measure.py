"""All figures of the card by one command, on small made-up sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.sets import disk
from tests.experiments.test_thresholds import model

from projects.street import measure
from triptych.data.sets.open import open_set
from triptych.segmenter import load


def test_one_checkpoint_beside_another(tmp_path: Path, monkeypatch, capsys) -> None:
    names = ["sky", "grass", "car"]
    data = disk.coco_panoptic(tmp_path / "data")
    one, other = model(tmp_path / "one", names), model(tmp_path / "other", ["sky", "car"])
    split = data.parent if data.is_file() else data
    part = measure.Part("made up", str(split), "val2017", ("car", "sky"))
    monkeypatch.setattr(measure, "PARTS", (part,))
    monkeypatch.setattr(measure, "REPLICATES", 40)
    out = tmp_path / "out" / "figures.json"
    measure.main(["--model", one, "--against", other, "--data", str(data), "--out", str(out)])
    told = capsys.readouterr().out
    assert "## made up: " in told
    assert "| pq/sky |" in told
    assert "| class | iou | pq | ap | ap50 |" in told
    kept = json.loads(out.read_text())["made up"]
    rows = {name: (first, second) for name, first, second, _ in kept["differences"]}
    data_set = open_set(split, "val2017")
    for place, name in enumerate((other, one)):
        report = measure.report_on(load(name), data_set)
        assert rows["miou"][place] == pytest.approx(report.figures["miou"])
        assert rows["iou/sky"][place] == pytest.approx(report.per_class["iou"]["sky"])
    assert kept["figures"]["figures"]["images"] > 0
