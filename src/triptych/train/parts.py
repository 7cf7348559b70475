"""From a recipe to the things that are trained: network, losses, samples, figures."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset

from triptych.errors import TriptychError
from triptych.files import atomic_write
from triptych.train.recipe import ModelRecipe, Recipe
from triptych.train.step import Criterion
from triptych.train.strict import suggest

DATASETS: dict[str, str] = {"street": "triptych.data.street:StreetDataset"}
"""Name to ``module:callable``. It takes ``seed`` and the recipe's ``data.arguments``; the result
has ``classes``, and ``result[index]`` is a ``Sample`` that depends on seed and index alone."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of, beside the numbers in its recipe."""

    model: nn.Module
    """The network, with its starting weights."""

    criterion: Criterion
    """Losses by name."""

    dataset: Dataset[Any]
    """``dataset[index]`` is a sample that depends on ``index`` alone, for any index from 0 on."""

    collate: Callable[[list[Any]], tuple[torch.Tensor, list[Any], list[str]]]
    """Samples to ``(pixels (B, 3, H, W) uint8, targets, names)``."""

    evaluate: Callable[[nn.Module, int], Mapping[str, float]] | None = None
    """Figures of the averaged weights after so many steps."""

    export: Callable[[nn.Module, Path, int], None] | None = None
    """Writes the averaged weights after so many steps as a model folder."""


def assemble(recipe: Recipe) -> Parts:
    """Build everything that ``recipe`` names.

    Raises:
        TriptychError: an unknown name or argument, missing data or weights.
    """
    from triptych.data.targets import collate
    from triptych.train import criterion, matcher

    dataset = _dataset(recipe)
    classes = dataset.classes
    arguments = {**recipe.model.arguments, "classes": len(classes)}
    model = _model(recipe.model, arguments)
    losses = dict(recipe.criterion)
    matching = call(matcher.Matcher, losses.pop("matcher", None) or {}, "criterion.matcher")

    def export(average: nn.Module, folder: Path, step: int) -> None:
        divisor = int(average.size_divisor)  # type: ignore[arg-type]
        config = {
            "format": "triptych",
            "version": 1,
            "family": recipe.model.family,
            "arguments": arguments,
            "classes": classes.to_list(),
            "preprocess": dataclasses.replace(recipe.input, size_divisor=divisor).to_dict(),
            "panoptic": True,
            "notes": {"steps": step},
        }
        tensors = {name: value.contiguous() for name, value in average.state_dict().items()}
        with atomic_write(folder / "model.safetensors") as path:
            save_file(tensors, path)
        with atomic_write(folder / "config.json") as path:
            path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    return Parts(
        model=model,
        criterion=call(criterion.Criterion, losses, "criterion", matching),
        dataset=dataset,
        collate=collate,
        export=export,
    )


def call(
    function: Callable[..., Any], arguments: Mapping[str, Any], section: str, *given: Any
) -> Any:
    """Call ``function`` with the arguments of a recipe's free section.

    Raises:
        TriptychError: the function does not take one of them, or needs another.
    """
    signature = inspect.signature(function)
    allowed = [name for name, p in signature.parameters.items() if p.kind is not p.POSITIONAL_ONLY][
        len(given) :
    ]
    for name in arguments:
        if name not in allowed:
            raise TriptychError(
                f"unknown key {name!r} in section {section!r}{suggest(name, allowed)}; "
                f"allowed: {', '.join(allowed)}"
            )
    try:
        signature.bind(*given, **arguments)
    except TypeError as error:
        raise TriptychError(f"section {section!r}: {error}") from None
    return function(*given, **arguments)


def _dataset(recipe: Recipe) -> Any:
    name = recipe.data.dataset
    if name not in DATASETS:
        raise TriptychError(
            f"no training set is called {name!r} (data.dataset); choose from {', '.join(DATASETS)}"
        )
    module, attribute = DATASETS[name].split(":")
    make = getattr(importlib.import_module(module), attribute)
    arguments = {"seed": recipe.optimisation.seed, **recipe.data.arguments}
    return call(make, arguments, "data.arguments")


def _model(recipe: ModelRecipe, arguments: Mapping[str, Any]) -> nn.Module:
    from triptych.models.registry import build

    model = build(recipe.family, **arguments)
    if recipe.pretrained_backbone:
        from triptych.backbones.efficientnet_lite import load_imagenet

        load_imagenet(model.backbone, arguments["backbone"])  # type: ignore[arg-type]
    return model
