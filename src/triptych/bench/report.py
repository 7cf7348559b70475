"""A report for people: tables. And for programs: JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

from rich.table import Column, Table

from triptych.bench.measure import BenchReport
from triptych.bench.rounds import Spread

BUSY = 0.5
"""Programs waiting for a processor, beyond our threads, that make times doubtful."""


def as_json(report: BenchReport) -> str:
    """Everything, in seconds and bytes."""
    return json.dumps(dataclasses.asdict(report), indent=1) + "\n"


def tables(report: BenchReport) -> list[Table]:
    """Stages, throughput and comparison, as far as they were measured."""
    found = [_stages(report)]
    if report.throughput:
        found.append(_throughput(report))
    if report.beside:
        found += [_beside(report), _agreements(report)]
    return found


def notes(report: BenchReport) -> list[str]:
    """What one has to know to read the tables."""
    width, height = report.picture
    lines = [
        f"{report.model}: {report.parameters / 1e6:.1f} M parameters, picture {width}x{height}, "
        f"network input {report.entry[0]}x{report.entry[1]}, {report.precision}",
        f"{report.device}, {report.threads} threads, torch {report.torch}; medians of "
        f"{report.rounds} rounds and the middle half of them",
        f"floor: {report.peaks.operations / 1e9:,.0f} G operations/s in a product of matrices, "
        f"{report.peaks.bandwidth / 1e9:,.1f} GB/s in a copy",
    ]
    if report.engine != "eager":
        lines.append(
            f"engine {report.engine}: {report.preparation:.1f} s to make itself ready; operations "
            "are those of eager"
        )
    if report.memory is not None:
        lines.append(f"memory: {_mega(report.memory)} MiB at most beyond the empty process")
    if report.made_up:
        lines.append("random weights: what is read and drawn is a made-up mask set")
    if report.load is not None and report.load > report.threads + BUSY:
        lines.append(
            f"busy machine: {report.load:.1f} programs wanted a processor during the last minute; "
            "do not trust the times"
        )
    return lines


def _stages(report: BenchReport) -> Table:
    grid = _grid("stage", "ms", "middle half", "share", "floor ms", "times floor", "memory MiB")
    for stage in report.stages:
        times = stage.seconds.median / stage.floor if stage.floor else None
        grid.add_row(
            stage.name,
            *_time(stage.seconds),
            f"{stage.seconds.median / report.whole.median:.0%}",
            "–" if stage.floor is None else _milli(stage.floor),
            "–" if times is None else f"{times:.1f}",
            _mega(stage.memory),
        )
    grid.add_section()
    floor = sum(stage.floor or 0.0 for stage in report.stages)
    times = report.whole.median / floor
    grid.add_row("all", *_time(report.whole), "", _milli(floor), f"{times:.1f}", "")
    return grid


def _throughput(report: BenchReport) -> Table:
    grid = _grid("pictures together", "ms", "middle half", "pictures/s", "memory MiB")
    for one in report.throughput:
        grid.add_row(str(one.batch), *_time(one.seconds), f"{one.rate:.2f}", _mega(one.memory))
    return grid


def _beside(report: BenchReport) -> Table:
    grid = _grid(
        "same work",
        "ms",
        f"{report.against} ms",
        "times as long",
        "middle half",
        "memory MiB",
        f"{report.against} MiB",
    )
    for one in report.beside:
        ratio = one.ratio
        grid.add_row(
            one.name,
            _milli(one.ours.median),
            _milli(one.theirs.median),
            f"{ratio.median:.2f}",
            f"{ratio.low:.2f} to {ratio.high:.2f}",
            _mega(one.our_memory),
            _mega(one.their_memory),
        )
    return grid


def _agreements(report: BenchReport) -> Table:
    grid = _grid("agreement", "", "needed", "")
    for one in report.agreements:
        share = one.kind == "share"
        needed = "" if one.limit is None else f"{one.limit:.1%}" if share else f"{one.limit:.0e}"
        verdict = "" if one.limit is None else "yes" if one.holds else "NO"
        grid.add_row(one.what, f"{one.value:.3%}" if share else f"{one.value:.1e}", needed, verdict)
    return grid


def _grid(first: str, *others: str) -> Table:
    grid = Table(Column(first, no_wrap=True))
    for title in others:
        grid.add_column(title, justify="right")
    return grid


def _time(seconds: Spread) -> Iterable[str]:
    return _milli(seconds.median), f"{_milli(seconds.low)} to {_milli(seconds.high)}"


def _milli(seconds: float) -> str:
    """Three figures, or more where the number is long."""
    value = 1000 * seconds
    return f"{value:.{max(0, 2 if value < 1 else 1 if value < 100 else 0)}f}"


def _mega(size: int | None) -> str:
    return "–" if size is None else f"{size / 2**20:,.0f}"
