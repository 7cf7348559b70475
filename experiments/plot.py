"""Lines with their intervals, as an SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 340, 60, 34, 170, 46
COLOURS = ("#17529c", "#c8813a", "#2c8c4a", "#8e5ba6")


@dataclass(frozen=True)
class Line:
    """One line: places, means and half-widths of intervals (nan: none)."""

    name: str
    x: Sequence[float]
    mean: Sequence[float]
    half: Sequence[float]


def draw(title: str, across: str, lines: Sequence[Line], ticks: Sequence[float]) -> str:
    """An SVG of all lines, values in points from 0 up.

    Args:
        title: above it, with the unit.
        across: what the places are.
        lines: at most as many as there are colours.
        ticks: places that are marked.
    """
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    places = [x for line in lines for x in line.x]
    low, high = min(places), max(places)
    peak = max(m + _known(h) for line in lines for m, h in zip(line.mean, line.half, strict=True))
    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50) if peak <= 6 * s or s == 50)
    top = step * math.ceil(max(peak, step) / step)

    def at(x: float, y: float) -> tuple[float, float]:
        share = (x - low) / (high - low) if high > low else 0.5
        return round(LEFT + wide * share, 1), round(TOP + tall * (1 - max(y, 0) / top), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for number in range(round(top / step) + 1):
        _, y = at(low, number * step)
        parts.append(f'<path d="M{LEFT} {y}h{wide}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{number * step:g}</text>')
    for tick in ticks:
        x, y = at(tick, 0)
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(
        f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>'
    )
    for row, (line, colour) in enumerate(zip(lines, COLOURS, strict=False)):
        points = [at(x, m) for x, m in zip(line.x, line.mean, strict=True)]
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, m, h in zip(line.x, line.mean, line.half, strict=True):
            (left, y), (_, upper), (_, lower) = at(x, m), at(x, m + _known(h)), at(x, m - _known(h))
            parts.append(f'<path d="M{left} {upper}V{lower}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{left}" cy="{y}" r="3" fill="{colour}"/>')
        y = TOP + 16 * row + 12
        parts.append(
            f'<text x="{WIDTH - RIGHT + 14}" y="{y}" fill="{colour}">{escape(line.name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value
