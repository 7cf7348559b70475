"""One process or several: joining them under ``torchrun``, and leaving without an abort."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from triptych.errors import TriptychError


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from one of them."""

    device: torch.device
    """Where this process computes."""

    rank: int = 0
    """Number of this process."""

    world: int = 1
    """Number of processes."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean of ``values`` (any shape) over the processes."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.world
        return values

    def mean_number(self, value: float) -> float:
        """The mean of a number over the processes."""
        if self.world == 1:
            return float(value)
        shared = torch.tensor(float(value), dtype=torch.float32, device=self.device)
        return float(self.mean(shared))

    def highest(self, value: int) -> int:
        """The highest ``value`` of any process: all get the same answer at the same step."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, dtype=torch.long, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared)


def choose_device(name: str) -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device.

    Raises:
        TriptychError: "cuda" is asked for and torch sees no GPU.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise TriptychError("optimisation.device is cuda, but torch sees no GPU; use auto or cpu")
    if name == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` started (its environment tells); alone otherwise.

    The caller must drop the model, above all its DDP wrapper, before the block ends.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ProcessGroup(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Others wait in a collective while the main process evaluates, which may take long.
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(hours=2))
    yield ProcessGroup(device, dist.get_rank(), world)
    # Gloo aborts at exit unless the model is gone first and no process is still talking. After an
    # error there is no farewell: the others may never come to it.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()
