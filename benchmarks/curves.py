"""Values over time as a drawing (SVG)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 760, 120, 70, 130, 34, 44
COLOURS = ("#17529c", "#c8813a", "#3b8a4f", "#7d3c98")


@dataclass(frozen=True)
class Chart:
    """Lines over one axis; they share their scale, which begins at 0."""

    title: str
    lines: Mapping[str, Sequence[float]]
    """By name; as many values each as there are places."""


def draw(charts: Sequence[Chart], places: Sequence[float], axis: str) -> str:
    """An SVG with the charts one below the other.

    Args:
        charts: see there.
        places: rising values along the axis, which begins at 0.
        axis: what they are.
    """
    height = TOP + len(charts) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, chart in enumerate(charts):
        parts += _chart(chart, places, TOP + number * (HEIGHT + GAP))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 6, axis, "middle"))
    return "\n".join([*parts, "</svg>", ""])


def _chart(chart: Chart, places: Sequence[float], top: float) -> list[str]:
    across, bottom = WIDTH - LEFT - RIGHT, top + HEIGHT
    most = max((max(values, default=0) for values in chart.lines.values()), default=0) or 1
    last = max(places[-1] if places else 0, 1e-9)
    parts = [
        _text(LEFT, top - 8, chart.title, "start", "bold"),
        f'<path d="M{LEFT} {top}V{bottom}H{LEFT + across}" fill="none" stroke="#999"/>',
        _text(LEFT - 6, top + 4, f"{most:,.0f}" if most >= 1000 else f"{most:.4g}", "end"),
        _text(LEFT - 6, bottom, "0", "end"),
        _text(LEFT, bottom + 14, "0", "middle"),
        _text(LEFT + across, bottom + 14, f"{last:,.0f}", "middle"),
    ]
    for number, (name, values) in enumerate(chart.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{LEFT + across * place / last:.1f},{bottom - HEIGHT * value / most:.1f}"
            for place, value in zip(places, values, strict=True)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
        parts.append(_text(LEFT + across + 8, top + 12 + 16 * number, name, "start", colour=colour))
    return parts


def _text(
    x: float, y: float, words: str, anchor: str, weight: str = "normal", colour: str = "#1e2128"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(words)}</text>'
    )
