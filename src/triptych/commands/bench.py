"""``triptych bench``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from triptych.cli import one_line
from triptych.commands.progress import shown


@dataclass(frozen=True)
class Bench:
    """Measure time and memory: stage by stage, by batch size, and beside transformers.

    The exit code is 1 if the answers differ from those of transformers.
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

    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network."""

    against: Literal["none", "transformers"] = "none"
    """Run the same weights and input there too, in the same rounds."""

    against_precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network there."""

    json: Path | None = None
    """Write everything to this file as well, in seconds and bytes."""

    plot: Path | None = None
    """Draw it: an SVG file."""

    def run(self) -> int:
        """Measure, print tables, write files."""
        import torch
        from rich.console import Console

        from triptych.bench.beside import theirs_of
        from triptych.bench.measure import first_walk, measure
        from triptych.bench.memory import reset_peak, resident
        from triptych.bench.plot import draw
        from triptych.bench.report import as_json, notes, tables
        from triptych.bench.subject import load_network, prepared
        from triptych.errors import TriptychError
        from triptych.files import atomic_write

        size, entry = (_size("--size", self.size), _size("--input", self.input))
        if self.threads is not None:
            if self.threads < 1:
                raise TriptychError(f"--threads is {self.threads}; give a whole number above 0")
            torch.set_num_threads(self.threads)
        types = {"fp32": None, "bf16": torch.bfloat16}
        start = resident() if reset_peak() else None
        overrides = [*([f"backbone={self.backbone}"] if self.backbone else []), *self.override]
        segmenter = load_network(self.model, self.random, overrides, self.device, entry)
        segmenter.autocast = types[self.precision]
        with contextlib.ExitStack() as stack:
            subject = stack.enter_context(
                prepared(segmenter, self.image, size, made_up=self.random is not None)
            )
            memory = first_walk(subject, start)
            theirs = None
            if self.against == "transformers":
                theirs = stack.enter_context(theirs_of(segmenter, types[self.against_precision]))
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
            print("the answers differ from those of transformers: see the table of agreement")
        return 0 if report.agrees else 1


def _counted(rounds: int) -> Iterable[int]:
    return shown(range(rounds), rounds, "rounds")


def _size(option: str, text: str | None) -> tuple[int, int] | None:
    """``640x360`` to width and height."""
    from triptych.errors import TriptychError

    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise TriptychError(f"{option} is {text!r}; give WIDTHxHEIGHT, such as 640x360")
    return int(found[1]), int(found[2])
