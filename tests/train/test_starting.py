from __future__ import annotations

import pytest
import torch
from tests.tiny_model import tiny_segformer

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter
from triptych.train.recipe import ModelRecipe
from triptych.train.starting import class_weights, start_weights

MASKFORMER = {
    "classes": 3,
    "backbone": "resnet50",
    "queries": 4,
    "dim": 8,
    "heads": 2,
    "feedforward": 8,
    "layers": 1,
}


def start(tmp_path, names: list[str], **options):
    """A SegFormer of sky, road, tree and car, and what starts from it with other classes."""
    old = tiny_segformer()
    old.save(tmp_path)
    arguments = {**old.arguments, "classes": len(names)}
    new = build("segformer", **arguments)
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    recipe = ModelRecipe("segformer", arguments, start_from=str(tmp_path), **options)
    told = start_weights(new, Classes.of(names), recipe, arguments)
    return old.model.state_dict(), before, new.state_dict(), told


def test_rows_of_classes_follow_their_names(tmp_path):
    old, before, new, told = start(tmp_path, ["Car", "bus", "sky"])
    assert told == f"class head: Car, sky from {tmp_path}; new: bus"
    assert [name for name in old if "classifier" in name]
    for name, tensor in new.items():
        if "classifier" in name:
            assert torch.equal(tensor[[0, 2]], old[name][[3, 0]]), name
            assert torch.equal(tensor[1], before[name][1]), name
        else:
            assert torch.equal(tensor, old[name]), name


def test_as_many_classes_of_other_names_are_not_taken_for_the_same(tmp_path):
    old, _, new, told = start(tmp_path, ["car", "tree", "road", "sky"])
    weight = "decoder.classifier.weight"
    assert torch.equal(new[weight], old[weight].flip(0))
    assert "new: none" in told
    _, before, new, told = start(tmp_path, ["a", "b", "c", "d"])
    assert torch.equal(new[weight], before[weight])
    assert "class head: none from" in told


def test_the_same_classes_take_everything_and_nothing_is_told(tmp_path):
    old, _, new, told = start(tmp_path, ["sky", "road", "tree", "car"])
    assert told == ""
    assert all(torch.equal(new[name], old[name]) for name in old)


def test_a_class_may_start_from_one_of_another_name(tmp_path):
    old, _, new, told = start(tmp_path, ["bus", "sky"], classes_from={"bus": "car"})
    weight = "decoder.classifier.weight"
    assert torch.equal(new[weight], old[weight][[3, 0]])
    assert told.endswith("new: none")
    with pytest.raises(TriptychError, match=r"classes_from: the data have no class 'buss'.*'bus'"):
        start(tmp_path, ["bus"], classes_from={"buss": "car"})
    with pytest.raises(TriptychError, match="classes_from: the checkpoint has no class 'cat'"):
        start(tmp_path, ["bus"], classes_from={"bus": "cat"})


NAMES = ["sky", "road", "car"]


def grown(tmp_path, **options):
    """A saved Mask2Former, a greater one, the weights that has, and what it is built with."""
    arguments = {**MASKFORMER, "pixel_decoder": "fpn"}
    old = Segmenter(
        build("mask2former", **arguments),
        Preprocess(),
        Classes.of(NAMES),
        family="mask2former",
        arguments=arguments,
    )
    old.save(tmp_path, torch.float32)
    more = {**arguments, **options}
    new = build("mask2former", **more)
    return old, new, {name: tensor.clone() for name, tensor in new.state_dict().items()}, more


def test_parts_that_the_checkpoint_lacks_are_new_only_if_the_recipe_names_them(tmp_path):
    old, new, before, more = grown(tmp_path, anchors=2)
    parts = ("query_decoder.head.anchors.",)
    recipe = ModelRecipe("mask2former", more, start_from=str(tmp_path), new_parts=parts)
    start_weights(new, Classes.of(NAMES), recipe, more)
    for name, tensor in new.state_dict().items():
        source = before if name.startswith(parts) else old.model.state_dict()
        assert torch.equal(tensor, source[name]), name
    recipe = ModelRecipe("mask2former", more, start_from=str(tmp_path))
    with pytest.raises(TriptychError, match=r"another network: .*Missing key.*anchors"):
        start_weights(new, Classes.of(NAMES), recipe, more)


def test_a_decoder_with_more_queries_keeps_the_old_ones_behind_the_new(tmp_path):
    old, new, before, more = grown(tmp_path, queries=6)
    # The backbone is there already; some of its weights are single numbers.
    parts = ("query_decoder.query_content.", "query_decoder.query_position.", "backbone.")
    recipe = ModelRecipe("mask2former", more, start_from=str(tmp_path), new_parts=parts)
    start_weights(new, Classes.of(NAMES), recipe, more)
    for name, tensor in new.state_dict().items():
        source = old.model.state_dict()[name]
        assert torch.equal(tensor[-len(source) :] if source.ndim else tensor, source), name
        if name.startswith(parts[:2]):
            assert torch.equal(tensor[:2], before[name][:2])
    recipe = ModelRecipe("mask2former", more, start_from=str(tmp_path))
    with pytest.raises(TriptychError, match=r"another network: .*size mismatch"):
        start_weights(new, Classes.of(NAMES), recipe, more)


@pytest.mark.parametrize(
    ("family", "arguments", "prefix"),
    [
        ("segformer", {"classes": 3}, "decoder.classifier."),
        ("maskformer", MASKFORMER, "query_decoder.head.classes."),
        ("mask2former", {**MASKFORMER, "pixel_decoder": "fpn"}, "query_decoder.head.classes."),
    ],
)
def test_weights_of_the_classes_are_found_in_every_family(family, arguments, prefix):
    assert class_weights(family, arguments) == [f"{prefix}weight", f"{prefix}bias"]


def test_a_regrouped_checkpoint_gives_the_rows_of_its_own_classes(tmp_path):
    old = tiny_segformer()
    old.regroup({"ground": ["road", "tree"]}).save(tmp_path)
    names = ["car", "ground", "road"]
    arguments = {**old.arguments, "classes": len(names)}
    new = build("segformer", **arguments)
    recipe = ModelRecipe("segformer", arguments, start_from=str(tmp_path))
    told = start_weights(new, Classes.of(names), recipe, arguments)
    assert told == f"class head: car, road from {tmp_path}; new: ground"
    weight = "decoder.classifier.weight"
    assert torch.equal(new.state_dict()[weight][[0, 2]], old.model.state_dict()[weight][[3, 1]])
