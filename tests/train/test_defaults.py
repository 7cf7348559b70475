from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tests.data.sets import disk
from tests.tiny_model import tiny_segformer

from triptych.classes import Classes
from triptych.commands.cli import main
from triptych.config import Document
from triptych.config import build as build_recipe
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter, load
from triptych.train.defaults import fine_tuning, read_completed
from triptych.train.parts import assemble
from triptych.train.recipe import Recipe

QUICK = ("optimisation.batch_size=2", "data.workers=0", "data.arguments.crop=[32,32]")
OWN = """layout: coco-instances
images: val/images
annotations: val/instances.json
classes: [person, {name: car, of: [car]}]
rest: background
"""


@pytest.fixture
def labeller(tmp_path) -> str:
    """A SegFormer of sky, road, tree and car."""
    tiny_segformer().save(tmp_path / "labeller")
    return str(tmp_path / "labeller")


@pytest.fixture
def universal(tmp_path) -> str:
    """A Mask2Former of road and car, with the recipe that it was trained by."""
    arguments = {
        "classes": 2,
        "backbone": "efficientnet_lite0",
        "pixel_decoder": "fpn",
        "encoder_layers": 0,
        "queries": 6,
        "dim": 8,
        "heads": 2,
        "feedforward": 8,
        "layers": 1,
    }
    told = {
        "learning_rate": 0.002,
        "backbone_factor": 0.5,
        "weight_decay": 0.01,
        "gradient_clip": 3.0,
    }
    Segmenter(
        build("mask2former", **arguments),
        Preprocess(longest_edge=64),
        Classes.of(["road", "Car"], things=["Car"]),
        family="mask2former",
        arguments=arguments,
        training={"recipe": {"optimisation": told}},
    ).save(tmp_path / "universal")
    return str(tmp_path / "universal")


def own_table(root: Path) -> Path:
    """Two images with persons, cars and background; returns the YAML file."""
    file = disk.coco_instances(root) / "own.yaml"
    file.write_text(OWN)
    return file


def train(*words: object) -> int:
    return main(["train", *map(str, words), *(w for o in QUICK for w in ("--override", o))])


def lines(out: Path, event: str) -> list[dict]:
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [record for record in records if record["event"] == event]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder).model.state_dict()


def test_one_run_from_defaults_updates_all_three_figures(tmp_path, universal, capsys):
    out = tmp_path / "run"
    assert (
        train("--model", universal, "--data", own_table(tmp_path), "--steps", 2, "--out", out) == 0
    )
    told = capsys.readouterr().err
    assert "class head: car from" in told
    assert "new: person, background" in told
    assert "universal on 1 image of" in told
    trained = load(out / "model")
    assert trained.classes.names == ("person", "car", "background")
    assert trained.classes.thing_ids == (0, 1)
    assert trained.preprocess.longest_edge == 64
    measured = lines(out, "evaluation")
    assert [record["step"] for record in measured] == [0, 1, 2]
    assert measured[-1].keys() >= {"miou", "pq", "ap", "iou/car", "pq/car", "ap/person"}
    with Image.open(out / "first-batch.png") as picture:
        assert picture.width > 400
    *_, thresholds, last = told.splitlines()
    assert thresholds.startswith("thresholds ")
    image = tmp_path / "val" / "images" / "1.png"
    assert last == (
        f"the model is {out}/model; try it: triptych predict {image} --model {out}/model --out "
        f"{out}/seen"
    )
    assert lines(out, "remark")[-1]["text"] == thresholds


def test_the_written_recipe_trains_the_same_model_and_can_be_resumed(tmp_path, labeller, capsys):
    data, out, again = disk.plain(tmp_path), tmp_path / "run", tmp_path / "again"
    keep = ("--override", "checkpoint.steps=1")
    assert train("--model", labeller, "--data", data, "--steps", 3, "--out", out, *keep) == 0
    recipe = out / "recipe.yaml"
    assert main(["train", str(recipe), "--out", str(again)]) == 0
    first, second = weights(out / "model"), weights(again / "model")
    assert all(torch.equal(first[name], second[name]) for name in first)

    (again / "checkpoints" / "step-00000003.safetensors").unlink()
    resumed = ("--out", str(again), "--resume", "auto")
    assert main(["train", str(recipe), *resumed]) == 0
    third = weights(again / "model")
    assert all(torch.equal(first[name], third[name]) for name in first)
    assert [record["step"] for record in lines(again, "step")] == [1, 2, 3]
    capsys.readouterr()
    assert train("--model", labeller, "--data", data, "--steps", 4, *resumed, *keep) == 2
    assert "was started with another recipe: optimisation.steps" in capsys.readouterr().err


