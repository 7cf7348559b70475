"""How files of others describe a family of networks: the form that each module here fills."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from triptych.checkpoints.keymap import Rules
from triptych.checkpoints.options import Options
from triptych.classes import Classes
from triptych.readings.settings import ReadingSettings

if TYPE_CHECKING:
    from triptych.image.preprocess import Preprocess

Shapes = Mapping[str, tuple[int, ...]]
"""Names of the tensors in a file, and their shapes."""


@dataclass(frozen=True)
class Published:
    """How the files of transformers describe a family: a folder as it lies on the hub."""

    architecture: str
    """Name of their class with the heads, as written into ``config.json``."""
    rules: Rules
    """Their names of tensors, in files, and ours."""
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Their ``config.json``, in old and new spellings, to our builder's arguments, ``classes``
    among them. Raises TriptychError for options that we do not support, and names them."""
    write: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Our builder's arguments to the entries of their ``config.json``, without those about
    labels. Raises TriptychError for networks that they cannot build."""
    processor: Mapping[str, Any]
    """Their image processor, as ``preprocessor_config.json`` would describe one that has nothing
    but defaults: ``image_processor_type``, ``size`` and so on."""
    encoders: Mapping[str, Rules] = field(default_factory=dict)
    """Names of their classes with the encoder alone, or with a head that classifies images, and
    how these name their tensors. What the encoder starts from, while all else is new."""
    unused: Callable[[Mapping[str, Any]], dict[str, Tensor]] = lambda arguments: {}
    """Our builder's arguments to tensors that their network has and ours has no use for, under
    their names. They are written along, so that nothing is missing when transformers loads it."""


@dataclass(frozen=True)
class Original:
    """How a family's authors wrote their own files: tensors, and nothing that describes them."""

    name: str
    """What such files are called, for messages."""
    marks: tuple[str, ...]
    """Names of tensors that all these files have. Files that have the marks of two families are of
    the one with more."""
    rules: Rules
    """Their names of tensors, and ours."""
    arguments: Callable[[Shapes], dict[str, Any]]
    """Names and shapes to our builder's arguments, ``classes`` among them. Raises KeyError for a
    name that is missing, and TriptychError for networks that we do not have."""
    preprocess: Callable[[Mapping[str, Any]], Preprocess]
    """The builder's arguments to what the authors did to an image when they tested the network."""
    encoder: Original | None = None
    """How they wrote files with the encoder alone. Its ``arguments`` give one class."""


@dataclass(frozen=True)
class Family:
    """How files of others describe a family of networks, and how its masks are read."""

    published: Published | None = None
    """None where transformers has no such network."""
    original: Original | None = None
    """None where the authors' own files are not read."""
    readings: ReadingSettings = field(default_factory=ReadingSettings)
    """How its masks are read where a checkpoint says nothing else."""
    classes: Classes | None = None
    """Its classes, where they are the same for all checkpoints and no file names them."""


def unused_weights(classes: int) -> dict[str, Tensor]:
    """Weights of the classes in the loss of MaskFormer and Mask2Former: "no object" counts less.

    transformers keeps them with the network, where we have a setting of the training.
    """
    weights = torch.ones(classes + 1, dtype=torch.float32, device="cpu")
    weights[-1] = 0.1
    return {"criterion.empty_weight": weights}


def label_count(config: Options) -> int:
    """The number of classes that a ``config.json`` of transformers tells, as it counts them.

    Raises:
        TriptychError: the entry is of a wrong kind.
    """
    if "id2label" in config:
        return len(config.within("id2label").entries)
    return config.count("num_labels", 2)


def count(shapes: Shapes, name: str) -> int:
    """How many layers there are: the first number that, put into ``name``, names no tensor.

    >>> count({"layers.0.bias": (8,), "layers.1.bias": (8,)}, "layers.{}.bias")
    2
    """
    return next(n for n in itertools.count() if name.format(n) not in shapes)
