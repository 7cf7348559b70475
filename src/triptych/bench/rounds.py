"""Pieces of work timed in turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Spread:
    """Where the middle half of some values lies."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """At least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


def now(device: torch.device) -> float:
    """Seconds on a steady clock, once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def in_turns(
    works: Mapping[str, Callable[[], Any]], rounds: Iterable[int], device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each piece of work in every round, after one round to warm up.

    Every second round goes through them backwards: what comes after something that is bad for it
    (a full cache, a hot processor) comes before it the next time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for work in works.values():
        work()
    for index in rounds:
        for name in names if index % 2 == 0 else reversed(names):
            began = now(device)
            result = works[name]()
            seconds[name].append(now(device) - began)
            del result  # freed here, not within the time of the next one
    return seconds
