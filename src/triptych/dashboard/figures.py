"""The figures of all sources, for pages, for the API and for Prometheus."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator
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

    def prometheus(self) -> str:
        """The same in Prometheus' text format, version 0.0.4."""
        return "".join(f"{line}\n" for line in _exposition(self.status()))


def _exposition(status: dict[str, Any]) -> Iterator[str]:
    yield from _family("uptime_seconds", "gauge", "Since the start.", [({}, status["uptime"])])
    yield from _family("pages", "gauge", "Pages that are open.", [({}, status["clients"])])
    turned = {"refused": status["clients_refused"], "let_go": status["clients_let_go"]}
    yield from _family(
        "pages_closed_total",
        "counter",
        "Pages turned away (too many), or let go (reading too slowly).",
        [({"reason": reason}, count) for reason, count in turned.items()],
    )
    waiting: list[_Sample] = [({"what": what}, n) for what, n in status["waiting"].items()]
    yield from _family("waiting", "gauge", "Frames, results and messages that wait.", waiting)
    for name, kind, help_text, samples in _families(status["sources"]):
        yield from _family(name, kind, help_text, samples)


_Sample = tuple[dict[str, str], float]


def _families(sources: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    def each(value: Any) -> list[_Sample]:
        return [({"source": s["name"]}, value(s)) for s in sources]

    def within(label: str, table: Any) -> list[_Sample]:
        return [
            ({"source": s["name"], label: key}, value)
            for s in sources
            for key, value in (table(s) or {}).items()
        ]

    def counted(key: str) -> list[_Sample]:
        return within("class", lambda s: s["counts"] and s["counts"][key])

    def passed(kind: str, *ways: str) -> list[_Sample]:
        return [
            ({"source": s["name"], kind[:-1]: name, "way": way, "class": label}, value)
            for s in sources
            if s["counts"]
            for name, shape in s["counts"][kind].items()
            for way in ways
            for label, value in shape[way].items()
        ]

    dropped = within("reason", lambda s: s["dropped"])
    crossings = passed("lines", "forward", "backward")
    yield "up", "gauge", "Whether frames come.", each(lambda s: int(s["phase"] == "running"))
    yield "frames_total", "counter", "Frames that came in.", each(lambda s: s["frames"])
    yield "results_total", "counter", "Frames that came through.", each(lambda s: s["results"])
    yield "frames_dropped_total", "counter", "Frames dropped.", dropped
    yield "connections_total", "counter", "Connections made.", each(lambda s: s["connections"])
    yield "frame_rate", "gauge", "Frames a second that come through.", each(lambda s: s["rate"])
    yield "stage_seconds", "gauge", "Median time.", within("stage", lambda s: s["timings"])
    yield "objects", "gauge", "Objects in sight.", counted("now")
    yield "objects_entered_total", "counter", "Objects that came into sight.", counted("entered")
    yield "objects_left_total", "counter", "Objects that went.", counted("left")
    yield "area_ratio", "gauge", "Share of the picture.", counted("share")
    yield "line_crossings_total", "counter", "Objects that crossed a line.", crossings
    yield "zone_objects", "gauge", "Objects inside a zone.", passed("zones", "inside")
    passages = passed("zones", "entered", "left")
    yield "zone_passages_total", "counter", "Objects in and out of a zone.", passages


def _family(name: str, kind: str, help_text: str, samples: list[_Sample]) -> Iterator[str]:
    yield f"# HELP triptych_{name} {help_text}"
    yield f"# TYPE triptych_{name} {kind}"
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"triptych_{name}{f'{{{inside}}}' if inside else ''} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
