"""A training recipe: every choice that makes one run, as frozen dataclasses read from YAML."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from triptych import config
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise TriptychError(message)


@dataclass(frozen=True)
class ModelRecipe:
    """Which network is trained, and what it starts from."""

    family: str
    """Name of a model family. A recipe that names a checkpoint under ``start_from`` may leave it
    out: then family, arguments and the recipe's ``input`` are the checkpoint's."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the family's builder; ``classes`` comes from the data."""

    pretrained_backbone: bool = False
    """Start the backbone from the ImageNet weights of its package."""

    start_from: str | None = None
    """A checkpoint whose weights start the network: a bundled one ("street"), a folder, or a model
    of the Hugging Face hub. Or another recipe (``.yaml``, beside this one), which is then trained
    first, in a folder beside this run's, unless its model is there already."""

    classes_from: Mapping[str, str] = field(default_factory=dict)
    """Classes that start from another class of that checkpoint than the one of their name:
    ``person: pedestrian``."""

    new_parts: tuple[str, ...] = ()
    """Parts of the network that the checkpoint under ``start_from`` does not have: beginnings of
    the names of weights, such as ``query_decoder.head.anchors.``. They start as in a new
    network; of one that it has with fewer rows, only the first rows do."""

    freeze_norm: bool = False
    """Keep the running statistics of the backbone's batch norms; their scale and shift learn on.
    Wise when a process sees fewer than about eight images at a time."""


@dataclass(frozen=True)
class DataRecipe:
    """Where training samples come from."""

    dataset: str = "street"
    """Name of a training set, or ``package.module:callable`` that makes one; modules are looked
    for from the working directory on as well."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the training set: root folder, splits, crop, scale, pasted objects."""

    workers: int = 1
    """Processes that prepare samples; 0 prepares them in the training process. The samples are
    the same for any number."""

    prefetch: int = 2
    """Batches that each worker prepares in advance."""

    images: int | None = None
    """How many images there were to train on when the recipe was written; only said, not used."""

    def __post_init__(self) -> None:
        _require(self.workers >= 0, f"workers must not be negative, not {self.workers}")
        _require(self.prefetch >= 1, f"prefetch must be at least 1, not {self.prefetch}")


@dataclass(frozen=True)
class OptimisationRecipe:
    """AdamW, its schedule, and the arithmetic."""

    steps: int
    """Optimiser steps of the whole run; the schedule is laid out over them."""

    batch_size: int = 8
    """Images per step, over all processes together."""

    accumulate: int = 1
    """In how many parts a process computes its share of a batch. More parts need less memory;
    each part is normalised by itself (batch norm, number of segments)."""

    learning_rate: float = 1e-4
    """Peak learning rate of everything but the backbone."""

    backbone_factor: float = 1.0
    """The backbone learns at this multiple of ``learning_rate``; 0 freezes its parameters."""

    weight_decay: float = 0.05
    """Decoupled weight decay; none on norms, biases and embeddings."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's two running averages."""

    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from zero."""

    schedule: Literal["poly", "cosine", "constant"] = "poly"
    """How the learning rate falls after the warm-up."""

    power: float = 0.9
    """Exponent of the "poly" schedule."""

    gradient_clip: float | None = None
    """Largest norm of the whole gradient; null: no limit."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the network: "auto" takes bf16 where the machine has it. Losses are always
    in fp32."""

    checkpointing: bool = False
    """Keep only the inputs of transformer blocks for the backward pass, which computes the rest
    anew: much less memory, and a third more time for these blocks."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network is trained: "auto" takes a GPU where there is one."""

    ema_decay: float = 0.999
    """Decay of the averaged weights, which are the ones evaluated and exported; 0: no average.
    Early in the run the decay is smaller, so that the random start is forgotten."""

    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate"):
            value = getattr(self, name)
            _require(value >= 1, f"{name} must be at least 1, not {value}")
        _require(
            self.batch_size % self.accumulate == 0,
            f"accumulate must divide batch_size, but {self.batch_size} images "
            f"do not part into {self.accumulate}",
        )
        for name in ("learning_rate", "power"):
            value = getattr(self, name)
            _require(0 < value < math.inf, f"{name} must be positive, not {value}")
        for name in ("backbone_factor", "weight_decay", "warmup_steps", "seed"):
            value = getattr(self, name)
            _require(0 <= value < math.inf, f"{name} must not be negative, not {value}")
        _require(
            self.warmup_steps < self.steps,
            f"warmup_steps must be fewer than the {self.steps} steps, not {self.warmup_steps}",
        )
        _require(
            self.gradient_clip is None or self.gradient_clip > 0,
            f"gradient_clip must be positive or null, not {self.gradient_clip}",
        )
        _require(
            0 <= self.ema_decay < 1, f"ema_decay must be from 0 to below 1, not {self.ema_decay}"
        )
        _require(
            all(0 <= beta < 1 for beta in self.betas),
            f"betas must be from 0 to below 1, not {list(self.betas)}",
        )


@dataclass(frozen=True)
class EvaluationRecipe:
    """Measuring the averaged weights while training."""

    every: int = 0
    """Steps between evaluations, which also follow the last step; 0: none."""

    at_start: bool = False
    """Evaluate before the first step as well."""

    examples: str | None = None
    """Where the examples come from, ``package.module:callable``; those of the training set by
    default."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Which examples of the data set are evaluated on: its split, how many."""

    threshold: float = 0.8
    """Score from which on the panoptic reading keeps a segment; the trained model asks for it in
    use, unless ``choose_thresholds`` finds a better one."""

    overlap: float = 0.8
    """Share of its mask that a panoptic segment must win; the trained model asks for it in use."""

    choose_thresholds: bool = True
    """Choose the thresholds of the panoptic and the instance reading on these examples when the
    training is done, and write them into the trained model."""

    def __post_init__(self) -> None:
        _require(self.every >= 0, f"every must not be negative, not {self.every}")
        for name in ("threshold", "overlap"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"{name} must be a share from 0 to 1, not {value}")


