"""Checkpoint folders: ``config.json`` says what to build, ``model.safetensors`` holds the weights.

Only tensors are read, never pickled objects, so a foreign checkpoint cannot run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from triptych.atomic import atomic_write
from triptych.checkpoints.before import arguments_of_today, name_of_today
from triptych.checkpoints.foreign import foreign_folder
from triptych.checkpoints.keymap import of_type
from triptych.checkpoints.names.registry import family
from triptych.checkpoints.skeleton import skeleton
from triptych.checkpoints.tensors import open_tensors
from triptych.checkpoints.types import WeightType, numeric_type
from triptych.checkpoints.wrappers import unwrapped
from triptych.class_table import ClassTable
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import FAMILIES
from triptych.readings.settings import ReadingSettings

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
VERSION = 1
_NAMES_SHOWN = 4


@dataclass(frozen=True)
class ModelConfig:
    """Everything about a checkpoint but its weights.

    Raises:
        TriptychError: the network would be built for another number of classes, or ``regroup``
            does not fit them.
    """

    family: str
    """A name in :data:`triptych.networks.models.registry.FAMILIES`."""
    arguments: Mapping[str, Any]
    """What the family's builder is called with."""
    classes: Classes
    preprocess: Preprocess
    readings: ReadingSettings = field(default_factory=ReadingSettings)
    """How its masks are read unless the caller says otherwise."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """How the weights were trained, which further training follows: ``recipe``, the complete one,
    and ``steps``. Empty where nobody tells."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Free remarks, such as where the weights come from."""
    regroup: ClassTable | None = None
    """The groups of ``classes`` that a segmenter is to have in place of them."""

    def __post_init__(self) -> None:
        if self.arguments.get("classes") != len(self.classes):
            raise TriptychError(
                f"{len(self.classes)} classes are listed, but arguments ask for "
                f"{self.arguments.get('classes')}"
            )
        if self.regroup is not None:
            self.regroup.regroup(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the contents of ``config.json``."""
        data = {
            "format": "triptych",
            "version": VERSION,
            "family": self.family,
            "arguments": dict(self.arguments),
            "classes": self.classes.to_list(),
            "preprocess": self.preprocess.to_dict(),
            "readings": self.readings.to_dict(),
            "training": dict(self.training),
            "notes": dict(self.notes),
        }
        if self.regroup is not None:
            data["regroup"] = self.regroup.to_list()
        return data

    @classmethod
    def from_dict(cls, data: Any) -> ModelConfig:
        """Read what :meth:`to_dict` wrote.

        Raises:
            TriptychError: it is something else, of a newer version, or an entry is wrong.
        """
        if not isinstance(data, dict) or data.get("format") != "triptych":
            raise TriptychError('is not a Triptych config (no "format": "triptych")')
        if data.get("version") != VERSION:
            raise TriptychError(
                f"has version {data.get('version')!r} and this Triptych reads {VERSION}; update it"
            )
        types: dict[str, type] = {
            "family": str,
            "arguments": dict,
            "classes": list,
            "preprocess": dict,
            "readings": dict,
            "training": dict,
            "notes": dict,
            "regroup": list,
        }
        optional = {"readings", "training", "notes", "regroup"}
        if "readings" not in data:  # as Triptych 0.1 wrote it
            types |= {"panoptic": bool, "overlap": float}
            optional |= {"panoptic", "overlap"}
        for name in data.keys() - types.keys() - {"format", "version"}:
            raise TriptychError(f"unknown entry {name!r}; there are {', '.join(types)}")
        for name, kind in types.items():
            if name not in data and name not in optional:
                raise TriptychError(f"entry {name!r} is missing")
            if name in data and not isinstance(data[name], kind):
                raise TriptychError(f"entry {name!r} is not a {kind.__name__}")
        training, notes = _training(data)
        return cls(
            family=data["family"],
            arguments=arguments_of_today(data["arguments"]),
            classes=Classes.from_list(data["classes"]),
            preprocess=Preprocess.from_dict(data["preprocess"]),
            readings=_readings(data),
            training=training,
            notes=notes,
            regroup=ClassTable.from_list(data["regroup"]) if "regroup" in data else None,
        )


def _training(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How it was trained, and the remarks; Triptych 0.1 kept the one among the other."""
    notes = dict(data.get("notes", {}))
    if "training" in data:
        return data["training"], notes
    old = {"recipe": notes.pop("recipe", None), "steps": notes.pop("trained_steps", None)}
    return {name: value for name, value in old.items() if value is not None}, notes


def _readings(data: Mapping[str, Any]) -> ReadingSettings:
    if "readings" in data:
        try:
            return ReadingSettings.from_dict(data["readings"])
        except TriptychError as error:
            raise TriptychError(f"readings: {error}") from error
    usual = family(data["family"]).readings if data["family"] in FAMILIES else ReadingSettings()
    return usual.replace(things_only=data.get("panoptic"), overlap=data.get("overlap"))


def read_json(path: Path) -> Any:
    """Read a file of a checkpoint that describes something.

    Raises:
        TriptychError: it is missing, unreadable or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = foreign_folder(path.parent) if path.name == CONFIG else ""
        raise TriptychError(
            f"{path.parent}: holds no {path.name}"
            + (f"; {hint}" if hint else ", so it is no checkpoint")
        ) from error
    except OSError as error:
        raise TriptychError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise TriptychError(f"{path}: is damaged ({error})") from error


def read_config(folder: Path) -> ModelConfig:
    """Read ``folder/config.json``.

    Raises:
        TriptychError: it is missing, unreadable, or no config of ours.
    """
    path = folder / CONFIG
    data = read_json(path)
    try:
        return ModelConfig.from_dict(data)
    except TriptychError as error:
        raise TriptychError(f"{path}: {error}") from error


def read_folder(
    folder: Path, dtype: WeightType = None, weights: Path | None = None
) -> tuple[nn.Module, ModelConfig]:
    """Build the network of a checkpoint folder, with its weights, on the CPU.

    The network is built without memory for its parameters, which then become the tensors of the
    file; those are mapped into memory and not copied unless their type changes.

    Args:
        folder: holds ``config.json`` and ``model.safetensors``.
        dtype: floating-point type of the weights; float32 by default, whatever the file has.
        weights: the file with the weights, if it is not ``model.safetensors``.

    Raises:
        TriptychError: a file is missing or damaged, or the weights are not those of the network:
            missing and unknown names and differing shapes are told.
    """
    config = read_config(folder)
    model = skeleton(folder / CONFIG, config.family, config.arguments)
    path = weights or folder / WEIGHTS
    if not path.exists():
        raise TriptychError(f"{folder}: holds no {path.name}{_pickles(folder)}")
    if path.is_dir():
        raise TriptychError(f"{path}: cannot be read (it is a folder)")
    own = model.state_dict()
    with open_tensors(path) as opened:
        tensors = unwrapped(path, opened, lambda names: 2 * len(own.keys() & names) > len(names))
        names = {name: name_of_today(name) for name in tensors}
        _check_fit(path, {new: tensors.shape(name) for name, new in names.items()}, model)
        kind = numeric_type(dtype, tensors)
        try:
            state = {
                new: of_type(tensors[name], own[new], kind, new) for name, new in names.items()
            }
        except TriptychError as error:
            raise TriptychError(f"{path}: {error}") from error
    model.load_state_dict(state, assign=True)
    return model.to(kind), config


def write_folder(
    folder: Path,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a checkpoint folder that :func:`read_folder` reads.

    Args:
        folder: made if it is not there; of an older checkpoint in it, both files are replaced.
        config: what to build.
        state: the network's ``state_dict``.
        dtype: floating-point type in the file; as in ``state`` by default. float16 halves it.

    Raises:
        TriptychError: the folder cannot be written, or a weight is not finite (in that type).
    """
    write_weights(folder, state, dtype)
    write_json(folder / CONFIG, config.to_dict())


def write_weights(
    folder: Path, state: Mapping[str, Tensor], dtype: torch.dtype | None = None
) -> None:
    """Write ``folder/model.safetensors``.

    Raises:
        TriptychError: the folder cannot be written, or a weight is not finite (in that type).
    """
    tensors = {}
    for name, tensor in state.items():
        tensors[name] = _cast(tensor.detach().cpu(), dtype).contiguous()
        if not torch.isfinite(tensors[name]).all():
            kind = str(tensors[name].dtype).removeprefix("torch.")
            raise TriptychError(f"cannot save {folder}: {name} holds values not finite in {kind}")
    with atomic_write(folder / WEIGHTS) as path:
        path.touch()
        mode = path.stat().st_mode  # what the user's umask gives; safetensors makes it private
        try:
            save_file(tensors, path, {"format": "pt"})
        except SafetensorError as error:  # how safetensors passes on a full disk
            raise OSError(None, str(error)) from error
        path.chmod(mode)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write what describes a checkpoint.

    Raises:
        TriptychError: the folder cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor


def _check_fit(path: Path, shapes: Mapping[str, tuple[int, ...]], model: nn.Module) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing = [name for name in expected if name not in shapes]
    unknown = [name for name in shapes if name not in expected]
    differing = [
        f"{name} {shapes[name]} for {shape}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    troubles = [
        f"{len(names)} {kind} ({_some(names)})"
        for kind, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape", differing),
        )
        if names
    ]
    if troubles:
        raise TriptychError(f"{path}: does not fit {CONFIG}; weights: {', '.join(troubles)}")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _pickles(folder: Path) -> str:
    """A remark on pickled weights, if that is what the folder holds."""
    found = [
        p.name for p in sorted(folder.iterdir()) if p.suffix in (".bin", ".pt", ".pth", ".pkl")
    ]
    return f"; {found[0]} is not read, since pickled files may hold code" if found else ""
