"""The experiments that train, each from end to end in a miniature."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from experiments.merge import merge
from tests.data.sets.disk import camvid

from experiments import masked_attention, positions, shapes, three_for_one
from triptych.classes import Classes
from triptych.data.sets.check import check
from triptych.data.sets.open import open_set
from triptych.readings.instance import Instance, Instances
from triptych.readings.semantic import SemanticMap
from triptych.train.recipe import read_recipe

COUNTS = {"train": 4, "val": 2}


def options(folder: Path, *more: str) -> list[str]:
    short = ["optimisation.steps=2", "optimisation.warmup_steps=0", "optimisation.batch_size=2"]
    given = ["--seeds", "1", "--out", str(folder / "runs"), "--results", str(folder / "r.json")]
    return given + [word for value in (*short, *more) for word in ("--override", value)]


def small(folder: Path) -> list[str]:
    size = ["model.arguments.layers=2", "evaluation.every=1", "criterion.points=64"]
    return options(folder, f"data.arguments.root={folder / 'shapes'}", *size)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("drawn") / "shapes", COUNTS)


def test_shapes_are_a_sound_data_set(drawn: Path) -> None:
    for source in (drawn, drawn / shapes.THINGS_FILE):
        for split, count in COUNTS.items():
            data = open_set(source, split)
            assert len(data) == count
            assert not any(check(data, {}))
    example = open_set(drawn, "val")[0]
    assert example.panoptic is not None
    areas = [(example.panoptic.ids == s.id).sum() for s in example.panoptic.segments]
    assert min(areas) >= shapes.VISIBLE
    assert shapes.write(drawn, {"train": 9}) == drawn  # it is there: nothing is drawn again
    assert len(open_set(drawn, "train")) == COUNTS["train"]


def test_positions(tmp_path: Path, capsys) -> None:
    root = tmp_path / "camvid"
    for split in ("train", "test"):
        camvid(root, split)
    given = options(tmp_path, f"data.arguments.root={root}")
    positions.main(given)
    runs = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert [one["variant"] for one in runs] == list(positions.VARIANTS)
    assert all(0 <= one[positions.name_of(size)] <= 1 for one in runs for size in positions.SIZES)
    assert "positions less mix" in capsys.readouterr().out
    ElementTree.parse(tmp_path / "r-miou.svg")
    shutil.rmtree(tmp_path / "runs")  # what is known needs no runs
    positions.main(given)


def test_masked_attention(tmp_path: Path, drawn: Path, capsys) -> None:
    shutil.copytree(drawn, tmp_path / "shapes")
    masked_attention.main(small(tmp_path), COUNTS)
    runs = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert [one["variant"] for one in runs] == list(masked_attention.VARIANTS)
    for one in runs:
        assert [point["step"] for point in one["along"]] == [1, 2]
        assert len(one["missed"]) == len(one["found"]) == 3  # before two layers and after
    assert "annealed less masked" in capsys.readouterr().out
    for drawing in ("pq", "ap", "layers"):
        ElementTree.parse(tmp_path / f"r-{drawing}.svg")


def test_iou_is_that_of_sets() -> None:
    masks = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]).bool()[:, None]
    truth = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0]]).bool()[:, None]
    assert masked_attention.iou(masks, truth).tolist() == [[pytest.approx(1 / 3), 1.0], [0.0, 0.0]]


@pytest.mark.slow
def test_three_for_one(tmp_path: Path, drawn: Path, capsys) -> None:
    shutil.copytree(drawn, tmp_path / "shapes")
    given = options(tmp_path, f"data.arguments.root={tmp_path / 'shapes'}", "evaluation.every=0")
    three_for_one.main(given, COUNTS)
    one, two = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert (one["variant"], two["variant"]) == ("universal", "specialists")
    assert two["parameters"] > 1.5 * one["parameters"]
    assert one["megabytes"] > 1
    things = read_recipe(tmp_path / "runs" / "instance-0" / "recipe.yaml")
    assert things.data.arguments["root"] == str(tmp_path / "shapes" / shapes.THINGS_FILE)
    assert "specialists less universal" in capsys.readouterr().out


def test_merging_puts_the_surest_object_on_top_and_stuff_beneath() -> None:
    classes = Classes.of(["wall", "disc"], things=["disc"])
    semantic = SemanticMap(torch.zeros(10, 20, dtype=torch.int64), classes)

    def disc(columns: slice, score: float) -> Instance:
        mask = torch.zeros(10, 20, dtype=torch.bool)
        mask[:, columns] = True
        return Instance(mask, 0, "disc", score, (0.0, 0.0, 0.0, 0.0))

    found = [disc(slice(0, 6), 0.7), disc(slice(4, 8), 0.9), disc(slice(4, 7), 0.8)]
    found.append(disc(slice(15, 20), 0.4))
    merged = merge(semantic, Instances(tuple(found), "queries"))
    assert merged.ids[0].tolist() == [2] * 4 + [1] * 4 + [3] * 12
    assert [(s.name, s.is_thing, s.area) for s in merged.segments] == [
        ("disc", True, 40),
        ("disc", True, 40),
        ("wall", False, 120),
    ]
