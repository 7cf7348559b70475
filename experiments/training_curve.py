"""Figures along a training that several recipes made, one after another, as a drawing.

    python -m experiments.training_curve runs/street-anchored runs/street-crowds --out curve.svg

Reads the evaluations in each run's ``log.jsonl``; the steps of one run follow those of the run
before. What was measured before a run's first step is left out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.plot import Line, draw
from triptych.atomic import atomic_write

FIGURES = {
    "miou": "mIoU, frames",
    "composite_pq": "PQ, composites",
    "composite_ap50": "AP50, composites",
    "composite_pq_things": "PQ of things, composites",
}


def evaluations(run: Path) -> list[dict[str, Any]]:
    """What was measured after the first step and later, in the order of the steps.

    A run that was resumed may have measured some steps twice; the later time counts.
    """
    lines = (json.loads(line) for line in (run / "log.jsonl").read_text().splitlines())
    found = {line["step"]: line for line in lines if line.get("event") == "evaluation"}
    return [found[step] for step in sorted(found) if step > 0]


def curve(runs: Sequence[Path]) -> str:
    """The drawing."""
    steps: list[float] = []
    values: dict[str, list[float]] = {name: [] for name in FIGURES}
    ends = [0]
    for run in runs:
        measured = evaluations(run)
        for one in measured:
            steps.append(ends[-1] + one["step"])
            for name, column in values.items():
                column.append(100 * one[name])
        ends.append(ends[-1] + measured[-1]["step"])
    lines = [
        Line(title, steps, values[name], [math.nan] * len(steps)) for name, title in FIGURES.items()
    ]
    return draw(
        "Averaged weights, in points (marks on the axis: where a recipe ends)",
        "steps",
        lines,
        ends[1:],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures along several runs")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.svg")
    given = parser.parse_args()
    with atomic_write(given.out) as file:
        file.write_text(curve(given.runs))
    print(given.out)


if __name__ == "__main__":
    main()
