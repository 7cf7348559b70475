from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from triptych.checkpoints.folder import read_config, read_folder
from triptych.classes import Classes
from triptych.config import Document, build
from triptych.data.targets import Sample, Targets
from triptych.errors import TriptychError
from triptych.evaluation.thresholds import Chosen
from triptych.train import parts
from triptych.train.loop import run
from triptych.train.recipe import Recipe
from triptych.truth import Example, PanopticTruth, TrueSegment

MODEL = {
    "backbone": "efficientnet_lite0",
    "pixel_decoder": "fpn",
    "encoder_layers": 0,
    "queries": 4,
    "dim": 8,
    "heads": 2,
    "feedforward": 8,
    "layers": 1,
}


RESNET = {**MODEL, "backbone": "resnet50"}


class Halves(Dataset[Any]):
    """Pictures whose left half is one segment and whose right half is another."""

    semantic = True

    def __init__(self, *, seed: int, names: tuple[str, ...] = ("left", "right")) -> None:
        self.seed = seed
        self.classes = Classes.of(names, things=[names[0]])

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(self.seed + index)
        pixels = torch.randint(0, 256, (3, 64, 64), generator=generator).to(torch.uint8)
        left = torch.zeros(64, 64, dtype=torch.bool)
        left[:, :32] = True
        targets = Targets(
            class_ids=torch.tensor([0, 1]),
            masks=torch.stack([left, ~left]),
            semantic=(~left).long(),
            ambiguous=torch.zeros(0, 64, 64, dtype=torch.bool),
            ambiguous_class_ids=torch.zeros(0, dtype=torch.int64),
        )
        return Sample(pixels, targets, str(index))


def examples_of_halves(*, limit: int = 2) -> dict[str, Iterator[Example]]:
    def some(first: int) -> Iterator[Example]:
        for index in range(first, first + limit):
            sample = Halves(seed=0)[index]
            yield Example(sample.pixels.permute(1, 2, 0), sample.targets.semantic.numpy())

    return {"": some(0), "other": some(5)}


@pytest.fixture(autouse=True)
def _halves(monkeypatch):
    monkeypatch.setitem(parts.DATASETS, "halves", "here:Halves")
    monkeypatch.setitem(parts.EXAMPLES, "halves", "here:examples")
    find = parts._find
    known = {"here:Halves": Halves, "here:examples": examples_of_halves}
    monkeypatch.setattr(parts, "_find", lambda place: known.get(place) or find(place))