def test_learning_is_as_the_checkpoint_tells_or_as_its_family_likes(tmp_path, universal, labeller):
    own = fine_tuning(universal, own_table(tmp_path)).optimisation
    assert (own.learning_rate, own.backbone_factor, own.gradient_clip) == (0.002, 0.5, 3.0)
    usual = fine_tuning(labeller, disk.plain(tmp_path / "plain")).optimisation
    assert usual.learning_rate * usual.backbone_factor == pytest.approx(6e-5)


def test_epochs_count_batches_of_the_images_that_are_not_held_out(tmp_path, labeller):
    data = disk.plain(tmp_path, names=tuple("abcdefghijklmnopqrstuv"))  # 22, of which 2 held out
    recipe = fine_tuning(labeller, data, epochs=3)
    assert recipe.data.arguments["held_out"] == recipe.evaluation.arguments["held_out"] == 10
    assert recipe.optimisation.steps == 3 * 3, "20 images are three batches of eight"
    assert recipe.evaluation.every == 3
    assert fine_tuning(labeller, data, QUICK, epochs=3).optimisation.steps == 3 * 10
    assert fine_tuning(labeller, data, QUICK).optimisation.steps == 500, "not a hundred"
    assert fine_tuning(labeller, data, steps=7).optimisation.steps == 7


def test_splits_for_training_and_validation(tmp_path, labeller):
    for split, frames in (("train", 3), ("val", 2), ("test", 1)):
        disk.camvid(tmp_path / "set", split, frames)
    recipe = fine_tuning(labeller, tmp_path / "set")
    assert recipe.data.arguments["split"] == "train"
    assert recipe.evaluation.arguments["split"] == "val"
    assert recipe.data.arguments["held_out"] == 0
    other = fine_tuning(labeller, tmp_path / "set", ["data.arguments.split=test"])
    assert (other.data.arguments["split"], other.data.images) == ("test", 1)


