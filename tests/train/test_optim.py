from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.tiny import TinyModel
from torch import nn

from triptych.errors import TriptychError
from triptych.train.optim import adamw, parameter_groups, schedule, set_learning_rate
from triptych.train.recipe import OptimisationRecipe


def recipe(**changes) -> OptimisationRecipe:
    return OptimisationRecipe(**{"steps": 100, "learning_rate": 0.1, **changes})


def test_groups_part_backbone_from_rest_and_decayed_from_not():
    groups = parameter_groups(TinyModel(), recipe(backbone_factor=0.1, weight_decay=0.3))
    by_name = {name: group for group in groups for name in group["names"]}
    assert set(by_name) == {name for name, _ in TinyModel().named_parameters()}
    rates = {name: (group["peak"], group["weight_decay"]) for name, group in by_name.items()}
    assert rates["backbone.0.weight"] == (pytest.approx(0.01), 0.3)
    assert rates["backbone.0.bias"] == (pytest.approx(0.01), 0.0)
    assert rates["backbone.1.weight"] == (pytest.approx(0.01), 0.0)
    assert rates["position.weight"] == (0.1, 0.0)
    assert rates["head.weight"] == (0.1, 0.3)
    assert rates["head.bias"] == (0.1, 0.0)


def test_backbone_factor_of_nought_freezes():
    model: Any = TinyModel()
    groups = parameter_groups(model, recipe(backbone_factor=0.0))
    assert not any(name.startswith("backbone") for group in groups for name in group["names"])
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_tied_weight_is_updated_once():
    model: Any = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    names = [name for group in parameter_groups(model, recipe()) for name in group["names"]]
    assert sorted(names) == ["0.bias", "0.weight", "1.bias"]


def test_what_cannot_be_trained_is_told():
    with pytest.raises(TriptychError, match="has no backbone"):
        parameter_groups(nn.Linear(2, 2), recipe(backbone_factor=0.5))
    with pytest.raises(TriptychError, match="no parameter that learns"):
        parameter_groups(nn.Identity(), recipe())


@settings(deadline=None, max_examples=60)
@given(
    steps=st.integers(2, 400),
    warmup=st.integers(0, 399),
    kind=st.sampled_from(["poly", "cosine", "constant"]),
    power=st.floats(0.3, 3),
)
def test_schedule_rises_to_one_and_never_rises_again(steps, warmup, kind, power):
    warmup = min(warmup, steps - 1)
    factor = schedule(
        OptimisationRecipe(steps=steps, warmup_steps=warmup, schedule=kind, power=power)
    )
    values = [factor(step) for step in range(steps)]
    assert all(0 < value <= 1 for value in values)
    assert values[warmup] == 1
    assert all(a < b for a, b in pairwise(values[: warmup + 1]))
    assert all(a >= b for a, b in pairwise(values[warmup:]))


def test_schedules_follow_their_formulae():
    assert schedule(recipe(power=0.9))(25) == pytest.approx(0.75**0.9)
    assert schedule(recipe(schedule="cosine"))(25) == pytest.approx(
        0.5 + 0.5 * math.cos(math.pi / 4)
    )
    assert schedule(recipe(schedule="constant"))(99) == 1.0
    assert schedule(recipe(warmup_steps=9))(0) == pytest.approx(0.1)


def test_learning_rate_is_set_in_proportion_and_reported():
    optimiser = adamw(TinyModel(), recipe(backbone_factor=0.1))
    assert set_learning_rate(optimiser, 0.5) == pytest.approx(0.05)
    rates = {group["lr"] for group in optimiser.param_groups}
    assert sorted(rates) == pytest.approx([0.005, 0.05])


def test_step_is_that_of_decoupled_weight_decay():
    """One step by hand: the sign of the gradient times the rate, and the decay beside it."""
    model = nn.Linear(1, 1)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = adamw(model, recipe(learning_rate=0.01, weight_decay=0.5))
    model(torch.ones(1, 1)).sum().backward()
    optimiser.step()
    torch.testing.assert_close(model.weight, start["weight"] * (1 - 0.01 * 0.5) - 0.01)
    torch.testing.assert_close(model.bias, start["bias"] - 0.01)
