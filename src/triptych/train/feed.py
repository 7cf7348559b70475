"""Which samples each step sees, on which process, and in which random state."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from triptych.errors import TriptychError


class StepIndices(Sampler[list[int]]):
    """Indices of the samples of each step, counted on without end over the run.

    Step ``s`` of batch size ``n`` takes the samples ``s * n`` to ``s * n + n - 1``. The processes
    part these among them, and each computes its share in ``accumulate`` lists. So the samples of
    a step depend neither on the number of processes nor on where the run was resumed.
    """

    def __init__(
        self,
        batch_size: int,
        accumulate: int,
        steps: range,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size % (world * accumulate):
            raise TriptychError(
                f"optimisation.batch_size is {batch_size}, which does not part into {world} "
                f"processes x {accumulate} (accumulate); choose a multiple of {world * accumulate}"
            )
        self.batch_size, self.accumulate, self.steps = batch_size, accumulate, steps
        self.first = rank * (batch_size // world)
        self.part = batch_size // (world * accumulate)

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for part in range(self.accumulate):
                start = step * self.batch_size + self.first + part * self.part
                yield list(range(start, start + self.part))


def seed_step(seed: int, step: int, part: int, rank: int) -> None:
    """Seed torch for one part of a step on one process.

    No random state survives a step, hence none has to be saved: a resumed run draws what the
    uninterrupted one would have drawn.
    """
    words = np.random.SeedSequence((seed, step, part, rank)).generate_state(2)
    torch.manual_seed(int(words[0]) << 31 ^ int(words[1]))


def make_loader(
    dataset: Dataset[Any],
    indices: StepIndices,
    collate: Callable[[list[Any]], Any],
    *,
    workers: int,
    prefetch: int,
    pin: bool,
) -> DataLoader[Any]:
    """Load the lists of ``indices``, in their order, with any number of workers.

    Take batches from it by :func:`batches`.
    """
    return DataLoader(
        _Guarded(dataset),
        batch_sampler=indices,
        collate_fn=functools.partial(_collate, collate),
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=_ignore_signals if workers else None,
        pin_memory=pin,
    )


def batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """Batches of a loader from :func:`make_loader`.

    Raises:
        TriptychError: a sample cannot be made; the message is the data set's own.
    """
    for batch in loader:
        if isinstance(batch, TriptychError):
            raise batch
        yield batch


class _Guarded(Dataset[Any]):
    """Hands a user's error on as a value.

    An error raised in a worker process would arrive with a page of traceback as its message.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except TriptychError as error:
            return error


def _collate(collate: Callable[[list[Any]], Any], samples: list[Any]) -> Any:
    errors = [sample for sample in samples if isinstance(sample, TriptychError)]
    return errors[0] if errors else collate(samples)


def _ignore_signals(worker: int) -> None:
    """Leave Ctrl-C to the training process, which still needs the samples of its last step.

    A worker ends when its loader does, or by itself when the training process is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
