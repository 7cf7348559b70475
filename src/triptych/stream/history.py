"""Figures over time in bounded memory, and as CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

BUCKET_SECONDS = 1.0
"""Resolution of the rolling window, and of the whole run at first."""

MAX_BUCKETS = 1024
"""Of the whole run: when there are more, neighbours merge and each covers twice the time."""


@dataclass(frozen=True)
class FrameFigures:
    """The figures of one frame."""

    time: float
    """Seconds since 1970."""
    levels: Mapping[str, float]
    """What there is: ``count.car``, ``share.road``, ``zone.NAME.inside.car``."""
    events: Mapping[str, int]
    """What happened: ``entered.car``, ``left.car``, ``line.NAME.forward.car``,
    ``zone.NAME.entered.car``; only what did."""


@dataclass
class Bucket:
    """The figures of all frames in a span of time."""

    start: float
    """Seconds since 1970."""
    seconds: float
    """Length of the span."""
    frames: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    """Of each level, its sum over the frames that had it."""
    seen: Counter[str] = field(default_factory=Counter)
    """Of each level, the frames that had it."""
    peaks: dict[str, float] = field(default_factory=dict)
    """Of each level, the highest value."""
    events: Counter[str] = field(default_factory=Counter)
    """How often each thing happened."""

    @property
    def levels(self) -> dict[str, float]:
        """Of each level, the mean."""
        return {key: total / self.seen[key] for key, total in self.sums.items()}

    def add(self, sample: FrameFigures) -> None:
        """Take in one frame."""
        self.frames += 1
        for key, value in sample.levels.items():
            self._take(key, value, 1, value)
        self.events.update(sample.events)

    def merge(self, other: Bucket) -> None:
        """Take in all frames of another bucket."""
        self.frames += other.frames
        for key, total in other.sums.items():
            self._take(key, total, other.seen[key], other.peaks[key])
        self.events.update(other.events)

    def _take(self, key: str, total: float, count: int, peak: float) -> None:
        self.sums[key] = self.sums.get(key, 0.0) + total
        self.seen[key] += count
        self.peaks[key] = max(self.peaks.get(key, peak), peak)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "time": _iso(self.start),
            "seconds": self.seconds,
            "frames": self.frames,
            "mean": {key: round(value, 6) for key, value in self.levels.items()},
            "peak": {key: round(value, 6) for key, value in self.peaks.items()},
            "events": dict(self.events),
        }


class History:
    """The figures of one source: a rolling window, second by second, and the whole run.

    Memory does not grow with time: the window forgets, and the whole run is told in at most
    :data:`MAX_BUCKETS` buckets of equal length.

    Args:
        window: seconds of the rolling window.
    """

    def __init__(self, window: float = 600.0) -> None:
        self._window = window
        self._lock = threading.Lock()
        self._rolling: deque[Bucket] = deque(maxlen=round(window / BUCKET_SECONDS))
        self._whole: list[Bucket] = []
        self._length = BUCKET_SECONDS
        self._newest: tuple[int, FrameFigures] | None = None

    def add(self, index: int, sample: FrameFigures) -> None:
        """Note the figures of a frame.

        Args:
            index: its number; the same number again replaces what was noted of it, for the frame
                was read again.
            sample: its figures.
        """
        with self._lock:
            if self._newest is not None and self._newest[0] != index:
                self._settle(self._newest[1])
            self._newest = index, sample

    def _settle(self, sample: FrameFigures) -> None:
        """Put a sample where it stays."""
        for buckets, seconds in ((self._rolling, BUCKET_SECONDS), (self._whole, self._length)):
            start = sample.time // seconds * seconds
            # A clock that was set back must not bring the buckets out of order.
            if not buckets or start > buckets[-1].start:
                buckets.append(Bucket(start, seconds))
            buckets[-1].add(sample)
        while len(self._whole) > MAX_BUCKETS:
            self._length *= 2
            self._whole = _coarser(self._whole, self._length)

    def rolling(self) -> list[Bucket]:
        """The last ``window`` seconds, oldest first; not to be modified.

        Seconds without a frame have no bucket.
        """
        with self._lock:
            buckets = self._with_newest(self._rolling, BUCKET_SECONDS)
            oldest = buckets[-1].start - self._window if buckets else 0.0
            return [bucket for bucket in buckets if bucket.start > oldest]

    def whole(self) -> list[Bucket]:
        """Everything since the start, oldest first, as :meth:`rolling` but coarser with time."""
        with self._lock:
            return self._with_newest(self._whole, self._length)

    def _with_newest(self, buckets: Sequence[Bucket], seconds: float) -> list[Bucket]:
        """The buckets and the sample that may still be replaced; those given stay as they are."""
        found = list(buckets)
        if self._newest is not None:
            sample = self._newest[1]
            start = sample.time // seconds * seconds
            last = Bucket(start, seconds)
            if found and start <= found[-1].start:
                last = Bucket(found[-1].start, seconds)
                last.merge(found.pop())
            last.add(sample)
            found.append(last)
        return found


def _coarser(buckets: Sequence[Bucket], seconds: float) -> list[Bucket]:
    """The same frames in buckets of ``seconds``, a multiple of what they are in."""
    found: list[Bucket] = []
    for bucket in buckets:
        start = bucket.start // seconds * seconds
        if not found or start > found[-1].start:
            found.append(Bucket(start, seconds))
        found[-1].merge(bucket)
    return found


def write_csv(buckets: Iterable[Bucket], file: TextIO) -> None:
    """Write a header and a row for every bucket.

    Columns: ``time`` (ISO 8601, UTC), ``seconds``, ``frames``, every level as ``mean.KEY`` and
    ``peak.KEY`` (empty where no frame had it), every event as ``events.KEY``.
    """
    rows = list(buckets)
    levels = sorted({key for bucket in rows for key in bucket.sums})
    events = sorted({key for bucket in rows for key in bucket.events})
    names = [f"{kind}.{key}" for kind in ("mean", "peak") for key in levels]
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["time", "seconds", "frames", *names, *(f"events.{key}" for key in events)])
    for bucket in rows:
        means = bucket.levels
        table.writerow(
            [
                _iso(bucket.start),
                f"{bucket.seconds:g}",
                bucket.frames,
                *(_figure(values.get(key)) for values in (means, bucket.peaks) for key in levels),
                *(bucket.events[key] for key in events),
            ]
        )


def write_json_lines(buckets: Iterable[Bucket], file: TextIO) -> None:
    """Write :meth:`Bucket.to_dict` of every bucket, one a line."""
    for bucket in buckets:
        file.write(json.dumps(bucket.to_dict(), allow_nan=False) + "\n")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
