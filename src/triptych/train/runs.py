"""Whole training runs: a recipe with its stages, what it starts from, and how it is resumed."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

import torch

from triptych import config
from triptych.errors import TriptychError
from triptych.train.defaults import completed, fine_tuning, summary
from triptych.train.loop import MODEL, run
from triptych.train.parts import assemble
from triptych.train.processes import choose_device, joined
from triptych.train.recipe import RECIPE, SURROUNDINGS, Recipe, is_among, is_recipe
from triptych.train.stages import is_finished, stage_recipes, train_stages
from triptych.train.stopping import TIME_IS_UP


def train_recipe(
    recipe_path: Path,
    out: Path | None = None,
    overrides: list[str] | None = None,
    resume: bool = False,
) -> Path:
    """Train what a recipe describes; the model lies in ``out/model`` afterwards.

    Under ``torchrun`` each process calls this; they share the batches, and ``out`` must lie on a
    file system that all of them see.

    Args:
        recipe_path: a YAML file, see :class:`triptych.train.recipe.Recipe`.
        out: folder of the run; ``runs/NAME`` after the recipe's file name by default.
        overrides: single values, such as ``optimisation.steps=500``.
        resume: go on from the newest checkpoint in ``out``, if there is one.

    Returns:
        The folder of the run.

    Raises:
        TriptychError: a mistake in the recipe, a loss that is not finite, a full disk.
        SystemExit: SIGINT or SIGTERM came; the code is 130 or 143, and a checkpoint is written.
    """
    document = completed(recipe_path, overrides or [])
    recipe = config.build(Recipe, document)
    out = Path(out or Path("runs") / Path(recipe_path).stem)
    beside, runs = Path(recipe_path).parent, out.parent
    told = [str(recipe_path), "--out", str(out), "--resume", "auto"]
    for assignment in overrides or []:
        told += ["--override", assignment]
    if not recipe.stages:
        recipe = _train_first(recipe, beside, runs, overrides or [])
        _tell_model(out, _train(recipe, told, out, resume))
        return out
    if (out / "stage-1" / "checkpoints").is_dir() and not resume:
        raise TriptychError(
            f"{out} holds a run already; go on with --resume auto, or choose another --out"
        )
    stages = stage_recipes(document, overrides or [])
    stages[0] = _train_first(stages[0], beside, runs, overrides or [])
    last: TrainingResult | None = None

    def train(stage: Recipe, folder: Path) -> bool:
        nonlocal last
        last = _train(stage, told, folder, resume=True)
        return last.finished

    if train_stages(stages, out, train):
        _tell_model(out, last)
    return out


def train_by_defaults(
    model: str,
    data: Path,
    out: Path | None = None,
    overrides: list[str] | None = None,
    resume: bool = False,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    semantic_loss: float | None = None,
) -> Path:
    """Train a checkpoint further on a data set, by a recipe that is written into ``out``.

    Args:
        model: as :func:`triptych.segmenter.load` takes it.
        data: as :func:`triptych.data.sets.open.open_set` takes it.
        out: folder of the run; ``runs/MODEL-DATA`` by default.
        overrides: single values of the recipe.
        resume: as in :func:`train_recipe`.
        epochs: how many times each image is seen.
        steps: or how many steps.
        semantic_loss: see :func:`triptych.train.defaults.fine_tuning`.

    Returns:
        The folder of the run. Its ``recipe.yaml`` can be edited and trained.

    Raises:
        TriptychError: model and data do not go together, or as :func:`train_recipe`.
        SystemExit: likewise.
    """
    recipe = fine_tuning(
        model, data, overrides or [], epochs=epochs, steps=steps, semantic_loss=semantic_loss
    )
    print(summary(recipe), file=sys.stderr)
    out = Path(out or Path("runs") / f"{Path(model).name}-{data.resolve().stem}")
    told = [str(out / RECIPE), "--out", str(out), "--resume", "auto"]
    _tell_model(out, _train(recipe, told, out, resume))
    return out


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """How a training ended, with a model."""

    finished: bool
    """All steps are done."""
    is_main: bool
    """This process speaks for all."""
    example: Path | None
    """An image to try the model on."""


def _train(recipe: Recipe, told: list[str], out: Path, resume: bool) -> TrainingResult:
    """Train a recipe; ``told`` is what ``triptych train`` wants to hear to resume it."""
    with joined(choose_device(recipe.optimisation.device)) as group:
        torch.manual_seed(recipe.optimisation.seed)
        parts = assemble(recipe)
        reason = run(recipe, parts, out, resume=resume, group=group)
        example = parts.example
        del parts  # the network goes before the process group does
    if reason and group.is_main:
        words = shlex.join(["triptych", "train", *told])
        print(f"stopped early; go on with: {words}", file=sys.stderr)
    if reason and reason != TIME_IS_UP:
        raise SystemExit(128 + reason)
    return TrainingResult(not reason, group.is_main, example)


def _tell_model(out: Path, outcome: TrainingResult | None) -> None:
    """The last line: where the model is, and how to try it (main process)."""
    if outcome is None or not outcome.is_main:
        return
    image = shlex.quote(str(outcome.example or "IMAGE"))
    model, seen = shlex.quote(str(out / MODEL)), shlex.quote(str(out / "seen"))
    print(
        f"the model is {model}; try it: triptych predict {image} --model {model} --out {seen}",
        file=sys.stderr,
    )


def _train_first(recipe: Recipe, beside: Path, runs: Path, overrides: list[str]) -> Recipe:
    """Train the recipe that ``recipe`` starts from, if it names one and its model is not there.

    Returns:
        The recipe, starting from that model's folder.
    """
    first = recipe.model.start_from
    if first is None or not is_recipe(first):
        return recipe
    out = runs / Path(first).stem
    if not is_finished(out):
        shared = [text for text in overrides if is_among(text.split("=")[0], SURROUNDINGS)]
        train_recipe(beside / first, out, shared, resume=True)
    model = dataclasses.replace(recipe.model, start_from=str(out / MODEL))
    return dataclasses.replace(recipe, model=model)
