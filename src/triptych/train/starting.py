"""What a network starts from: the weights of a checkpoint, class by class where classes differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.checkpoints.encoders import BACKBONE, read_encoder
from triptych.checkpoints.skeleton import skeleton
from triptych.classes import Classes
from triptych.config import suggest
from triptych.errors import TriptychError
from triptych.evaluation.answers import plain_name, some
from triptych.segmenter import Segmenter, find_checkpoint, load
from triptych.train.recipe import ModelRecipe


def start_weights(
    model: nn.Module, classes: Classes, recipe: ModelRecipe, arguments: Mapping[str, Any]
) -> str:
    """Load the weights of the checkpoint that a recipe starts from.

    Weights that stand for one class go to the class of the same name (whatever its case, spaces,
    hyphens and underscores), or to the one that ``recipe.classes_from`` says. Classes that the
    checkpoint does not have keep the random weights that they have in ``model``, and so do the
    parts of the network that ``recipe.new_parts`` names. Of a named part that the checkpoint has
    with fewer rows (a decoder with more queries), the first rows are new, the last its own.

    Args:
        model: the network to fill.
        classes: what it is to find.
        recipe: names the checkpoint.
        arguments: what ``model`` was built with, ``classes`` among them.

    Returns:
        Which classes start from the checkpoint's and which are new, in words; nothing if the
        classes are the same.

    Raises:
        TriptychError: there is no such checkpoint, it holds another network, or ``classes_from``
            names a class that is not there.
    """
    start = str(recipe.start_from)
    encoder = load_encoder(start)
    old = encoder or load(start, "cpu")
    given, wanted = old.model.state_dict(), model.state_dict()
    if encoder:
        given = {name: t for name, t in given.items() if not name.startswith(recipe.new_parts)}
    sources = class_sources(classes, old.network_classes, {} if encoder else recipe.classes_from)
    for name in class_weights(recipe.family, arguments):
        if name in given:
            rows = _rows(wanted[name], given[name], sources, len(old.network_classes))
            given[name] = given[name] if rows is None else rows
    for name, tensor in wanted.items():
        if not name.startswith(recipe.new_parts):
            continue
        own = given.setdefault(name, tensor)
        if own.ndim and own.shape[1:] == tensor.shape[1:] and len(own) < len(tensor):
            given[name] = torch.cat((tensor[: len(tensor) - len(own)], own))
    try:
        model.load_state_dict(given)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise TriptychError(f"model.start_from: {start} is another network: {reason}") from None
    if encoder:
        return (
            f"encoder from {start}; new: {', '.join(part.strip('.') for part in recipe.new_parts)}"
        )
    if sources == list(range(len(old.network_classes))):
        return ""
    kept = [name for name, source in zip(classes.names, sources, strict=True) if source is not None]
    new = [name for name, source in zip(classes.names, sources, strict=True) if source is None]
    return f"class head: {_listed(kept)} from {start}; new: {_listed(new)}"


class EncoderAlone(Segmenter):
    """A network of which a checkpoint has the encoder; all else is random."""

    @property
    def new_parts(self) -> tuple[str, ...]:
        """Beginnings of the names of the random weights."""
        names = (f"{name}." for name, _ in self.model.named_children())
        return tuple(name for name in names if name != BACKBONE)


def load_encoder(name: str) -> EncoderAlone | None:
    """A network around an encoder alone, such as nvidia/mit-b0; None if ``name`` is none.

    Args:
        name: as :func:`triptych.segmenter.load` takes it.

    Raises:
        TriptychError: there is no such checkpoint, or it is damaged.
    """
    found = read_encoder(find_checkpoint(name))
    if found is None:
        return None
    model, config = found
    return EncoderAlone(
        model,
        config.preprocess,
        config.classes,
        name=name,
        family=config.family,
        arguments=config.arguments,
        notes=config.notes,
    )


def class_weights(family: str, arguments: Mapping[str, Any]) -> list[str]:
    """Names of a network's weights whose shape depends on the number of classes.

    Args:
        family: of the network.
        arguments: what it is built with.
    """
    return weights_by(family, arguments, "classes", arguments["classes"])


def weights_by(family: str, arguments: Mapping[str, Any], name: str, number: int) -> list[str]:
    """Names of a network's weights whose shape depends on one of its arguments.

    Args:
        family: of the network.
        arguments: what it is built with.
        name: of the argument, a number.
        number: its value.
    """
    shapes = []
    for more in (0, 1):
        changed = {**arguments, name: number + more}
        network = skeleton(Path(family), family, changed)
        shapes.append({name: tensor.shape for name, tensor in network.state_dict().items()})
    return [name for name, shape in shapes[0].items() if shape != shapes[1][name]]


def class_sources(
    classes: Classes, old: Classes, classes_from: Mapping[str, str]
) -> list[int | None]:
    """For each class the number of the old one that it starts from, None if it is new.

    Args:
        classes: what is to be found.
        old: what the checkpoint finds.
        classes_from: names of old classes by names of new ones, where they differ.

    Raises:
        TriptychError: ``classes_from`` names a class that is not there.
    """
    for new, source in classes_from.items():
        for name, known, whose in (
            (new, classes, "the data have"),
            (source, old, "the checkpoint has"),
        ):
            if name not in known.names:
                raise TriptychError(
                    f"model.classes_from: {whose} no class {name!r}"
                    f"{suggest(name, known.names)}; there are: {some(known.names)}"
                )
    places = {plain_name(name): number for number, name in reversed(list(enumerate(old.names)))}
    return [places.get(plain_name(classes_from.get(name, name))) for name in classes.names]


def _rows(
    wanted: Tensor, given: Tensor, sources: list[int | None], old_classes: int
) -> Tensor | None:
    """The wanted rows, those of known classes and of "no object" as given.

    None if the given weights do not stand for classes in this way.
    """
    beyond = len(wanted) - len(sources)  # 1 where there is "no object" behind the classes
    if len(given) != old_classes + beyond or given.shape[1:] != wanted.shape[1:]:
        return None
    rows = wanted.clone()
    for number, source in enumerate(sources):
        if source is not None:
            rows[number] = given[source]
    rows[len(sources) :] = given[old_classes:]
    return rows


def _listed(names: list[str]) -> str:
    return some(names) if names else "none"
