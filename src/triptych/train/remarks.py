"""What to know about the data of a run before it has cost an hour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.data.sets.base import DiskSet
from triptych.data.sets.open import open_set
from triptych.data.sets.report import before_use, crowded
from triptych.errors import TriptychError
from triptych.train.recipe import Recipe


def remarks(recipe: Recipe, dataset: Any, queries: int | None) -> list[str]:
    """A line on each thing that is wrong with the data, or that they cannot teach.

    Args:
        recipe: of the run.
        dataset: its training set.
        queries: how many segments of an image the network can answer for; None: any number.

    Raises:
        TriptychError: nothing can be learnt from the data, or measured on them, or their truth
            would be wrong.
    """
    data = training_data(dataset)
    if data is None:
        return []
    lines = before_use(data, "learn")
    census = data.census()
    if census is not None:
        lines += [f"{line}; {raise_queries(census.most)}" for line in crowded(census, queries)]
    if recipe.evaluation.every:
        lines += _evaluated(recipe, data)
    if queries is not None and not data.instances and data.semantic:
        things = [data.classes.names[class_id] for class_id in data.classes.thing_ids]
        if things and not recipe.criterion.get("semantic"):
            lines.append(
                f"{data.title}: objects are not told apart ({', '.join(things[:3])}), and the "
                "losses of the paper do not fill masks there; --semantic-loss 2 does "
                "(docs/fine-tuning.md)"
            )
    return lines


def _evaluated(recipe: Recipe, training: DiskSet) -> list[str]:
    """The same of the set that figures along the way are taken from."""
    split = recipe.evaluation.arguments.get("split")
    root = recipe.evaluation.arguments.get("root", recipe.data.arguments["root"])
    data = open_set(root, split)
    if data.title == training.title:
        return []
    try:
        return before_use(data, "measure")
    except TriptychError as error:
        raise TriptychError(
            f"{error}; correct it, or train without figures: --override evaluation.every=0"
        ) from error


def raise_queries(number: int) -> str:
    """How to give a network so many queries."""
    return f"give it more by --override model.arguments.queries={number}"


def training_data(dataset: Any) -> DiskSet | None:
    """The data set on disk behind a training set, if there is one."""
    data = getattr(dataset, "data", None)
    return data if isinstance(data, DiskSet) else None


def example_image(dataset: Any) -> Path | None:
    """An image to try the trained model on."""
    data = training_data(dataset)
    return data.image(0) if data is not None and len(data) else None
