"""Draw the evaluations of training runs, one after the other, as an SVG.

    python tools/plot_training.py runs/first runs/second --out curve.svg \
        --figures miou composite_pq composite_pq_things composite_ap

Steps are counted on from run to run; a vertical line stands where one follows the other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from triptych.atomic import atomic_write

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 360, 50, 20, 190, 40
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


def main() -> None:
    """Read the logs and write the drawing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figures", nargs="+", default=["miou"])
    options = parser.parse_args()
    points, joints = read(options.runs)
    with atomic_write(options.out) as path:
        path.write_text(draw(points, joints, options.figures), encoding="utf-8")


def read(runs: list[Path]) -> tuple[list[tuple[int, dict[str, float]]], list[int]]:
    """Evaluations as (step, figures), and the steps at which runs end."""
    points, joints, before = [], [], 0
    for run in runs:
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        points += [(before + e["step"], e) for e in lines if e["event"] == "evaluation"]
        before += max(e["step"] for e in lines if e["event"] == "step")
        joints.append(before)
    return points, joints


def draw(points: list[tuple[int, dict[str, float]]], joints: list[int], figures: list[str]) -> str:
    """An SVG with one line a figure, from 0 to 1."""
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(step: int) -> float:
        return LEFT + across * step / joints[-1]

    def y(value: float) -> float:
        return TOP + down * (1 - value)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        parts.append(f'<path d="M{LEFT} {at}h{across}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4}" text-anchor="end">{tenth / 10}</text>')
    for step in [0, *joints]:
        parts.append(f'<path d="M{x(step):.1f} {TOP}v{down}" stroke="#ccc" stroke-dasharray="4"/>')
        middle = f'x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle"'
        parts.append(f"<text {middle}>{step}</text>")
    parts.append(
        f'<text x="{LEFT + across / 2}" y="{HEIGHT - 6}" text-anchor="middle">steps</text>'
    )
    for colour, figure in zip(COLOURS, figures, strict=False):
        known = [(step, e[figure]) for step, e in points if e.get(figure) is not None]
        line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in known)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for step, value in known:
            parts.append(f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>')
        step, value = known[-1]
        label = f"{figure.replace('_', ' ')} {value:.3f}"
        at = f'x="{WIDTH - RIGHT + 10}" y="{y(value) + 4:.1f}"'
        parts.append(f'<text {at} fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()
