"""One forward pass with its losses: the part of training that runs on the device."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.contract import Prediction
from triptych.networks.decoders.annealing import MaskAnnealing
from triptych.train.recompute import recompute_activations

T = TypeVar("T")


class Criterion(Protocol):
    """Losses of a prediction: weighted scalars by name, whose sum is minimised."""

    def __call__(
        self,
        prediction: Prediction,
        targets: list[Any],
        mean_over_processes: Callable[[float], float] = float,
    ) -> dict[str, Tensor]:
        """Compute the losses; counts to divide by go through ``mean_over_processes``."""
        ...


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """Type of the network's arithmetic: bf16, or None for plain fp32.

    Args:
        precision: "auto" takes bf16 where the device computes it natively.
        device: where the network runs.
    """
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else None


class LossModule(nn.Module):
    """Network and losses as one module.

    DDP wraps this and not the network alone, so that it sees which parameters the losses of this
    batch reached: without an object in it, a batch may leave the mask branch untouched.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        autocast: torch.dtype | None,
        checkpointing: bool = False,
        mean_over_processes: Callable[[float], float] = float,
    ) -> None:
        super().__init__()
        if checkpointing and not recompute_activations(model):
            raise TriptychError(
                f"optimisation.checkpointing: {type(model).__name__} has no transformer blocks; "
                "leave it out"
            )
        self.model = model
        self.criterion = criterion
        self.autocast = autocast
        self.mean_over_processes = mean_over_processes
        # Not persistent: preprocessing is written into checkpoints as settings, not as weights.
        for name, values in (("mean", mean), ("std", std)):
            value = torch.tensor(values, dtype=torch.float32, device="cpu").view(1, 3, 1, 1) * 255
            self.register_buffer(name, value, persistent=False)

    def forward(self, pixels: Tensor, targets: list[Any]) -> dict[str, Tensor]:
        """Losses by name for ``pixels`` ``(B, 3, H, W)`` uint8 and one target per image.

        Raises:
            TriptychError: ``H`` or ``W`` is no multiple of the model's ``size_divisor``, or the
                matching is not finite.
        """
        height, width = pixels.shape[-2:]
        divisor = int(self.model.size_divisor)  # type: ignore[arg-type]
        if height % divisor or width % divisor:
            raise TriptychError(
                f"training crops are {width} x {height}, but the network needs multiples of "
                f"{divisor}; change the crop in data.arguments"
            )
        inputs = (pixels.float() - self.mean) / self.std
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(pixels.device.type, self.autocast, self.autocast is not None):
            prediction = self.model(inputs)
        # Matching costs and losses, which are computed in fp32, sum over thousands of points, more
        # than bf16 can count.
        with torch.autocast(pixels.device.type, enabled=False):
            return self.criterion(prediction, targets, self.mean_over_processes)


def to_device(record: T, device: torch.device) -> T:
    """A dataclass with every tensor in it moved to ``device``."""
    moved = {
        field.name: value.to(device, non_blocking=True)
        for field in dataclasses.fields(record)  # type: ignore[arg-type]
        if isinstance(value := getattr(record, field.name), Tensor)
    }
    return dataclasses.replace(record, **moved)  # type: ignore[type-var]


def prepare_mode(model: nn.Module, freeze_norm: bool) -> None:
    """Put ``model`` into training mode, except for the backbone's batch norms if frozen."""
    model.train()
    if freeze_norm:
        for module in getattr(model, "backbone", model).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def reach_step(model: nn.Module, step: int) -> None:
    """Tell the parts of ``model`` that change as training goes on which step is being done.

    Args:
        model: the network.
        step: optimiser step, from 1 on.
    """
    for module in model.modules():
        if isinstance(module, MaskAnnealing):
            module.set_step(step)


def check_finite(
    terms: Mapping[str, Tensor], total: Tensor, *, step: int, names: Sequence[str]
) -> None:
    """Stop a run whose loss or gradient is no number any more.

    Raises:
        TriptychError: naming the step, the terms that are not finite and the images.
    """
    if torch.isfinite(total):
        return
    values = {name: float(term.detach()) for name, term in terms.items()}
    bad = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
    what = ", ".join(bad) or f"the sum of the losses = {float(total.detach())}"
    raise TriptychError(
        f"step {step}: not finite: {what}, "
        f"on images {', '.join(names)}; lower the learning rate, clip the gradient, "
        "or look at these images"
    )
