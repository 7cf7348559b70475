"""The rule engine: both directions, and errors that name the keys."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from triptych.checkpoints.keymap import (
    Drop,
    Rename,
    Stack,
    adopt_published,
    drop_below,
    to_ours,
    to_theirs,
    under,
)
from triptych.errors import TriptychError

RULES = (
    Rename("block.{i}.dense.{p}", "layers.{i}.out.{p}"),
    Stack(("block.{i}.q.{p}", "block.{i}.k.{p}"), "layers.{i}.qk.{p}"),
    Stack("mixed_{p}", ("query.{p}", "key.{p}", "value.{p}")),
    Drop("block.{i}.index"),
)


def file() -> dict[str, Tensor]:
    return {
        "block.0.dense.weight": torch.randn(2, 3),
        "block.0.k.weight": torch.randn(4, 3),  # the file's order is not the rule's
        "block.0.q.weight": torch.randn(4, 3),
        "block.0.index": torch.arange(3),
        "mixed_bias": torch.randn(6),
    }


def test_names_and_layout_become_ours():
    tensors = file()
    ours = to_ours(tensors, RULES)
    assert set(ours) == {
        "layers.0.out.weight",
        "layers.0.qk.weight",
        "query.bias",
        "key.bias",
        "value.bias",
    }
    assert torch.equal(ours["layers.0.out.weight"], tensors["block.0.dense.weight"])
    assert torch.equal(ours["layers.0.qk.weight"][:4], tensors["block.0.q.weight"])
    assert torch.equal(ours["layers.0.qk.weight"][4:], tensors["block.0.k.weight"])
    assert torch.equal(ours["key.bias"], tensors["mixed_bias"][2:4])


def test_the_way_back_is_the_inverse():
    tensors = file()
    back = to_theirs(to_ours(tensors, RULES), RULES)
    del tensors["block.0.index"]  # dropped: nothing of ours makes it
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_field_is_one_part_of_a_name_and_the_same_everywhere():
    rules = [Rename("a.{i}.b.{i}", "c.{i}")]
    assert set(to_ours({"a.1.b.1": torch.zeros(1)}, rules)) == {"c.1"}
    for stranger in ("a.1.b.2", "a.1.x.b.1", "axb.1", "a.1.b.1.c"):
        with pytest.raises(TriptychError, match="unknown"):
            to_ours({stranger: torch.zeros(1)}, rules)


def test_rules_are_composed_by_prefix():
    rules = under(under(RULES, "encoder.", "trunk."), "model.", "")
    ours = to_ours({"model.encoder.block.7.dense.bias": torch.zeros(1)}, rules)
    assert set(ours) == {"trunk.layers.7.out.bias"}


def test_a_whole_part_is_dropped_at_any_depth():
    rules = (Rename("text.{p}", "words.{p}"), *drop_below("text_tower."))
    names = ["text.bias", "text_tower.bias", "text_tower.layers.0.mlp.fc1.weight"]
    found = to_ours({name: torch.ones(1) for name in names}, rules)
    assert list(found) == ["words.bias"]
    with pytest.raises(TriptychError, match=r"1 unknown key: text_towers\.bias"):
        to_ours({"text_towers.bias": torch.ones(1)}, rules)


def test_a_rule_with_unrelated_fields_is_refused():
    with pytest.raises(ValueError, match="different fields"):
        Rename("a.{i}", "b.{j}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(stranger=torch.zeros(1)), "1 unknown key: stranger"),
        (lambda t: t.pop("block.0.q.weight"), "1 missing key: block.0.q.weight"),
    ],
)
def test_keys_that_do_not_fit_are_named(change, message):
    tensors = file()
    change(tensors)
    with pytest.raises(TriptychError, match=message):
        to_ours(tensors, RULES)


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query_key = nn.Linear(3, 8)
        self.classes = nn.Linear(3, 5)


HEAD_RULES = (
    Stack(("q.{p}", "k.{p}"), "query_key.{p}"),
    Rename("cls.{p}", "classes.{p}"),
    Rename("extra.{p}", "extra.{p}"),
)


def head_file() -> dict[str, Tensor]:
    shapes = {"q": (4, 3), "k": (4, 3), "cls": (5, 3)}
    tensors = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    return tensors | {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}


def test_loading_fills_the_whole_module():
    head, tensors = Head(), head_file()
    adopt_published(head, tensors, HEAD_RULES)
    assert torch.equal(head.query_key.bias, torch.cat([tensors["q.bias"], tensors["k.bias"]]))
    assert torch.equal(head.classes.weight, tensors["cls.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"nobody.bias": torch.zeros(1)}), "unknown key: nobody.bias"),
        (lambda t: t.update({"extra.bias": torch.zeros(1)}), "unknown key: extra.bias"),
        (lambda t: t.pop("cls.bias"), "missing key: cls.bias"),
        (lambda t: (t.pop("q.bias"), t.pop("k.bias")), "2 missing keys: q.bias, k.bias"),
        (lambda t: t.pop("k.bias"), "missing key: k.bias"),
        (
            lambda t: t.update({"cls.bias": torch.zeros(9)}),
            r"cls.bias gives \[9\], not \[5\]",
        ),
        (
            lambda t: t.update({"q.weight": torch.zeros(5, 3)}),
            r"q.weight, k.weight gives \[9, 3\], not \[8, 3\]",
        ),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(change, message):
    head, tensors = Head(), head_file()
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    change(tensors)
    with pytest.raises(TriptychError, match=message) as caught:
        adopt_published(head, tensors, HEAD_RULES)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())


def test_adopting_takes_the_tensors_themselves_where_nothing_changes():
    with torch.device("meta"):
        head = Head()
    tensors = head_file()
    tensors["cls.bias"] = tensors["cls.bias"].half()
    adopt_published(head, tensors, HEAD_RULES)
    assert head.classes.weight.data_ptr() == tensors["cls.weight"].data_ptr()
    assert torch.equal(head.query_key.bias, torch.cat([tensors["q.bias"], tensors["k.bias"]]))
    assert torch.equal(head.classes.bias, tensors["cls.bias"].float())
    adopt_published(head, tensors, HEAD_RULES, torch.bfloat16)
    assert {p.dtype for p in head.parameters()} == {torch.bfloat16}
    tensors["cls.bias"] = torch.zeros(9)
    with pytest.raises(TriptychError, match=r"cls.bias gives \[9\], not \[5\]"):
        adopt_published(head, tensors, HEAD_RULES)


def test_a_foreign_file_is_not_listed_to_the_last_key():
    tensors = {f"layer.{index}": torch.zeros(1) for index in range(100)}
    with pytest.raises(TriptychError, match=r"100 unknown keys: layer.0, .* and 92 more"):
        adopt_published(Head(), tensors, HEAD_RULES)
