"""From a recipe to the things that are trained: network, losses, samples, figures."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from triptych.checkpoints.before import arguments_of_today
from triptych.checkpoints.folder import ModelConfig, write_folder
from triptych.checkpoints.names.registry import family
from triptych.classes import Classes
from triptych.config import suggest
from triptych.data.targets import Sample, Targets
from triptych.errors import TriptychError
from triptych.evaluation.evaluate import evaluate
from triptych.evaluation.thresholds import choose_thresholds
from triptych.networks.models.registry import FAMILIES, UNTRAINED, build
from triptych.segmenter import Segmenter
from triptych.train.class_queries import query_count
from triptych.train.criterion import SetCriterion
from triptych.train.examples import Examples
from triptych.train.first_batch import draw_batch
from triptych.train.labelling import LabellingCriterion
from triptych.train.matcher import Matcher
from triptych.train.recipe import ModelRecipe, Recipe
from triptych.train.remarks import example_image, remarks
from triptych.train.starting import start_weights
from triptych.train.step import Criterion, autocast_type
from triptych.truth import Example

_LITE = "triptych.networks.backbones.efficientnet_lite:load_imagenet"
PRETRAINED: dict[str, str] = {f"efficientnet_lite{size}": _LITE for size in (0, 1, 2)}
"""Backbones with packaged ImageNet weights, and the function ``(backbone, name)`` that loads
them."""

DATASETS: dict[str, str] = {
    "set": "triptych.data.views:Views",
    "street": "triptych.data.street:StreetDataset",
}
"""Name to ``module:callable``. It takes ``seed`` and the recipe's ``data.arguments``, and the
recipe's ``input`` if it has an argument ``preprocess``; the result has ``classes``, ``semantic``
(every pixel has a class or is void), and ``result[index]`` is a ``Sample`` that depends on seed and
index alone."""

EXAMPLES: dict[str, str] = {
    "set": "triptych.train.examples:set_examples",
    "street": "triptych.train.examples:street_examples",
}
"""Name of a training set to the ``module:callable`` that gives the examples to evaluate on. It
takes the recipe's ``evaluation.arguments`` and, if not among them, ``root`` of the training data;
the result is a fresh :data:`triptych.train.examples.Examples`."""


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

    export: Callable[[nn.Module, Path, int], str | None] | None = None
    """Writes the averaged weights after so many steps as a model folder; returns what to tell."""

    picture: Callable[[Tensor, list[Any], list[str]], Image.Image] | None = None
    """Draws a batch, as ``collate`` gives it."""

    remarks: Sequence[str] = ()
    """What to know about the data before the first step, a line each."""

    queries: int | None = None
    """How many segments of an image the network can answer for; None: any number."""

    example: Path | None = None
    """An image to try the model on."""


def assemble(recipe: Recipe) -> Parts:
    """Build everything that ``recipe`` names.

    Raises:
        TriptychError: an unknown name or argument, missing data or weights.
    """
    family = recipe.model.family
    if family in UNTRAINED:
        able = ", ".join(name for name in FAMILIES if name not in UNTRAINED)
        raise TriptychError(f"model.family: {family} cannot be trained here yet; use {able}")
    dataset = _dataset(recipe)
    classes: Classes = dataset.classes
    arguments = {**arguments_of_today(recipe.model.arguments), "classes": len(classes)}
    queries = query_count(recipe.model.family, arguments)
    model = _model(recipe.model, arguments, classes)

    examples = _examples(recipe) if recipe.evaluation.every else None

    def export(average: nn.Module, folder: Path, step: int) -> str | None:
        segmenter = _segmenter(recipe, average, classes)
        told, readings = None, segmenter.readings
        if examples is not None and recipe.evaluation.choose_thresholds:
            chosen = choose_thresholds(segmenter, _judged(examples()))
            told = str(chosen)
            readings = readings.replace(
                panoptic_threshold=chosen.panoptic, instance_threshold=chosen.instance
            )
        config = ModelConfig(
            family=recipe.model.family,
            arguments=arguments,
            classes=classes,
            preprocess=segmenter.preprocess,
            readings=readings,
            training={"recipe": recipe.to_plain(), "steps": step},
        )
        write_folder(folder, config, average.state_dict())
        return told

    return Parts(
        model=model,
        criterion=_criterion(recipe.criterion, model),
        dataset=dataset,
        collate=collate,
        evaluate=None if examples is None else _evaluation(recipe, dataset, examples),
        export=export,
        picture=functools.partial(draw_batch, classes=classes),
        remarks=remarks(recipe, dataset, queries),
        queries=queries,
        example=example_image(dataset),
    )


def _criterion(arguments: Mapping[str, Any], model: nn.Module) -> Criterion:
    """The losses that fit the model: pixel labellers have no set to match."""
    if model.competition == "softmax":
        return call(LabellingCriterion, arguments, "criterion")
    losses = dict(arguments)
    matching = call(Matcher, losses.pop("matcher", None) or {}, "criterion.matcher")
    return call(SetCriterion, losses, "criterion", matching)


def collate(samples: list[Sample]) -> tuple[Tensor, list[Targets], list[str]]:
    """Stack pixels into ``(B, 3, h, w)`` uint8; targets stay a list, their numbers differ."""
    pixels = torch.stack([sample.pixels for sample in samples])
    return pixels, [s.targets for s in samples], [s.name for s in samples]


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


def _find(place: str) -> Any:
    """The object at ``module:name``."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def _named(name: str, known: Mapping[str, str], key: str) -> Any:
    """What a recipe names under ``key``: one that is known, or ``package.module:callable``.

    Raises:
        TriptychError: there is nothing of that name.
    """
    if ":" not in name:
        if name not in known:
            raise TriptychError(
                f"no training set is called {name!r} ({key}); choose from {', '.join(known)}, or "
                "name a callable as package.module:callable"
            )
        return _find(known[name])
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise TriptychError(
            f"{key}: cannot import {name!r} from {here} ({error}); call triptych from the folder "
            "that holds the package"
        ) from error


