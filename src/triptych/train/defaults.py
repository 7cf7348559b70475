"""Recipes that write themselves: from a checkpoint and a data set to every choice of a run."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych import config
from triptych.data.sets.base import DiskSet, read_image
from triptych.data.sets.open import open_set, open_splits
from triptych.data.spread import spread
from triptych.data.views import part, training_split
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.segmenter import Segmenter, load
from triptych.train.class_queries import (
    behind_new_ones,
    carried_queries,
    query_count,
    query_weights,
)
from triptych.train.recipe import Recipe, is_recipe, plain
from triptych.train.starting import EncoderAlone, class_sources, load_encoder

EPOCHS = 10
"""Times that each image is seen, unless that is fewer than :data:`MIN_STEPS`."""

MIN_STEPS = 500
"""A small data set is gone through more often."""

BATCH = 8
LARGEST_PART = 2**21
"""Pixels of crops that go through the network at a time; a batch of more is computed in parts."""

HELD_OUT = 10
"""Where no split is for validation, every so-manyth image is."""

EVALUATED = 200
"""Images, at most, that figures along the way are taken from."""

LEARNING = {
    # Cheng et al. (CVPR 2022), appendix A: AdamW, a tenth of the rate for the backbone.
    "independent": {
        "learning_rate": 1e-4,
        "backbone_factor": 0.1,
        "weight_decay": 0.05,
        "gradient_clip": 0.01,
    },
    # Xie et al. (NeurIPS 2021), section 4.1: 6e-5 for the encoder, ten times that for the decoder.
    "softmax": {"learning_rate": 6e-4, "backbone_factor": 0.1, "weight_decay": 0.01},
}
"""By the competition of a network's masks, how it learns where its checkpoint does not tell."""