def recipe(**sections) -> Recipe:
    values: dict[str, Any] = {
        "model": {"family": "mask2former", "arguments": MODEL},
        "optimisation": {"steps": 2, "batch_size": 2, "precision": "fp32", "device": "cpu"},
        "data": {"dataset": "halves", "workers": 0},
        "criterion": {"points": 16, "matcher": {"points": 16}},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return build(Recipe, Document("test", values))


def test_recipe_becomes_a_trained_model_folder_that_loads(tmp_path):
    made = parts.assemble(recipe())
    assert run(recipe(), made, tmp_path) == 0
    model, config = read_folder(tmp_path / "model")
    assert config.classes.names == ("left", "right")
    assert config.preprocess.size_divisor == 32
    assert config.training["steps"] == 2
    with torch.no_grad():
        prediction = model.eval()(torch.zeros(1, 3, 64, 64))
    assert prediction.mask_logits.shape == (1, 4, 16, 16)


def test_averaged_weights_are_evaluated_on_the_data_sets_examples():
    settings = recipe(evaluation={"every": 5, "arguments": {"limit": 3}})
    made = parts.assemble(settings)
    assert made.evaluate is not None
    figures = made.evaluate(made.model, 5)
    assert figures["images"] == 3
    assert 0 <= figures["miou"] <= 1
    assert figures.keys() >= {"iou/left", "iou/right", "other_miou", "other_iou/left"}


def test_the_trained_model_asks_for_the_thresholds_it_was_measured_with(tmp_path):
    made = parts.assemble(recipe(evaluation={"overlap": 0.6, "threshold": 0.7}))
    assert made.export is not None
    made.export(made.model, tmp_path, 0)
    readings = read_config(tmp_path).readings
    assert (readings.overlap, readings.panoptic_threshold) == (0.6, 0.7)


def test_start_from_takes_all_weights_and_of_the_class_head_those_of_known_classes(
    tmp_path, capsys
):
    first = parts.assemble(recipe())
    assert first.export is not None
    first.export(first.model, tmp_path, 0)
    same = parts.assemble(recipe(model={"start_from": str(tmp_path)}))
    for name, tensor in same.model.state_dict().items():
        assert torch.equal(tensor, first.model.state_dict()[name]), name
    assert capsys.readouterr().err == ""

    three = {"arguments": {"names": ["left", "middle", "right"]}}
    more = parts.assemble(recipe(model={"start_from": str(tmp_path)}, data=three))
    before = first.model.state_dict()
    changed = {
        name for name, t in more.model.state_dict().items() if not torch.equal(t, before[name])
    }
    assert changed
    assert all("class" in name for name in changed)
    assert capsys.readouterr().err == f"class head: left, right from {tmp_path}; new: middle\n"
    for name in changed:
        rows = more.model.state_dict()[name]
        assert len(rows) == 4, name
        # left, right and "no object" keep their rows; middle is new
        assert torch.equal(rows[[0, 2, 3]], before[name]), name

    wider = recipe(model={"start_from": str(tmp_path), "arguments": {**MODEL, "dim": 16}})
    with pytest.raises(TriptychError, match=r"start_from: .* is another network"):
        parts.assemble(wider)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"dataset": "halvs"}}, r"no training set is called 'halvs' .*street"),
        (
            {"data": {"dataset": "nowhere.mix:Mix"}},
            r"data.dataset: cannot import 'nowhere.mix:Mix'",
        ),
        ({"data": {"dataset": "json:Mix"}}, r"cannot import 'json:Mix' from .*no attribute 'Mix'"),
        (
            {"evaluation": {"every": 5, "examples": "json:some"}},
            r"evaluation.examples: cannot import 'json:some'",
        ),
        ({"data": {"arguments": {"nam": 1}}}, r"'nam' in section 'data.arguments' .*'names'"),
        (
            {"evaluation": {"every": 5, "arguments": {"limits": 1}}},
            r"'limits' in section 'evaluation.arguments' .*'limit'",
        ),
        ({"criterion": {"dyce": 1.0}}, r"unknown key 'dyce' in section 'criterion' .*'dice'"),
        ({"criterion": {"matcher": {"point": 1}}}, r"section 'criterion.matcher' .*'points'"),
        ({"model": {"family": "unet"}}, r"no model family is called 'unet'"),
        (
            {
                "model": {
                    "pretrained_backbone": True,
                    "arguments": RESNET,
                }
            },
            r"no package ships weights for the backbone 'resnet50'",
        ),
    ],
)
def test_names_that_do_not_exist_are_told(sections, message):
    with pytest.raises(TriptychError, match=message):
        parts.assemble(recipe(**sections))


def test_the_thresholds_that_suit_the_examples_go_into_the_model(tmp_path, monkeypatch):
    told = Chosen(5, panoptic=0.3, pq=0.5, usual_pq=0.1, instance=0.2, f1=0.4)
    monkeypatch.setattr(parts, "choose_thresholds", lambda segmenter, examples: told)
    made = parts.assemble(recipe(evaluation={"every": 5, "overlap": 0.6}))
    assert made.export is not None
    assert made.export(made.model, tmp_path, 0) == str(told)
    readings = read_config(tmp_path).readings
    assert (readings.panoptic_threshold, readings.instance_threshold) == (0.3, 0.2)
    assert readings.overlap == 0.6

    kept = parts.assemble(recipe(evaluation={"every": 5, "choose_thresholds": False}))
    assert kept.export is not None
    assert kept.export(kept.model, tmp_path, 0) is None
    assert read_config(tmp_path).readings.panoptic_threshold == 0.8


def test_thresholds_are_chosen_on_sets_that_tell_objects_apart():
    def example(name, panoptic=None):
        return Example(torch.zeros(1, 1, 3), np.zeros((1, 1), np.uint8), panoptic)

    poor = [example("frame"), example("frame")]
    rich = [example("composite", PanopticTruth(np.ones((1, 1), int), [TrueSegment(1, 0)]))]
    assert list(parts._judged({"": iter(poor), "composite": iter(rich)})) == rich
    assert list(parts._judged({"": iter(poor)})) == poor
    assert list(parts._judged({"": iter([])})) == []


def test_data_and_examples_of_a_module_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "own_street_data.py").write_text(
        "from tests.train.test_parts import Halves, examples_of_halves\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    made = parts.assemble(
        recipe(
            data={"dataset": "own_street_data:Halves"},
            evaluation={"every": 5, "examples": "own_street_data:examples_of_halves"},
        )
    )
    assert made.dataset[3].name == "3"
    assert made.evaluate is not None
    assert "other_miou" in made.evaluate(made.model, 0)