def _dataset(recipe: Recipe) -> Any:
    function = _named(recipe.data.dataset, DATASETS, "data.dataset")
    arguments = {"seed": recipe.optimisation.seed, **recipe.data.arguments}
    if "preprocess" in inspect.signature(function).parameters:
        arguments["preprocess"] = recipe.input
    return call(function, arguments, "data.arguments")


def _segmenter(recipe: Recipe, average: nn.Module, classes: Classes) -> Segmenter:
    """The network as it will be used."""
    where = next(average.parameters()).device
    usual = family(recipe.model.family).readings
    return Segmenter(
        average,
        recipe.input,
        classes,
        readings=usual.replace(
            panoptic_threshold=recipe.evaluation.threshold, overlap=recipe.evaluation.overlap
        ),
        autocast=autocast_type(recipe.optimisation.precision, where),
    )


def _examples(recipe: Recipe) -> Callable[[], Examples]:
    """What gives the sets of examples to evaluate on.

    Raises:
        TriptychError: there are none, or an argument is wrong.
    """
    settings, name = recipe.evaluation, recipe.evaluation.examples or recipe.data.dataset
    if settings.examples is None and name not in EXAMPLES:
        raise TriptychError(
            f"the training set {name!r} has no examples to evaluate on; name some under "
            "evaluation.examples, or set evaluation.every to 0"
        )
    root = {key: value for key, value in recipe.data.arguments.items() if key == "root"}
    arguments = {**root, **settings.arguments}
    function = _named(name, EXAMPLES, "evaluation.examples")
    examples = functools.partial(call, function, arguments, "evaluation.arguments")
    examples()  # a mistake in the arguments shows now and not after an hour
    return examples


def _judged(sets: Examples) -> Iterator[Example]:
    """The examples of the sets that tell objects apart; of all sets if none does."""
    firsts = {name: (next(iter(images), None), images) for name, images in sets.items()}
    rich = [
        name
        for name, (first, _) in firsts.items()
        if first is not None and (first.panoptic is not None or first.instances is not None)
    ]
    for name in rich or firsts:
        first, others = firsts[name]
        if first is not None:
            yield first
            yield from others


def _evaluation(
    recipe: Recipe, dataset: Any, examples: Callable[[], Examples]
) -> Callable[[nn.Module, int], dict[str, float]]:
    """Figures of the averaged weights on each set of examples, as far as there is truth for them.

    A set's figures are called ``SET_FIGURE``, those of the main set just ``FIGURE``; those of a
    class, ``iou/CLASS`` and so on.
    """

    def measure(average: nn.Module, step: int) -> dict[str, float]:
        segmenter = _segmenter(recipe, average, dataset.classes)
        measured: dict[str, float] = {}
        for name, images in examples().items():
            report = evaluate(segmenter, images, semantic=dataset.semantic)
            before = f"{name}_" if name else ""
            figures = dict(report.figures)
            for figure, by_class in report.per_class.items():
                figures |= {f"{figure}/{kind}": value for kind, value in by_class.items()}
            measured |= {f"{before}{figure}": value for figure, value in figures.items()}
        return measured

    return measure


def _model(recipe: ModelRecipe, arguments: Mapping[str, Any], classes: Classes) -> nn.Module:
    model = build(recipe.family, **arguments)
    if recipe.pretrained_backbone:
        name = str(arguments.get("backbone"))
        if name not in PRETRAINED:
            raise TriptychError(
                f"model.pretrained_backbone: no package ships weights for the backbone {name!r}; "
                f"there are some for {', '.join(PRETRAINED)}"
            )
        _find(PRETRAINED[name])(model.backbone, name)
    if recipe.start_from is not None:
        told = start_weights(model, classes, recipe, arguments)
        if told:
            print(told, file=sys.stderr)
    return model