def read_completed(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; what it leaves out about its network, the checkpoint it starts from tells.

    Args:
        path: a YAML file.
        overrides: such as ``optimisation.steps=500``.

    Raises:
        TriptychError: a mistake in the recipe, or there is no such checkpoint.
    """
    return config.build(Recipe, completed(path, overrides))


def completed(path: str | Path, overrides: Sequence[str] = ()) -> config.Document:
    """What :func:`read_completed` makes a recipe of.

    Raises:
        TriptychError: likewise.
    """
    document = config.read_document(path)
    for assignment in overrides:
        config.override(document, assignment)
    model = document.values.get("model")
    given = model if isinstance(model, dict) else {}
    start = given.get("start_from")
    if isinstance(start, str) and "family" not in given and not is_recipe(start):
        _fill(document.values, _network(start, _trainable(start)))
    return document


def fine_tuning(
    model: str,
    data: str | Path,
    overrides: Sequence[str] = (),
    *,
    epochs: int | None = None,
    steps: int | None = None,
    semantic_loss: float | None = None,
) -> Recipe:
    """The recipe that trains a checkpoint further, on a data set of one's own.

    Overrides count first; all else follows from them, the checkpoint and the data.

    Args:
        model: as :func:`triptych.segmenter.load` takes it.
        data: as :func:`triptych.data.sets.open.open_set` takes it.
        overrides: single values, such as ``optimisation.batch_size=4``.
        epochs: how many times each image is seen.
        steps: or how many steps; with neither, as many as :data:`EPOCHS` and :data:`MIN_STEPS`
            say.
        semantic_loss: weight of the loss on the class map itself, beside the paper's losses; None:
            as the checkpoint was trained, which is without it for those of papers.

    Raises:
        TriptychError: there is no such checkpoint, split or data set, the two do not go together,
            or an override is wrong.
    """
    for name, number in (("--epochs", epochs), ("--steps", steps)):
        if number is not None and number < 1:
            raise TriptychError(f"{name} is {number}; give 1 or more")
    if epochs and steps:
        raise TriptychError("give --epochs or --steps, not both")
    document = config.Document("recipe by defaults")
    for assignment in overrides:
        config.override(document, assignment)
    values = document.values
    _check_sections(values)
    segmenter = _trainable(model)
    _fill(values, _network(model, segmenter))
    _fill(values, _data(values, data))
    _more_queries(segmenter, values)
    arguments, evaluated = values["data"]["arguments"], values["evaluation"]["arguments"]
    training = open_set(data, arguments["split"])
    _check_pair(model, segmenter, training)
    crop = arguments.setdefault("crop", _crop(model, segmenter, training))
    if not (isinstance(crop, list) and len(crop) == 2 and all(map(_is_count, crop))):
        raise TriptychError(f"--override data.arguments.crop is {crop!r}; give [HEIGHT,WIDTH]")

    learning, area = values["optimisation"], math.prod(crop)
    images = len(part(len(training), arguments["held_out"], evaluation=False))
    batch = learning.setdefault("batch_size", BATCH)
    each = math.ceil(images / batch) if _is_count(batch) else 1
    learning.setdefault("steps", steps or (epochs or 0) * each or max(EPOCHS * each, MIN_STEPS))
    _fill(values, {"optimisation": _learning(segmenter)})
    total = learning["steps"] if _is_count(learning["steps"]) else 1
    validation = len(open_set(data, evaluated["split"]))
    _fill(
        values,
        {
            "optimisation": {
                "warmup_steps": total // 20,
                "accumulate": _parts(batch, area),
            },
            "evaluation": {
                "every": min(max(each, math.ceil(total / 10)), total),
                "at_start": True,
                "threshold": segmenter.readings.panoptic_threshold,
                "overlap": segmenter.readings.overlap,
                "arguments": {"count": EVALUATED if validation > EVALUATED else 0},
            },
            "criterion": _criterion(segmenter, training, area, values["model"], semantic_loss),
            "data": {"images": images},
        },
    )
    return config.build(Recipe, document)


def summary(recipe: Recipe) -> str:
    """What :func:`fine_tuning` chose, in one line."""
    learning, arguments, images = (
        recipe.optimisation,
        recipe.data.arguments,
        recipe.data.images or 0,
    )
    height, width = arguments["crop"]
    rate, backbone = learning.learning_rate, learning.learning_rate * learning.backbone_factor
    epochs = learning.steps / max(math.ceil(images / learning.batch_size), 1)
    return (
        f"{recipe.model.start_from} on {images:,} image{'s' * (images != 1)} of "
        f"{arguments['root']}: {learning.steps:,} steps of {learning.batch_size} "
        f"({round(epochs, 1):g} epochs), crops of {width} x {height}, learning rate {rate:g} "
        f"({backbone:g} for the backbone)"
    )


def _trainable(model: str) -> Segmenter:
    segmenter: Segmenter = load_encoder(model) or load(model, "cpu")
    if segmenter.family is None or "classes" not in segmenter.arguments:
        raise TriptychError(
            f"{model} has no classes that could be replaced; choose another model, such as street"
        )
    return segmenter


def _network(model: str, segmenter: Segmenter) -> dict[str, Any]:
    """What the checkpoint tells about its network and its input."""
    arguments = {k: v for k, v in segmenter.arguments.items() if k != "classes"}
    section = {"start_from": model, "family": segmenter.family, "arguments": plain(arguments)}
    if isinstance(segmenter, EncoderAlone):
        section["new_parts"] = list(segmenter.new_parts)
    return {"model": section, "input": plain(segmenter.preprocess.to_dict())}


def _data(values: Mapping[str, Any], data: str | Path) -> dict[str, Any]:
    """Which images are for training, and which for evaluation."""
    given = values["data"]["arguments"]
    training = str(given["split"]) if "split" in given else training_split(data)
    others = [name for name in open_splits(data) if name.startswith("val") and name != training]
    if len(others) == 1:
        held_out, validation = 0, others[0]
    else:
        length = len(open_set(data, training))
        held_out, validation = (min(HELD_OUT, length) if length > 1 else 0), training
    return {
        "model": {"freeze_norm": True},
        "data": {
            "dataset": "set",
            "arguments": {"root": str(data), "split": training, "held_out": held_out},
            "workers": max(1, min(4, (os.cpu_count() or 1) - 1)),
        },
        "evaluation": {"arguments": {"split": validation, "held_out": held_out}},
    }


def _check_pair(model: str, segmenter: Segmenter, data: DiskSet) -> None:
    if segmenter.model.competition == "softmax" and not data.semantic:
        raise TriptychError(
            f"{model} gives every pixel a class, but {data.title} tells of objects only; name a "
            "class for the rest in a YAML file ('rest: background'), or take a Mask2Former"
        )


def _crop(model: str, segmenter: Segmenter, data: DiskSet) -> list[int]:
    """Height and width of training crops: about what the network is given in use."""
    preprocess: Preprocess = segmenter.preprocess
    divisor = int(getattr(segmenter.model, "size_divisor", 1))
    size = preprocess.size
    if size is None and preprocess.shortest_edge:
        size = (preprocess.shortest_edge, preprocess.shortest_edge)
    if size is None and preprocess.longest_edge:
        size = (round(preprocess.longest_edge * 3 / 4), preprocess.longest_edge)
    if size is None:
        images = (read_image(data.image(index)) for index in spread(len(data), 10))
        sizes = {(image.shape[0], image.shape[1]) for image in images}
        if len(sizes) > 1:
            told = " and ".join(f"{width} x {height}" for height, width in sorted(sizes)[:2])
            raise TriptychError(
                f"{model} takes images as large as they are, and {data.title} has no common size "
                f"({told}); choose a crop: --override data.arguments.crop=[HEIGHT,WIDTH]"
            )
        return [max(edge // divisor, 1) * divisor for edge in sizes.pop()]
    return [math.ceil(edge / divisor) * divisor for edge in size]


def _learning(segmenter: Segmenter) -> dict[str, Any]:
    """Rates of learning: as the checkpoint was trained, if it tells."""
    usual = LEARNING[str(segmenter.model.competition)]
    told = _told(segmenter, "optimisation")
    if all(name in told for name in usual):
        return {name: told[name] for name in usual}
    return dict(usual)


def _told(segmenter: Segmenter, section: str) -> dict[str, Any]:
    """A section of the recipe that the checkpoint was trained by, if it tells."""
    recipe = segmenter.training.get("recipe")
    told = recipe.get(section) if isinstance(recipe, dict) else None
    return told if isinstance(told, dict) else {}


def _criterion(
    segmenter: Segmenter,
    data: DiskSet,
    area: int,
    model: Mapping[str, Any],
    semantic_loss: float | None,
) -> dict[str, Any]:
    """The losses of the paper, or those that the checkpoint was trained by.

    A point stands for as many pixels as in the paper, where crops are of 1024 x 1024.
    """
    if segmenter.model.competition == "softmax":
        if semantic_loss is not None:
            raise TriptychError("--semantic-loss: a pixel labeller has no other loss; leave it out")
        return {}
    if semantic_loss is not None and not 0 <= semantic_loss < math.inf:
        raise TriptychError(f"--semantic-loss is {semantic_loss}; give 0 or more")
    if semantic_loss is not None and not data.semantic:
        raise TriptychError(
            f"--semantic-loss: {data.title} tells of objects only and has no class map; leave it "
            "out"
        )
    points = max(min(area // 84, 12544), 256)
    matcher: dict[str, Any] = {"points": points}
    losses = _told(segmenter, "criterion")
    told = losses.get("matcher")
    told = told if isinstance(told, dict) else {}
    if told.get("aligned") is True:
        matcher["aligned"] = True
    if data.semantic:  # else nothing would teach crowd queries their masks
        renamed = model.get("classes_from")
        renamed = renamed if isinstance(renamed, dict) else {}
        sources = class_sources(data.classes, segmenter.network_classes, renamed)
        carried = carried_queries(told, segmenter.network_classes, data.classes, sources)
        matcher |= behind_new_ones(carried, _new_queries(segmenter, model))
    # Where NMS drops doubles, they are no mistake.
    doubles = {"double": 0.0} if segmenter.arguments.get("nms") else {}
    return doubles | _semantic(losses, data, semantic_loss) | {"points": points, "matcher": matcher}


def _semantic(
    told: Mapping[str, Any], data: DiskSet, semantic_loss: float | None
) -> dict[str, Any]:
    """The loss on the class map: as asked for, or as the checkpoint was trained."""
    if semantic_loss is not None:
        return {"semantic": float(semantic_loss), "semantic_for_all": True, "ambiguous": 0.3}
    if not data.semantic:
        return {}
    return {key: told[key] for key in ("semantic", "semantic_for_all", "ambiguous") if key in told}


def _new_queries(segmenter: Segmenter, model: Mapping[str, Any]) -> int:
    """How many queries the network has beyond those of its checkpoint, if more are asked for."""
    family, arguments = str(segmenter.family), model.get("arguments")
    before = query_count(family, segmenter.arguments)
    asked = query_count(family, arguments) if isinstance(arguments, dict) else None
    return 0 if before is None or asked is None else asked - before


def _more_queries(segmenter: Segmenter, values: dict[str, Any]) -> None:
    """Say which weights are new where more queries are asked for than the checkpoint has.

    Raises:
        TriptychError: fewer are asked for.
    """
    new = _new_queries(segmenter, values["model"])
    if new < 0:
        raise TriptychError(
            f"--override model.arguments.queries: the checkpoint has {-new} more; give as many or "
            "more"
        )
    if new:
        names = query_weights(str(segmenter.family), segmenter.arguments)
        _fill(values, {"model": {"new_parts": names}})


def _parts(batch: Any, area: int) -> int:
    """In how many parts a batch is computed so that its crops fit :data:`LARGEST_PART`."""
    if not _is_count(batch):
        return 1
    dividing = (number for number in range(1, batch + 1) if batch % number == 0)
    return next((n for n in dividing if batch // n * area <= LARGEST_PART), batch)


def _check_sections(values: dict[str, Any]) -> None:
    """Make the sections that are filled; refuse a value in the place of one."""
    for key in ("data", "data.arguments", "evaluation", "evaluation.arguments", "optimisation"):
        inner = values
        for name in key.split("."):
            inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            raise TriptychError(f"--override {key}: is a section; name a key in it, too")


def _is_count(value: Any) -> bool:
    """Mistakes in overrides are told when the recipe is built, by the line that makes them."""
    return type(value) is int and value >= 1


def _fill(values: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Put defaults where nothing is said."""
    for key, default in defaults.items():
        if isinstance(default, Mapping) and isinstance(values.setdefault(key, {}), dict):
            _fill(values[key], default)
        else:
            values.setdefault(key, default)
