"""The figures of all sources, for pages and for the API."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from typing import Any

from triptych.dashboard.live import Live
from triptych.dashboard.recorder import Recorder
from triptych.stream.pipeline import Pipeline

SPAN = 5.0
"""Seconds over which the rate of incoming frames is measured."""


class Figures:
    """Gathers figures from all parts."""

    def __init__(self, live: Live, recorder: Recorder) -> None:
        self.live = live
        self.recorder = recorder
        self.began = time.monotonic()
        self.layout_revisions: dict[str, int] = {}
        """Of each source, a number that rises when its lines and zones change."""
        self.groups_revision = 0
        """Rises when the classes change."""
        self._arrivals: dict[str, deque[tuple[float, int]]] = {}

    @property
    def pipeline(self) -> Pipeline:
        """Where they come from."""
        return self.live.pipeline

    def status(self) -> dict[str, Any]:
        """Everything that changes from second to second, as plain data."""
        sources = [self.source(name) for name in self.pipeline.names]
        return {
            "type": "status",
            "time": round(time.time(), 3),
            "uptime": round(time.monotonic() - self.began, 1),
            "clients": len(self.live.hub.pages),
            "clients_refused": self.live.hub.refused,
            "clients_let_go": self.live.hub.let_go,
            "waiting": {
                "frames": sum(source["waiting"] for source in sources),
                "results": self.pipeline.waiting,
                "messages": self.live.hub.waiting,
            },
            "readings": self.pipeline.readings.thresholds(),
            "groups_revision": self.groups_revision,
            "sources": sources,
        }

    def source(self, name: str) -> dict[str, Any]:
        """The figures of one source.

        Raises:
            TriptychError: there is none of that name.
        """
        health = self.pipeline.health(name)
        status = health.status
        latest = self.pipeline.latest(name)
        ours = self.live.watches[name].medians()
        delay = ours.pop("delay", health.stages.get("latency"))
        recording = self.recorder.state(name)
        problem = recording["problem"] if recording else ""
        return {
            "name": name,
            "phase": status.phase.value,
            "message": status.message or health.problem or (problem and f"recording: {problem}"),
            "since": round(time.monotonic() - status.since, 1),
            "time": None if latest is None else round(latest.time, 3),
            "film": self.pipeline.is_film(name),
            "paused": self.pipeline.is_paused(name),
            "size": status.size,
            "frames": status.frames,
            "results": health.results,
            "connections": status.connections,
            "waiting": status.waiting,
            "rate": round(health.fps, 2),
            "incoming": round(self._incoming(name, status.frames), 2),
            "delay": None if delay is None else round(delay, 4),
            "timings": {
                stage: round(seconds, 5)
                for stage, seconds in {**health.stages, **ours}.items()
                if stage != "latency"
            },
            "dropped": dict(status.dropped),
            "counts": None if latest is None else dataclasses.asdict(latest.counts),
            "layout_revision": self.layout_revisions.get(name, 0),
            "recording": recording,
        }

    def _incoming(self, name: str, frames: int) -> float:
        """Frames a second that came in, lately."""
        now = time.monotonic()
        marks = self._arrivals.setdefault(name, deque(maxlen=64))
        if not marks or now - marks[-1][0] > 0.2:
            marks.append((now, frames))
        while len(marks) > 2 and now - marks[1][0] > SPAN:
            marks.popleft()
        if now - marks[0][0] < 0.5:
            return 0.0
        return (frames - marks[0][1]) / (now - marks[0][0])

    def forget(self, name: str) -> None:
        """A source is gone."""
        self.layout_revisions.pop(name, None)
        self._arrivals.pop(name, None)
        self.live.watches.pop(name, None)
