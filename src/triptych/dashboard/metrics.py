"""The figures of all sources for Prometheus: ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values of the labels, and the figure."""


def exposition(status: Mapping[str, Any]) -> bytes:
    """:meth:`triptych.dashboard.figures.Figures.status` in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Status(status))
    return generate_latest(registry)


class _Status(Collector):
    """What was measured at one moment."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self.status = status

    def collect(self) -> Iterator[Metric]:
        status = self.status
        closed = {"refused": status["clients_refused"], "let_go": status["clients_let_go"]}
        yield _gauge("uptime_seconds", "Since the start.", [((), status["uptime"])])
        yield _gauge("pages", "Pages that are open.", [((), status["clients"])])
        yield _counter(
            "pages_closed",
            "Pages turned away (too many), or let go (reading too slowly).",
            _keyed(closed),
            "reason",
        )
        yield _gauge(
            "waiting", "Frames, results and messages that wait.", _keyed(status["waiting"]), "what"
        )
        yield from _of_sources(status["sources"])


def _of_sources(sources: list[dict[str, Any]]) -> Iterator[Metric]:
    def each(key: str) -> Samples:
        return [((s["name"],), s[key]) for s in sources]

    def within(table: str) -> Samples:
        return [((s["name"], key), v) for s in sources for key, v in (s[table] or {}).items()]

    def counted(key: str) -> Samples:
        return [
            ((s["name"], label), value)
            for s in sources
            if s["counts"]
            for label, value in s["counts"][key].items()
        ]

    def passed(kind: str, *ways: str) -> Samples:
        return [
            ((s["name"], name, way, label), value)
            for s in sources
            if s["counts"]
            for name, shape in s["counts"][kind].items()
            for way in ways
            for label, value in shape[way].items()
        ]

    running = [((s["name"],), int(s["phase"] == "running")) for s in sources]
    of, line, zone = ("source",), ("source", "line", "way", "class"), ("source", "zone")
    yield _gauge("up", "Whether frames come.", running, *of)
    yield _counter("frames", "Frames that came in.", each("frames"), *of)
    yield _counter("results", "Frames that came through.", each("results"), *of)
    yield _counter("frames_dropped", "Frames dropped.", within("dropped"), *of, "reason")
    yield _counter("connections", "Connections made.", each("connections"), *of)
    yield _gauge("frame_rate", "Frames a second that come through.", each("rate"), *of)
    yield _gauge("stage_seconds", "Median time.", within("timings"), *of, "stage")
    yield _gauge("objects", "Objects in sight.", counted("now"), *of, "class")
    yield _counter(
        "objects_entered", "Objects that came into sight.", counted("entered"), *of, "class"
    )
    yield _counter("objects_left", "Objects that went.", counted("left"), *of, "class")
    yield _gauge("area_ratio", "Share of the picture.", counted("share"), *of, "class")
    crossings = passed("lines", "forward", "backward")
    yield _counter("line_crossings", "Objects that crossed a line.", crossings, *line)
    inside = passed("zones", "inside")
    yield _gauge("zone_objects", "Objects inside a zone.", inside, *zone, "way", "class")
    passages = passed("zones", "entered", "left")
    text = "Objects in and out of a zone."
    yield _counter("zone_passages", text, passages, *zone, "way", "class")


def _keyed(table: Mapping[str, float]) -> Samples:
    return [((key,), value) for key, value in table.items()]


def _gauge(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"triptych_{name}", text, labels=labels)
    for values, figure in samples:
        family.add_metric(values, figure)
    return family


def _counter(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    family = CounterMetricFamily(f"triptych_{name}", text, labels=labels)
    for values, figure in samples:
        family.add_metric(values, figure)
    return family