def test_crops_are_as_large_as_what_the_network_is_given(tmp_path, labeller, universal):
    data = disk.plain(tmp_path)
    assert fine_tuning(labeller, data).data.arguments["crop"] == [64, 64], "the shortest edge"
    assert fine_tuning(universal, data).data.arguments["crop"] == [64, 64], "3/4 of it is 48"
    plain = tiny_segformer()
    plain.preprocess = Preprocess()
    plain.save(tmp_path / "as-they-are")
    name = str(tmp_path / "as-they-are")
    divisor = int(plain.model.size_divisor)  # type: ignore[arg-type]
    for seed, letter in enumerate("ab"):
        disk.photo(tmp_path / "images" / f"{letter}.png", seed, (70, 100))
        disk.numbers(tmp_path / "labels" / f"{letter}.png", np.zeros((70, 100)))
    crop = fine_tuning(name, data).data.arguments["crop"]
    assert crop == [70 // divisor * divisor, 100 // divisor * divisor]
    disk.photo(tmp_path / "images" / "a.png", 0, (70, 90))
    with pytest.raises(TriptychError, match=r"no common size \(90 x 70 and 100 x 70\); choose a"):
        fine_tuning(name, data)


def test_large_batches_are_computed_in_parts(tmp_path, universal):
    large = ["data.arguments.crop=[1024,1024]"]
    recipe = fine_tuning(universal, own_table(tmp_path), large)
    assert recipe.optimisation.accumulate == 4, "two million pixels at a time"
    assert recipe.criterion["points"] == 12483


def test_losses_follow_from_what_the_data_tell(tmp_path, universal):
    disk.coco_instances(tmp_path)
    table = own_table(tmp_path)
    assert set(fine_tuning(universal, table).criterion) == {"points", "matcher"}, "the paper's"
    asked = fine_tuning(universal, table, semantic_loss=2).criterion
    assert (asked["semantic"], asked["semantic_for_all"], asked["ambiguous"]) == (2.0, True, 0.3)
    with pytest.raises(TriptychError, match="tells of objects only and has no class map"):
        fine_tuning(universal, tmp_path, semantic_loss=2)
    with pytest.raises(TriptychError, match="--semantic-loss is -1; give 0 or more"):
        fine_tuning(universal, table, semantic_loss=-1)
    config = Path(universal) / "config.json"
    contents = json.loads(config.read_text())
    contents["training"]["recipe"]["criterion"] = {"semantic": 5.0, "class_weights": [1.0, 2.0]}
    config.write_text(json.dumps(contents))
    own = fine_tuning(universal, table).criterion
    assert own["semantic"] == 5.0, "as it was trained"
    assert "class_weights" not in own, "of other classes"


def test_more_queries_than_the_checkpoint_has(tmp_path, universal):
    config = Path(universal) / "config.json"
    contents = json.loads(config.read_text())
    matcher = {"crowd_query": [1], "own_query": [0]}
    contents["training"]["recipe"]["criterion"] = {"matcher": matcher}
    config.write_text(json.dumps(contents))
    table = own_table(tmp_path)
    table.write_text(OWN.replace("person, ", ""))
    recipe = fine_tuning(universal, table, ["model.arguments.queries=9", *QUICK])
    assert recipe.model.new_parts == (
        "query_decoder.query_content.weight",
        "query_decoder.query_position.weight",
    )
    assert recipe.criterion["matcher"]["crowd_query"] == [None, None, None, 0]
    assert recipe.criterion["matcher"]["own_query"] == [1]
    old, new = load(universal).model.state_dict(), assemble(recipe).model.state_dict()
    name = "query_decoder.query_content.weight"
    assert torch.equal(new[name][3:], old[name])
    with pytest.raises(TriptychError, match="queries: the checkpoint has 2 more; give as many"):
        fine_tuning(universal, table, ["model.arguments.queries=4"])


def test_doubles_are_no_mistake_where_the_network_suppresses_them(tmp_path, universal):
    assert "double" not in fine_tuning(universal, own_table(tmp_path)).criterion
    config = Path(universal) / "config.json"
    contents = json.loads(config.read_text())
    contents["arguments"]["suppression"] = 0.5
    contents["readings"] |= {"overlap": 0.6, "panoptic_threshold": 0.7}
    config.write_text(json.dumps(contents))
    recipe = fine_tuning(universal, own_table(tmp_path))
    assert recipe.model.arguments["nms"] == 0.5
    assert recipe.criterion["double"] == 0
    assert recipe.evaluation.overlap == 0.6, "goes on into the trained model"
    assert recipe.evaluation.threshold == 0.7, "likewise"


def test_queries_for_one_class_are_carried_over(tmp_path, universal):
    table = own_table(tmp_path)
    table.write_text(OWN.replace("person, ", ""))
    assert set(fine_tuning(universal, table).criterion["matcher"]) == {"points"}
    config = Path(universal) / "config.json"
    contents = json.loads(config.read_text())
    matcher = {"points": 7, "crowd_query": [1], "own_query": [0], "aligned": True}
    contents["training"]["recipe"]["criterion"] = {"matcher": matcher}
    config.write_text(json.dumps(contents))
    carried = fine_tuning(universal, table).criterion["matcher"]
    assert carried["crowd_query"] == [0]  # car
    assert carried["own_query"] == [1]  # background, in the place of road
    assert carried["aligned"]
    # A run by that recipe must understand it.
    assert (
        train("--model", universal, "--data", table, "--steps", 1, "--out", tmp_path / "run") == 0
    )


def test_folders_of_transformers_are_trained_further(tmp_path):
    old = tiny_segformer()
    old.save(tmp_path / "theirs", format="transformers")
    recipe = fine_tuning(str(tmp_path / "theirs"), disk.plain(tmp_path), QUICK)
    made = assemble(build_recipe(Recipe, Document("", yaml.safe_load(recipe.to_yaml()))))
    given, new = old.model.state_dict(), made.model.state_dict()
    for name, tensor in new.items():
        rows = given[name][[1, 3]] if "classifier" in name else given[name]  # road and car
        assert torch.equal(tensor, rows), name


def test_a_recipe_may_leave_its_network_to_the_checkpoint(tmp_path, labeller):
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"model: {{start_from: {labeller}}}\noptimisation: {{steps: 5}}\n"
        "input: {shortest_edge: 48}\ndata: {dataset: set}\n"
    )
    recipe = read_completed(file, ["input.mean=[0.5, 0.5, 0.5]"])
    assert recipe.model.family == "segformer"
    assert recipe.model.arguments["decoder_dim"] == 8
    assert "classes" not in recipe.model.arguments
    assert (recipe.input.shortest_edge, recipe.input.longest_edge) == (48, 128)
    assert recipe.input.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        ((), {"epochs": 2, "steps": 2}, "give --epochs or --steps, not both"),
        ((), {"epochs": 0}, "--epochs is 0; give 1 or more"),
        (("data.arguments.split=tra",), {}, "no split 'tra'"),
        (("data.arguments.crop=64",), {}, "crop is 64; give"),
        (("data=64",), {}, "data: is a section"),
        (("optimisation.batch_size=many",), {}, "batch_size must be a whole number, not 'many'"),
        (("optimisation.stepz=4",), {}, "did you mean 'steps'"),
        (("optimisation.steps=0",), {}, "steps must be at least 1"),
    ],
)
def test_mistakes_are_told(tmp_path, labeller, overrides, options, message):
    with pytest.raises(TriptychError, match=message):
        fine_tuning(labeller, disk.plain(tmp_path), overrides, **options)


