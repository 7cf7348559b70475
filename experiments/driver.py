"""What the experiments share: options, runs that can be interrupted, results, intervals."""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from triptych.atomic import atomic_write
from triptych.errors import TriptychError
from triptych.train.runs import train_recipe
from triptych.train.stages import is_finished

HERE = Path(__file__).resolve().parent
RECIPES, RESULTS = HERE / "recipes", HERE / "results"

Figures = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """Variants times seeds, and the file that keeps what each gave.

    A run that is in the file is not done again; one that was cut off goes on from its checkpoint.
    """

    name: str
    out: Path
    """Folder of the training runs."""
    results: Path
    """JSON file."""
    seeds: int
    overrides: tuple[str, ...] = ()
    """Of all the recipes, such as ``optimisation.steps=100``."""

    @classmethod
    def from_command(cls, name: str, about: str, arguments: Sequence[str] | None) -> Study:
        """Read the options that all experiments have."""
        parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=about)
        parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to SEEDS - 1")
        parser.add_argument("--out", type=Path, default=Path("runs") / "experiments" / name)
        parser.add_argument("--results", type=Path, default=RESULTS / f"{name}.json")
        parser.add_argument(
            "--override",
            action="append",
            default=[],
            help="one value of all recipes, such as optimisation.steps=2000 or "
            "optimisation.device=cuda; wants --out and --results of its own",
        )
        given = parser.parse_args(arguments)
        if given.seeds < 1:
            parser.error("--seeds must be at least 1")
        return cls(name, given.out, given.results, given.seeds, tuple(given.override))

    def known(self) -> list[Figures]:
        """What is in the file.

        Raises:
            TriptychError: it was made with other overrides.
        """
        if not self.results.is_file():
            return []
        kept: dict[str, Any] = json.loads(self.results.read_text(encoding="utf-8"))
        if kept["overrides"] != list(self.overrides):
            raise TriptychError(
                f"{self.results} was made with the overrides {kept['overrides']}; name another "
                "file with --results, and another folder with --out"
            )
        runs: list[Figures] = kept["runs"]
        return runs

    def measure(self, variants: Sequence[str], run: Callable[[str, int], Figures]) -> list[Figures]:
        """Do what is missing, seed by seed, so that an early end leaves whole comparisons.

        The same command may run several times at once, for machines with more cores than one
        training fills: each takes the next run that no other is at.

        Args:
            variants: their names.
            run: trains and measures one of them with a seed.

        Returns:
            The figures of all runs, with ``variant`` and ``seed``; those that another command is
            at are not among them.
        """
        for seed in range(self.seeds):
            for variant in variants:
                with _lock(self.folder(variant, seed).with_suffix(".lock")) as mine:
                    if not mine or self._has(variant, seed):
                        continue
                    print(f"{self.name}: {variant}, seed {seed}", flush=True)
                    self._keep({"variant": variant, "seed": seed, **run(variant, seed)})
        return [
            one for one in self.known() if one["seed"] < self.seeds and one["variant"] in variants
        ]

    def folder(self, variant: str, seed: int) -> Path:
        """Where a run is trained."""
        return self.out / f"{variant.replace(' ', '-')}-{seed}"

    def _has(self, variant: str, seed: int) -> bool:
        return any((one["variant"], one["seed"]) == (variant, seed) for one in self.known())

    def _keep(self, one: Figures) -> None:
        with _lock(self.out / "results.lock", wait=True):
            runs = [*self.known(), one]
            kept = {"experiment": self.name, "overrides": list(self.overrides), "runs": runs}
            self.results.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.results) as path:
                path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    def publish(self, report: str, **pictures: str) -> None:
        """Print the tables and keep them beside the results, with the drawings.

        Args:
            report: Markdown.
            pictures: SVG, by what is added to the name of the results.
        """
        print(report)
        files = {self.results.with_suffix(".md"): report + "\n"}
        for name, drawing in pictures.items():
            files[self.results.with_name(f"{self.results.stem}-{name}.svg")] = drawing
        for file, text in files.items():
            with atomic_write(file) as path:
                path.write_text(text, encoding="utf-8")

    def train(
        self, recipe: str, variant: str, seed: int, overrides: Sequence[str] = ()
    ) -> tuple[Path, float]:
        """Train a recipe of :data:`RECIPES`, or go on with it.

        Returns:
            The folder of the run, and the seconds that the steps took (evaluation left out).
        """
        out = self.folder(variant, seed)
        every = [*self.overrides, *overrides, f"optimisation.seed={seed}"]
        if not is_finished(out):
            train_recipe(RECIPES / recipe, out, every, resume=True)
        steps = log_of(out, "step")
        # Not every step has a record, and a computer that slept is no part of the time.
        return out, statistics.median(record["seconds"] for record in steps) * steps[-1]["step"]


@contextmanager
def _lock(file: Path, wait: bool = False) -> Iterator[bool]:
    """Whether this process has a lock that others want too; the system drops that of a killed one.

    Args:
        file: made if need be; empty.
        wait: until it is free.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w") as handle:
        try:
            # Of the process, not of the open file: workers that outlive it do not inherit it.
            fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def log_of(run: Path, event: str) -> list[Figures]:
    """The records of one kind in the log of a training run."""
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == event]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (Student's t over the seeds).

    With one value the width is nan.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return mean, float(student.ppf(0.975, len(values) - 1)) * spread


def told(values: Sequence[float], scale: float = 100, digits: int = 1) -> str:
    """``mean ± half-width`` in points."""
    mean, half = interval([scale * value for value in values])
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def figures_of(runs: Sequence[Figures], variant: str, figure: str) -> list[float]:
    """One figure of a variant, by seed; an undefined one counts as 0."""
    ordered = sorted((one for one in runs if one["variant"] == variant), key=lambda r: r["seed"])
    return [one[figure] or 0.0 for one in ordered]


def differences(runs: Sequence[Figures], variant: str, reference: str, figure: str) -> list[float]:
    """A variant less the reference, seed by seed: both saw the same pictures in the same order."""
    pairs = (figures_of(runs, name, figure) for name in (variant, reference))
    return [a - b for a, b in zip(*pairs, strict=True)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def defined(figures: Mapping[str, float]) -> dict[str, float | None]:
    """For JSON, which has no nan."""
    return {k: None if math.isnan(v) else round(v, 6) for k, v in figures.items()}


def clocks(works: Sequence[Callable[[], Any]], repeats: int) -> list[float]:
    """Median seconds of each work, taken in turns, after a round that is not counted."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + 1):
        for work, taken in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken[1:]) for taken in times]
