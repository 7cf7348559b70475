"""The state of a run on disk: everything that the next step depends on, in one file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from triptych.atomic import atomic_write
from triptych.checkpoints.before import name_of_today
from triptych.errors import TriptychError

FORMAT = "triptych-training-1"
_NAME = re.compile(r"step-(\d+)\.safetensors")


@dataclass(frozen=True)
class Position:
    """Where a run stood when the checkpoint was written."""

    step: int
    """Finished optimiser steps."""

    log_bytes: int
    """Length of the log: what stands behind it belongs to steps that will be done again."""

    recipe: str
    """The complete recipe, as YAML."""


class CheckpointFolder:
    """The newest checkpoints of one run.

    A file is written beside and then renamed, so that ``kill -9`` leaves the old ones whole.
    Random state is not kept: each step draws from a generator seeded by the step itself.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def paths(self) -> list[Path]:
        """All checkpoints, newest (of the highest step) first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.stem.split("-")[1]), reverse=True)

    def newest_step(self) -> int | None:
        """The step of the newest checkpoint by its name; None without any."""
        found = self.paths()
        return int(found[0].stem.split("-")[1]) if found else None

    def save(
        self,
        position: Position,
        model: nn.Module,
        average: nn.Module,
        optimiser: torch.optim.Optimizer,
    ) -> Path:
        """Write a checkpoint, then remove all but the newest ``keep``.

        Raises:
            TriptychError: the folder cannot be written; the older checkpoints are still there.
        """
        tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
        tensors |= {f"average/{name}": value for name, value in average.state_dict().items()}
        for name, parameter in _named_parameters(optimiser):
            for part, value in optimiser.state[parameter].items():
                tensors[f"optimiser/{name}/{part}"] = value
        metadata = {
            "format": FORMAT,
            "step": str(position.step),
            "log_bytes": str(position.log_bytes),
            "recipe": position.recipe,
        }
        path = self.folder / f"step-{position.step:08d}.safetensors"
        with atomic_write(path) as temporary:
            try:
                save_file(_separate(tensors), temporary, metadata)
            except SafetensorError as error:  # safetensors wraps the full disk in its own type
                raise OSError(None, str(error)) from error
        for old in self.paths()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def load_newest(
        self,
        model: nn.Module,
        average: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        say: Callable[[str], None],
        check: Callable[[Position], None],
    ) -> Position | None:
        """Restore the newest readable checkpoint in place; None where there is none at all.

        Args:
            model: the trained network.
            average: the network of averaged weights.
            optimiser: over the parameters of ``model``, with ``names`` in its groups.
            say: told of every file that cannot be read.
            check: raises where the position does not fit the run, before anything is changed.

        Raises:
            TriptychError: files are there, but none can be read, or they hold another network.
        """
        paths = self.paths()
        for path in paths:
            try:
                position, tensors = _read(path)
            except (OSError, SafetensorError, KeyError, ValueError) as error:
                say(f"cannot read checkpoint {path} ({error}); trying the one before")
                continue
            check(position)
            _restore(path, tensors, model, average, optimiser)
            return position
        if paths:
            raise TriptychError(
                f"none of the {len(paths)} checkpoints in {self.folder} can be read; "
                "remove them to start afresh"
            )
        return None

    def remove_leftovers(self) -> None:
        """Delete temporary files of a writer that was killed."""
        for path in self.folder.glob(".step-*.tmp.safetensors"):
            path.unlink(missing_ok=True)


def _named_parameters(optimiser: torch.optim.Optimizer) -> list[tuple[str, nn.Parameter]]:
    return [
        pair
        for group in optimiser.param_groups
        for pair in zip(group["names"], group["params"], strict=True)
    ]


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Plain CPU tensors that share no memory, as safetensors wants them."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        pointer = plain.untyped_storage().data_ptr()
        separate[name] = plain.clone() if pointer in seen else plain
        seen.add(pointer)
    return separate


def _read(path: Path) -> tuple[Position, dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError("not a checkpoint of a training run")
        position = Position(int(metadata["step"]), int(metadata["log_bytes"]), metadata["recipe"])
        return position, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _restore(
    path: Path,
    tensors: dict[str, Tensor],
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> None:
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, key = name.split("/", 1)
        parts[part][name_of_today(key)] = tensor
    try:
        model.load_state_dict(parts["model"])
        average.load_state_dict(parts["average"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise TriptychError(
            f"{path} holds another network than the recipe builds ({reason}); use another --out"
        ) from None
    for name, parameter in _named_parameters(optimiser):
        for part in ("step", "exp_avg", "exp_avg_sq"):
            value = parts["optimiser"].get(f"{name}/{part}")
            if value is None:  # a parameter that no loss has reached yet has no state
                continue
            if part != "step":
                # The fused update walks parameter and state in memory order, so the state must
                # be laid out as the parameter is (channels last).
                value = torch.empty_like(parameter).copy_(value)
            optimiser.state[parameter][part] = value.to(parameter.device)