def test_models_and_data_that_do_not_go_together_are_told(tmp_path, labeller, monkeypatch):
    disk.coco_instances(tmp_path / "coco")
    with pytest.raises(TriptychError, match=r"tells of objects only; name a class for the rest"):
        fine_tuning(labeller, tmp_path / "coco")
    with pytest.raises(TriptychError, match="no data set"):
        fine_tuning(labeller, tmp_path / "gone")
    bare = tiny_segformer()
    bare.family, bare.arguments = None, {}
    monkeypatch.setattr("triptych.train.defaults.load_encoder", lambda *_: None)
    monkeypatch.setattr("triptych.train.defaults.load", lambda *_: bare)
    with pytest.raises(TriptychError, match="bare has no classes that could be replaced"):
        fine_tuning("bare", disk.plain(tmp_path))


def test_what_the_data_lack_is_told_before_the_first_step(tmp_path, universal, capsys):
    disk.coco_instances(tmp_path, lambda c: [a.update(iscrowd=1) for a in c["annotations"]])
    options = ("--steps", 1, "--override", "evaluation.every=0")
    assert train("--model", universal, "--data", tmp_path, "--out", tmp_path / "run", *options) == 0
    assert "all 3 objects are crowds (iscrowd: 1)" in capsys.readouterr().err
    disk.coco_instances(tmp_path, lambda c: [a.update(segmentation=[]) for a in c["annotations"]])
    assert train("--model", universal, "--data", tmp_path, "--out", tmp_path / "no", *options) == 2
    assert "none of the 3 objects has an outline" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_more_objects_than_queries_are_told_with_the_way(tmp_path, universal, capsys):
    def change(content):
        for number in range(8):
            outline = disk.box(2 * number, 0, 2, 12)
            content["annotations"].append(disk.annotation(2, 3, outline, id=100 + number))

    disk.coco_instances(tmp_path, change)
    options = ("--steps", 1, "--out", tmp_path / "run")
    assert train("--model", universal, "--data", tmp_path, *options) == 0
    told = capsys.readouterr().err
    assert "2.png has 8 segments to find, and the model has 6 queries, which find one" in told
    assert "give it more by --override model.arguments.queries=8" in told


def test_class_maps_without_objects_name_the_loss_that_helps(tmp_path, universal):
    file = disk.plain(tmp_path)
    (told,) = assemble(fine_tuning(universal, file, QUICK)).remarks
    assert "objects are not told apart (car)" in told
    assert "--semantic-loss 2 does" in told
    assert not assemble(fine_tuning(universal, file, QUICK, semantic_loss=2)).remarks
