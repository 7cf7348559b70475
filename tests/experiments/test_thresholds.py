"""Panoptic quality over thresholds: each pair as the metric has it alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.data.sets import disk

from experiments import thresholds
from triptych.classes import Classes
from triptych.data.sets.open import open_set
from triptych.errors import TriptychError
from triptych.evaluation.evaluate import evaluate
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter, load


def model(folder: Path, classes: list[str]) -> str:
    """A query network that has learnt nothing, with sharp classes, so that scores spread."""
    arguments = {
        "classes": len(classes),
        "backbone": "efficientnet_lite0",
        "pixel_decoder": "fpn",
        "encoder_layers": 0,
        "queries": 8,
        "dim": 8,
        "heads": 2,
        "feedforward": 8,
        "layers": 1,
    }
    torch.manual_seed(0)
    network = build("mask2former", **arguments)
    head = network.get_submodule("query_decoder.head")
    head.classes.weight.data *= 8  # type: ignore[union-attr,operator]
    table = Classes.of(classes, things=["car"])
    Segmenter(
        network, Preprocess(size=(64, 64)), table, family="mask2former", arguments=arguments
    ).save(folder)
    return str(folder)


def test_each_pair_is_what_the_metric_says_alone(tmp_path: Path, capsys) -> None:
    root = disk.coco_panoptic(tmp_path / "data")
    name = model(tmp_path / "model", ["sky", "grass", "car"])
    results = tmp_path / "curve.json"
    options = ["--scores", "0.2", "0.6", "--overlaps", "0.1", "0.9", "--results", str(results)]
    thresholds.main(["--model", name, "--data", str(root), *options])
    assert "| 0.2 |" in capsys.readouterr().out
    assert results.with_suffix(".svg").read_text().startswith("<svg")
    data, segmenter = open_set(root), load(name)
    rows = thresholds.curve(segmenter, [data[0]], data.classes, [0.2, 0.6], [0.1, 0.9])
    assert len(rows) == 4
    for row in rows:
        segmenter.readings = segmenter.readings.replace(
            panoptic_threshold=row["score"], overlap=row["overlap"]
        )
        alone = evaluate(segmenter, [data[0]], classes=data.classes).figures
        for part in thresholds.PARTS:
            assert row[part] == pytest.approx(alone[part], nan_ok=True)
    assert not all(math.isnan(row["pq"]) for row in rows)


def test_data_without_panoptic_truth_are_refused(tmp_path: Path) -> None:
    root = disk.camvid(tmp_path / "camvid")
    with pytest.raises(TriptychError, match="has no panoptic truth"):
        thresholds.main(["--data", str(root), "--model", model(tmp_path / "m", ["sky", "car"])])
