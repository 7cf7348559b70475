"""``triptych bench``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from triptych.commands.console import one_line
from triptych.commands.progress import shown
from triptych.commands.sizes import parse_size
from triptych.engines.registry import EngineChoice, PrecisionChoice, PrecisionName


@dataclass(frozen=True)
class Bench:
    """Measure time and memory: stage by stage, by batch size, and beside transformers.

    The exit code is 1 if the answers differ from those of transformers, or of the engine eager.
    """

    model: str | None = None
    """A bundled checkpoint, a folder, or OWNER/MODEL on the hub. By default street."""

    random: str | None = None
    """Random weights instead: a family, such as mask2former, or a config.json or its folder."""

    backbone: str | None = None
    """With --random: the backbone, such as swin_tiny."""

    override: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """With --random: another argument of the family, such as queries=200. May be repeated."""

    image: Path | None = None
    """A picture. By default one is made up."""

    size: str | None = None
    """WIDTHxHEIGHT to bring the picture to; by default as it is, and 640x360 if made up."""

    input: str | None = None
    """WIDTHxHEIGHT of the network's input. By default as the checkpoint prepares its pictures;
    with --random of a family, the picture's own size."""

    batch: tuple[int, ...] = ()
    """Numbers of pictures to find the throughput of, such as 1 2 4."""

    rounds: int = 10
    """How often everything is timed, in turns, after once to warm up."""

    threads: int | None = None
    """Threads on the CPU. By default as torch chooses."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1 ..."""

    engine: EngineChoice = "auto"
    """What runs the network; see docs/engines.md. auto is eager, or what the folder was
    exported for. Others are timed beside eager, in the same rounds."""

    precision: PrecisionChoice = "auto"
    """Arithmetic of the network. auto is fp32, or what the folder was exported with."""

    against: Literal["none", "transformers"] = "none"
    """Run the same weights and input there too, in the same rounds, in place of eager."""

    against_precision: PrecisionName = "fp32"
    """Arithmetic of the network there, or in eager."""

    json: Path | None = None
    """Write everything to this file as well, in seconds and bytes."""

    plot: Path | None = None
    """Draw it: an SVG file."""

    def run(self) -> int:
        """Measure, print tables, write files."""
        import torch
        from rich.console import Console

        from triptych.atomic import atomic_write
        from triptych.bench.beside import Theirs, theirs_of
        from triptych.bench.engines import BesideEager
        from triptych.bench.measure import first_walk, measure
        from triptych.bench.memory import reset_peak, resident
        from triptych.bench.plot import draw
        from triptych.bench.report import as_json, notes, tables
        from triptych.bench.subject import load_network, prepared
        from triptych.errors import TriptychError
        from triptych.segmenter import find_precision

        size = None if self.size is None else parse_size("--size", self.size)
        entry = None if self.input is None else parse_size("--input", self.input)
        if self.threads is not None:
            if self.threads < 1:
                raise TriptychError(f"--threads is {self.threads}; give a whole number above 0")
            torch.set_num_threads(self.threads)
        start = resident() if reset_peak() else None
        overrides = [*([f"backbone={self.backbone}"] if self.backbone else []), *self.override]
        segmenter = load_network(
            self.model, self.random, overrides, self.device, entry, self.engine, self.precision
        )
        there = find_precision(self.against_precision)
        with contextlib.ExitStack() as stack:
            subject = stack.enter_context(
                prepared(segmenter, self.image, size, made_up=self.random is not None)
            )
            memory = first_walk(subject, start)
            theirs: Theirs | BesideEager | None = None
            if self.against == "transformers":
                theirs = stack.enter_context(theirs_of(segmenter, there))
            elif segmenter.engine.name != "eager":
                theirs = BesideEager(subject, there)
            report = measure(
                subject,
                theirs,
                rounds=self.rounds,
                batches=self.batch,
                memory=memory,
                counted=_counted,
            )
        if self.json is not None:
            with atomic_write(self.json) as path:
                path.write_text(as_json(report), encoding="utf-8")
        if self.plot is not None:
            with atomic_write(self.plot) as path:
                path.write_text(draw(report), encoding="utf-8")
        console = Console()
        for table in tables(report):
            console.print(table)
        for note in notes(report):
            print(one_line(note))
        if not report.agrees:
            print(f"the answers differ from those of {report.against}: see the table of agreement")
        return 0 if report.agrees else 1


def _counted(rounds: int) -> Iterable[int]:
    return shown(range(rounds), rounds, "rounds")