@dataclass(frozen=True)
class LoggingRecipe:
    """What is told about the run."""

    every: int = 1
    """Steps between lines of ``log.jsonl``. A line tells of its own step only."""

    seconds: float = 20.0
    """Seconds between lines on the console where there is no terminal for a progress bar."""

    tensorboard: bool = False
    """Write TensorBoard events as well (needs the extra ``triptych[tensorboard]``)."""

    def __post_init__(self) -> None:
        _require(self.every >= 1, f"every must be at least 1, not {self.every}")
        _require(self.seconds >= 0, f"seconds must not be negative, not {self.seconds}")


@dataclass(frozen=True)
class CheckpointRecipe:
    """When the state of the run is written, so that it can be resumed."""

    seconds: float | None = 300.0
    """Seconds between checkpoints; null: by steps only."""

    steps: int | None = None
    """Steps between checkpoints; null: by time only."""

    keep: int = 2
    """How many of the newest checkpoints stay on disk."""

    def __post_init__(self) -> None:
        for name in ("seconds", "steps"):
            value = getattr(self, name)
            _require(value is None or value > 0, f"{name} must be positive or null, not {value}")
        _require(self.keep >= 1, f"keep must be at least 1, not {self.keep}")


@dataclass(frozen=True)
class Recipe:
    """A whole training run."""

    model: ModelRecipe
    """The network."""

    optimisation: OptimisationRecipe
    """Optimiser, schedule and arithmetic."""

    input: Preprocess = field(default_factory=Preprocess)
    """How pixels reach the network. Training uses ``mean`` and ``std`` (crops are never resized);
    the exported model takes all of it, with the network's own ``size_divisor``."""

    data: DataRecipe = field(default_factory=DataRecipe)
    """Training samples."""

    criterion: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of :class:`triptych.train.criterion.SetCriterion`; those of the matcher under
    ``matcher``."""

    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    """Figures along the way."""

    logging: LoggingRecipe = field(default_factory=LoggingRecipe)
    """Console, log file, TensorBoard."""

    checkpoint: CheckpointRecipe = field(default_factory=CheckpointRecipe)
    """Files to resume from."""

    stages: tuple[Mapping[str, Any], ...] = ()
    """Trainings one after the other, each from the averaged weights of the one before: what each
    changes of this recipe, in sections as here. Empty: one training, by the recipe itself."""

    time_limit: float | None = None
    """Minutes after which this call stops cleanly and can be resumed; the schedule does not
    change. null: no limit."""

    notes: Mapping[str, Any] = field(default_factory=dict)
    """Free remarks, such as the figures that the recipe gave; nothing reads them."""

    def __post_init__(self) -> None:
        _require(
            self.time_limit is None or self.time_limit > 0,
            f"time_limit must be positive or null, not {self.time_limit}",
        )

    def to_yaml(self) -> str:
        """The complete recipe, defaults included, as YAML that :func:`read_recipe` reads."""
        return yaml.safe_dump(self.to_plain(), sort_keys=False)

    def to_plain(self) -> dict[str, Any]:
        """The complete recipe as plain data, of types that YAML and JSON have."""
        values: dict[str, Any] = plain(dataclasses.asdict(self))
        return values


SURROUNDINGS = (
    "logging",
    "data.workers",
    "data.prefetch",
    "data.arguments.root",
    "optimisation.device",
)
"""What depends on the machine; overriding it for a recipe does so for the one it starts from."""

RECIPE = "recipe.yaml"
"""The complete recipe of a run, in its folder."""

HARMLESS = ("notes", "time_limit", "data.images", "checkpoint", "evaluation", *SURROUNDINGS)
"""What may differ when a run is resumed: it does not change what is learnt."""


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and replace single values.

    Args:
        path: a YAML file.
        overrides: such as ``optimisation.steps=500``.

    Raises:
        TriptychError: in one line, which key is wrong, where it stands and what is allowed.
    """
    document = config.read_document(path)
    for assignment in overrides:
        config.override(document, assignment)
    return config.build(Recipe, document)


def differences(old: str, new: Recipe) -> list[str]:
    """Dotted keys at which two recipes differ, without the :data:`HARMLESS` ones.

    Args:
        old: what :meth:`Recipe.to_yaml` gave, perhaps in an earlier version: keys that it does
            not have stand for their defaults.
        new: the other recipe.
    """
    values = yaml.safe_load(old)
    with contextlib.suppress(TriptychError):  # it has keys that are gone: then they differ
        values = config.build(Recipe, config.Document("", values)).to_plain()
    keys = []
    flat_old, flat_new = dict(_flatten(values)), dict(_flatten(new.to_plain()))
    for key in sorted(flat_old.keys() | flat_new.keys()):
        if not is_among(key, HARMLESS) and flat_old.get(key) != flat_new.get(key):
            keys.append(key)
    return keys


def is_among(key: str, names: Sequence[str]) -> bool:
    """Whether a dotted key is one of ``names`` or lies below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat += _flatten(value, f"{prefix}{name}.")
        else:
            flat.append((f"{prefix}{name}", value))
    return flat


def is_recipe(start_from: str) -> bool:
    """Whether ``model.start_from`` names another recipe, and not a checkpoint."""
    return start_from.endswith((".yaml", ".yml"))


def plain(value: Any) -> Any:
    """Only types that YAML and JSON share: tuples become lists; paths and dates, text."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
