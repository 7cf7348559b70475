"""A recipe in stages: trainings one after the other, from one file, by one command.

Each stage is a run of its own in ``OUT/stage-N``, with its checkpoints and its log; it starts from
the averaged weights of the stage before. So a stop at any moment, ``kill -9`` included, is resumed
as any run is: stages that are done are passed over, the one that was cut goes on.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from triptych import config
from triptych.errors import TriptychError
from triptych.train.checkpoint import CheckpointFolder
from triptych.train.recipe import RECIPE, Recipe, read_recipe

Train = Callable[[Recipe, Path], bool]
"""Trains a recipe in a folder, or goes on with it; False if it stopped before its last step."""


def stage_recipes(document: config.Document, overrides: Sequence[str] = ()) -> list[Recipe]:
    """The recipe of each stage; none where there are no stages.

    Args:
        document: the recipe as it is written.
        overrides: single values, which count for every stage.

    Raises:
        TriptychError: a stage has a key that a recipe has not, or a wrong value; with its line.
    """
    stages = document.values.get("stages") or []
    if not isinstance(stages, list):
        return []  # the recipe itself says what is wrong with it
    return [_stage(document, number, overrides) for number in range(len(stages))]


def _stage(document: config.Document, number: int, overrides: Sequence[str]) -> Recipe:
    here = ("stages", str(number))
    changes = document.values["stages"][number]
    if not isinstance(changes, dict):
        raise TriptychError(
            f"{document.place(here)}: stages: a stage is a section of what it changes"
        )
    for key in ("stages", "time_limit"):
        if key in changes:
            raise TriptychError(f"{document.place((*here, key))}: {key} is for the whole recipe")
    base = {key: value for key, value in document.values.items() if key != "stages"}
    places = dict(document.places)
    for path, place in document.places.items():
        if path[:2] == here and len(path) > 2:
            places[path[2:]] = place
    own = config.Document(document.source, _merged(base, changes), places, document.what)
    for assignment in overrides:
        config.override(own, assignment)
    return config.build(Recipe, own)


def _merged(base: Any, changes: Any) -> Any:
    """``base`` with ``changes``: sections are merged, values replaced."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return base | {key: _merged(base.get(key), value) for key, value in changes.items()}


def train_stages(stages: Sequence[Recipe], out: Path, train: Train) -> bool:
    """Train what is left of the stages; the model lies in ``out/model`` afterwards.

    Args:
        stages: of :func:`stage_recipes`.
        out: folder of the whole.
        train: does one.

    Returns:
        False if a stage stopped before its last step.
    """
    began = time.monotonic()
    model = out / "model"
    for number, recipe in enumerate(stages, start=1):
        folder = out / f"stage-{number}"
        if number > 1:
            start = str(out / f"stage-{number - 1}" / "model")
            network = dataclasses.replace(recipe.model, start_from=start, pretrained_backbone=False)
            recipe = dataclasses.replace(recipe, model=network)
        if not is_finished(folder):
            limit = recipe.time_limit
            if limit is not None:  # of this call, over all of its stages
                limit = max(limit - (time.monotonic() - began) / 60, 1e-3)
                recipe = dataclasses.replace(recipe, time_limit=limit)
            if not train(recipe, folder):
                return False
    if stages and os.environ.get("RANK", "0") == "0":
        _copy(out / f"stage-{len(stages)}" / "model", model)
    return True


def is_finished(run: Path) -> bool:
    """Whether the training in a folder has done all of its steps and written its model.

    A folder with a model and no checkpoints was put there: it counts as finished.
    """
    if not (run / "model").is_dir():
        return False
    newest = CheckpointFolder(run / "checkpoints", 1).newest_step()
    return newest is None or newest >= read_recipe(run / RECIPE).optimisation.steps


def _copy(source: Path, target: Path) -> None:
    """Copy a folder, whole or not at all."""
    beside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside)
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)
