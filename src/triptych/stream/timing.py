"""How long the stages take, and how many frames a second come out."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict, deque

REMEMBERED = 120
"""Values per stage, of which the median is told."""

SPAN = 5.0
"""Seconds over which a rate is measured."""

MAX_TICKS = 2048


class Stopwatch:
    """Rolling medians of durations, and a rolling rate. For use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._ticks: deque[float] = deque(maxlen=MAX_TICKS)

    def add(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        with self._lock:
            self._stages[stage].append(seconds)

    def tick(self) -> None:
        """Note that a frame is through."""
        with self._lock:
            self._ticks.append(time.monotonic())

    def medians(self) -> dict[str, float]:
        """The median seconds of each stage over its newest :data:`REMEMBERED` values."""
        with self._lock:
            return {stage: statistics.median(values) for stage, values in self._stages.items()}

    def rate(self) -> float:
        """Frames a second over the newest :data:`SPAN` seconds, or the newest two frames."""
        now = time.monotonic()
        with self._lock:
            ticks = list(self._ticks)
        if len(ticks) < 2:
            return 0.0
        recent = [tick for tick in ticks if tick > now - SPAN]
        if len(recent) < 2:
            recent = ticks[-2:]
        span = recent[-1] - recent[0]
        # A stream that has stopped slows down: the next frame is awaited for longer than usual.
        overdue = max(now - recent[-1] - span / (len(recent) - 1), 0.0)
        return (len(recent) - 1) / max(span + overdue, 1e-9)
