"""Files of a network's authors: tensors under the authors' names, and nothing that describes them.

What such a file leaves out is told by the tensors themselves: how the network is built by their
names and shapes, what its classes are by how many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from triptych.checkpoints.catalogue import zoo_settings
from triptych.checkpoints.folder import ModelConfig
from triptych.checkpoints.foreign import foreign_names
from triptych.checkpoints.keymap import adopt_published
from triptych.checkpoints.labels import DATA_SETS, data_set_classes
from triptych.checkpoints.lazy import TensorEntry, Tensors
from triptych.checkpoints.names.family import Original
from triptych.checkpoints.names.registry import family
from triptych.checkpoints.skeleton import skeleton
from triptych.checkpoints.tensors import open_tensors
from triptych.checkpoints.transformers import no_head
from triptych.checkpoints.types import WeightType, numeric_type
from triptych.checkpoints.wrappers import unwrapped
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.networks.models.registry import FAMILIES

_VARIANCE = ".norm.running_var"
_BATCHES = ".norm.num_batches_tracked"
_SHOWN = 3


def read_original(path: Path, dtype: WeightType = None) -> tuple[nn.Module, ModelConfig]:
    """Build the network of a file that its authors wrote, with its weights, on the CPU.

    Args:
        path: ``segformer.b0.512x512.ade.160k.pth``, say, or ``model_final_94dc52.pkl``.
        dtype: floating-point type of the weights; float32 by default, whatever the file has.

    Returns:
        The network, and a configuration that has the classes of the data set with as many of them
        (numbered ones if there is none), and the preprocessing of the authors' tests.

    Raises:
        TriptychError: the file cannot be read, is of none of the authors we know, or holds a
            network that is not supported; unknown and missing names and differing shapes are told.
    """
    with open_tensors(path) as opened:
        tensors = unwrapped(path, opened, is_known)
        name, original = _recognise(path, tensors)
        arguments = original_arguments(path, original, tensors)
        try:
            model = skeleton(path, name, arguments)
            whole = _with_batches(tensors)
            adopt_published(model, whole, original.rules, numeric_type(dtype, tensors))
        except TriptychError as error:
            told = str(error).removeprefix(f"{path}: ")
            raise TriptychError(f"{path}: {told}") from error
    own = family(name).classes
    classes, source = (own, "the family's own") if own else _classes(arguments["classes"])
    config = ModelConfig(
        family=name,
        arguments=arguments,
        classes=classes,
        preprocess=original.preprocess(arguments),
        readings=zoo_settings(path.name, family(name).readings).replace(
            things_only=bool(classes.stuff_ids)
        ),
        notes={"format": original.name, "file": path.name, "classes": source},
    )
    return model, config


def _recognise(path: Path, names: Collection[str]) -> tuple[str, Original]:
    """The family whose authors name tensors like this, and how they write files."""
    if found := _family(names):
        return found
    if _family(names, encoders=True):
        raise no_head(path)
    if told := foreign_names(names):
        raise TriptychError(f"{path}: {told}")
    shown = sorted(names)[:_SHOWN]
    raise TriptychError(
        f"{path}: its tensors ({', '.join(shown)} ...) have neither a config.json beside them nor "
        f"names as in {', '.join(original.name for original in _known().values())}; those are read"
    )


def _known(encoders: bool = False) -> dict[str, Original]:
    whole = {name: original for name in FAMILIES if (original := family(name).original)}
    if not encoders:
        return whole
    return {name: one.encoder for name, one in whole.items() if one.encoder}


def _family(names: Iterable[str], encoders: bool = False) -> tuple[str, Original] | None:
    present = set(names)
    found = [one for one in _known(encoders).items() if present.issuperset(one[1].marks)]
    # A family that adds to another one has the marks of both.
    return max(found, key=lambda one: len(one[1].marks), default=None)


def is_known(names: Iterable[str]) -> bool:
    """Whether authors name tensors like this."""
    return bool(_family(names) or _family(names, encoders=True))


def encoder_of(names: Iterable[str]) -> tuple[str, Original] | None:
    """The family of whose encoder the authors name tensors like this, and how they do."""
    return None if _family(names) else _family(names, encoders=True)


def original_arguments(path: Path, original: Original, tensors: Tensors) -> dict[str, Any]:
    """How the network of a file is built.

    Raises:
        TriptychError: tensors are missing or of other shapes, or it is no network that we have.
    """
    like = f"{path}: looks like {original.name}, but"
    try:
        return original.arguments({name: tensors.shape(name) for name in tensors})
    except KeyError as error:
        raise TriptychError(f"{like} holds no {error.args[0]}") from error
    except (ValueError, IndexError) as error:  # more or fewer dimensions than such tensors have
        raise TriptychError(f"{like} tensors have other shapes than there") from error
    except TriptychError as error:
        raise TriptychError(f"{path}: {error}") from error


def _with_batches(tensors: Tensors) -> Tensors:
    """The tensors, and a count of batches where a norm has none.

    A norm that was frozen while the network was trained counts no batches; ours always has the
    number, which is used in training only.
    """
    entries = {n: TensorEntry(tensors.shape(n), partial(tensors.__getitem__, n)) for n in tensors}
    for name in tensors:
        if name.endswith(_VARIANCE):
            counted = name.removesuffix(_VARIANCE) + _BATCHES
            entries.setdefault(
                counted, TensorEntry((), partial(torch.tensor, 0, dtype=torch.long, device="cpu"))
            )
    return Tensors(entries)


def _classes(count: int) -> tuple[Classes, str]:
    """The classes of the data set that has so many, or so many things, and its name."""
    for data_set in DATA_SETS:
        classes = data_set_classes(data_set)
        if count == len(classes):
            return classes, data_set
        if count == len(classes.thing_ids):
            things = [entry for entry in classes.to_list() if entry["thing"]]
            return Classes.from_list(things), f"{data_set}, things"
    names = [f"class {number}" for number in range(count)]
    return Classes.of(names, things=names), f"no known data set has {count} classes"
