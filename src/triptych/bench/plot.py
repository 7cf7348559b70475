"""The report as a drawing (SVG): bars with the middle half of the rounds, and the throughput."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from triptych.bench.measure import BenchReport
from triptych.bench.rounds import Spread

WIDTH, NAMES, NUMBERS, LINE, MARGIN, CURVE = 760, 150, 110, 26, 20, 220
OURS, THEIRS, FLOOR = "#17529c", "#c8813a", "#1e2128"


@dataclass(frozen=True)
class Bar:
    """One bar."""

    name: str
    seconds: Spread
    colour: str = OURS
    floor: float | None = None
    note: str = ""
    """Behind the number."""


def draw(report: BenchReport) -> str:
    """An SVG with the stages, the comparison and the throughput, one below the other."""
    sections = [
        (
            f"{report.model}, {report.precision}: milliseconds of each stage (black: floor)",
            [Bar(one.name, one.seconds, floor=one.floor) for one in report.stages],
        )
    ]
    if report.beside:
        ours = report.engine if report.against == "eager" else "Triptych"
        title = f"Same weights and input: {ours} (blue), {report.against} (brown)"
        pairs = []
        for one in report.beside:
            pairs.append(Bar(one.name, one.ours))
            pairs.append(Bar("", one.theirs, THEIRS, note=f" ({one.ratio.median:.1f} x)"))
        sections.append((title, pairs))
    parts: list[str] = []
    top = MARGIN
    for title, bars in sections:
        parts.append(_text(MARGIN, top + 14, title, weight="bold"))
        parts += _bars(bars, top + LINE)
        top += LINE * (len(bars) + 1) + MARGIN
    if report.throughput:
        parts.append(_text(MARGIN, top + 14, "Pictures a second, by batch size", weight="bold"))
        points = [(one.batch, one.rate) for one in report.throughput]
        parts += _curve(points, top + LINE)
        top += LINE + CURVE + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        'font-family="sans-serif" font-size="12">'
    )
    ground = f'<rect width="{WIDTH}" height="{top}" fill="white"/>'
    return "\n".join([head, ground, *parts, "</svg>", ""])


def _bars(bars: Sequence[Bar], top: float) -> list[str]:
    longest = max(bar.seconds.high for bar in bars)
    scale = (WIDTH - NAMES - NUMBERS - MARGIN) / longest
    parts = []
    for index, bar in enumerate(bars):
        y = top + LINE * index
        middle = y + LINE / 2
        parts.append(_text(NAMES - 8, middle + 4, bar.name, anchor="end"))
        parts.append(
            f'<rect x="{NAMES}" y="{y + 4}" width="{bar.seconds.median * scale:.1f}" '
            f'height="{LINE - 8}" fill="{bar.colour}"/>'
        )
        low, high = (NAMES + value * scale for value in (bar.seconds.low, bar.seconds.high))
        parts.append(f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#888" stroke-width="2"/>')
        if bar.floor:
            at = NAMES + bar.floor * scale
            parts.append(f'<path d="M{at:.1f} {y + 2}v{LINE - 4}" stroke="{FLOOR}"/>')
        parts.append(_text(high + 6, middle + 4, f"{1000 * bar.seconds.median:.1f}{bar.note}"))
    return parts


def _curve(points: Sequence[tuple[int, float]], top: float) -> list[str]:
    across, down = WIDTH - NAMES - NUMBERS, CURVE - 30
    most, widest = max(rate for _, rate in points), max(batch for batch, _ in points)
    placed = [(NAMES + across * n / widest, top + down * (1 - rate / most)) for n, rate in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    parts = [
        f'<path d="M{NAMES} {top}v{down}h{across}" fill="none" stroke="#999"/>',
        f'<polyline points="{line}" fill="none" stroke="{OURS}" stroke-width="2"/>',
    ]
    for (x, y), (batch, rate) in zip(placed, points, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{OURS}"/>')
        parts.append(_text(x + 6, y + 16, f"{rate:.2f}"))
        parts.append(_text(x, top + down + 18, str(batch), anchor="middle"))
    return parts


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )
