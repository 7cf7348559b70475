"""The recipes of ``street``: what they say is understood, without any data."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from experiments.street_ablation import RECIPE, VARIANTS, report_of
from projects.street.examples import examples
from projects.street.mix import StreetMix

from triptych.data.street import StreetDataset
from triptych.networks.models.registry import build
from triptych.train.criterion import SetCriterion
from triptych.train.defaults import completed, read_completed
from triptych.train.matcher import Matcher
from triptych.train.parts import call
from triptych.train.recipe import Recipe
from triptych.train.stages import stage_recipes

STREET = Path(__file__).resolve().parents[3] / "projects" / "street" / "street.yaml"


def understood(recipe: Recipe) -> None:
    """Every free section has only what its function takes."""
    losses = dict(recipe.criterion)
    matcher = call(Matcher, losses.pop("matcher"), "criterion.matcher")
    call(SetCriterion, losses, "criterion", matcher)
    build(recipe.model.family, classes=11, **recipe.model.arguments)
    data = dict(recipe.data.arguments)
    composites = data.pop("composites")
    inspect.signature(StreetMix).bind(**data)
    inspect.signature(StreetDataset).bind(data["root"], **composites)
    inspect.signature(examples).bind(data["root"], **recipe.evaluation.arguments)


def test_the_recipe_and_its_stages() -> None:
    first, second, third = stage_recipes(completed(STREET))
    for recipe in (first, second, third):
        understood(recipe)
        assert recipe.model.start_from is None
        assert all(edge % 32 == 0 for edge in recipe.data.arguments["crop"])
    assert first.data.arguments["composites"]["even_drives"]
    assert third.data.arguments["composites"]["even_drives"], "sections are merged"
    assert third.optimisation.learning_rate < second.optimisation.learning_rate
    assert len({recipe.optimisation.seed for recipe in (first, second, third)}) == 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_ablation(variant: str) -> None:
    recipe = read_completed(RECIPE, VARIANTS[variant])
    understood(recipe)
    plain = read_completed(RECIPE)
    assert recipe.data == plain.data
    assert recipe.optimisation == plain.optimisation
    assert (recipe == plain) is (variant == "plain")


def test_the_table_has_a_row_for_each_variant_that_has_run() -> None:
    runs = [
        {"variant": name, "seed": seed, "seconds": 120.0, "frame_miou": 0.5, **dict.fromkeys(REST)}
        for name in ("anchors", "plain")
        for seed in (0, 1)
    ]
    lines = report_of(runs).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| plain", "| anchors"]
    assert "50.0" in lines[2]


REST = (
    "photo_miou",
    "composite_ap50",
    "nms_composite_ap50",
    "composite_pq@0.5",
    "nms_composite_pq_things@0.5",
    "photo_ap50",
    "nms_photo_ap50",
    "photo_pq@0.5",
    "nms_photo_pq_things@0.5",
)
