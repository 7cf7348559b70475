"""A report for people: a table, and the confusion matrix as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.table import Table

from triptych.evaluation.evaluate import Report
from triptych.evaluation.paired import Difference
from triptych.render.palette import ink, mix

MEANS = {"iou": "miou", "pq": "pq", "ap": "ap", "ap50": "ap50"}
"""Name of the figure that is the mean of each per-class figure."""

TITLES = {
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "pq_things": "PQ things",
    "pq_stuff": "PQ stuff",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small",
    "ap_medium": "AP medium",
    "ap_large": "AP large",
}
"""Figures that the table shows; the JSON file has all of them."""


def by_class(report: Report) -> Table:
    """The figures of each class and their means, in percent."""
    grid = Table("class")
    for name in report.per_class:
        grid.add_column(TITLES[MEANS[name]].removeprefix("m"), justify="right")
    columns = list(report.per_class.values())
    for name in columns[0] if columns else ():
        grid.add_row(name, *(percent(column[name]) for column in columns))
    grid.add_section()
    grid.add_row("mean", *(percent(report.figures[MEANS[name]]) for name in report.per_class))
    return grid


def summary(report: Report) -> Table:
    """The main figures in percent, with their intervals if there are any."""
    grid = Table("figure")
    grid.add_column("%", justify="right")
    if report.intervals:
        grid.add_column("95 % interval", justify="right")
    for name, title in TITLES.items():
        if name not in report.figures:
            continue
        row = [title, percent(report.figures[name])]
        if name in report.intervals:
            low, high = report.intervals[name]
            row.append(f"{percent(low)} to {percent(high)}")
        grid.add_row(*row)
    return grid


def comparison(differences: Sequence[Difference], first: str, second: str) -> Table:
    """Two checkpoints side by side, in percent, and the paired interval of the difference.

    Args:
        differences: of :func:`triptych.evaluation.paired.compare`.
        first: what the first checkpoint is called.
        second: and the second.
    """
    grid = Table("figure", caption="difference: second less first, paired bootstrap over images")
    for title in (first, second, "difference", "95 % interval"):
        grid.add_column(title, justify="right")
    for row in differences:
        name, _, kind = row.name.partition("/")
        title = TITLES.get(name, TITLES[MEANS.get(name, name)].removeprefix("m"))
        ends = "–" if row.interval is None else " to ".join(f"{100 * e:+.1f}" for e in row.interval)
        grid.add_row(
            f"{title} {kind}".strip(),
            percent(row.first),
            percent(row.second),
            "–" if math.isnan(row.difference) else f"{100 * row.difference:+.1f}",
            ends,
        )
    return grid


def percent(share: float) -> str:
    """One decimal; a dash where the figure is undefined."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


PAPER, INK, BLUE = (255, 255, 255), (30, 33, 40), (23, 82, 156)
CELL, MARGIN, POINTS = 34, 12, 14
WRITTEN = 40
"""Classes up to which cells are large enough for numbers."""


def confusion_picture(confusion: NDArray[np.int64], names: tuple[str, ...]) -> Image.Image:
    """Draw where the pixels of each class went: rows are true classes, in percent of the row.

    Args:
        confusion: ``(K, K + 1)`` pixels, see :class:`triptych.evaluation.evaluate.Report`. The
            last column is drawn only if anything is in it.
        names: of the ``K`` classes.
    """
    columns = [*names, "(none)"] if confusion[:, -1].any() else list(names)
    counts = confusion[:, : len(columns)].astype(np.float64)
    total = counts.sum(1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    numbers = len(names) <= WRITTEN
    cell = CELL if numbers else max(CELL * WRITTEN // len(names), 9)
    letters = ImageFont.load_default(min(POINTS, cell))
    words = math.ceil(max(letters.getlength(name) for name in columns)) + MARGIN
    line = 2 * POINTS
    left, top = MARGIN + line + words, MARGIN + line + words
    size = (left + cell * len(columns) + MARGIN, top + cell * len(names) + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    for row, name in enumerate(names):
        middle = top + cell * row + cell // 2
        draw.text((left - MARGIN // 2, middle), name, INK, letters, anchor="rm")
        for column in range(len(columns)):
            share = float(shares[row, column])
            x, y = left + cell * column, top + cell * row
            # Rare mistakes matter as well: the root lifts them out of the white.
            fill = mix(PAPER, BLUE, math.sqrt(share))
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill)
            if numbers and share >= 0.005:
                draw.text(
                    (x + cell // 2 - 1, middle),
                    f"{100 * share:.0f}",
                    ink(fill),
                    letters,
                    anchor="mm",
                )
    _write_upwards(picture, columns, (left, top - MARGIN // 2), cell, words, letters)
    title = ImageFont.load_default(POINTS)
    draw.text((left, MARGIN), "predicted class (percent of the row)", INK, title)
    sideways = Image.new("RGB", (round(title.getlength("true class")) + 2, line), PAPER)
    ImageDraw.Draw(sideways).text((0, 0), "true class", INK, title)
    picture.paste(sideways.transpose(Image.Transpose.ROTATE_90), (MARGIN, top))
    return picture


def _write_upwards(
    picture: Image.Image,
    names: list[str],
    corner: tuple[int, int],
    cell: int,
    room: int,
    letters: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Names of the columns, standing on ``corner`` (left, bottom)."""
    left, bottom = corner
    for column, name in enumerate(names):
        word = Image.new("RGB", (room, cell), PAPER)
        ImageDraw.Draw(word).text((0, cell // 2), name, INK, letters, anchor="lm")
        picture.paste(
            word.transpose(Image.Transpose.ROTATE_90), (left + cell * column, bottom - room)
        )
