"""Panels set side by side, with titles above and a legend below."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from triptych.classes import Colour

BACKGROUND: Colour = (22, 24, 29)
TEXT: Colour = (236, 238, 242)
FAINT: Colour = (140, 146, 158)


@dataclass(frozen=True)
class Panel:
    """One picture of the row."""

    title: str
    remark: str
    """Said after the title, fainter."""
    picture: Image.Image


def line_width(size: tuple[int, int]) -> int:
    """Width of an outline in a picture of ``size`` (width, height), in pixels."""
    return max(round(min(size) / 320), 1)


def font(size: tuple[int, int], scale: float = 1.0) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The letters for a picture of ``size`` (width, height)."""
    return _font(max(round(scale * min(max(min(size) / 24, 12), 48)), 10))


@functools.cache
def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)


def arrange(row: Sequence[Panel], legend: Sequence[tuple[str, Colour]]) -> Image.Image:
    """Set panels of one size side by side; ``legend`` gives names and colours of classes."""
    width, height = row[0].picture.size
    letters = font((width, height))
    line = round(1.9 * letters.size) if isinstance(letters, ImageFont.FreeTypeFont) else 24
    gap = max(line // 4, 4)
    total = len(row) * width + (len(row) + 1) * gap
    lines = _wrap(legend, letters, total - 2 * gap, line)
    sheet = Image.new("RGB", (total, line + height + gap + line * len(lines)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, panel in enumerate(row):
        left = gap + index * (width + gap)
        sheet.paste(panel.picture, (left, line))
        at = (left + gap, line // 2)
        draw.text(at, panel.title, fill=TEXT, font=letters, anchor="lm")
        after = at[0] + draw.textlength(panel.title + "  ", font=letters)
        if after + draw.textlength(panel.remark, font=letters) <= left + width:
            draw.text((after, at[1]), panel.remark, fill=FAINT, font=letters, anchor="lm")
    for number, entries in enumerate(lines):
        middle = line + height + gap // 2 + number * line + line // 2
        half = line // 4
        for left, name, colour in entries:
            x = left + gap
            draw.rectangle((x, middle - half, x + 2 * half, middle + half), colour, FAINT)
            draw.text((x + 3 * half, middle), name, fill=TEXT, font=letters, anchor="lm")
    return sheet


def _wrap(
    legend: Sequence[tuple[str, Colour]],
    letters: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    room: int,
    line: int,
) -> list[list[tuple[int, str, Colour]]]:
    """Lines of (distance from the left, name, colour), as many on each as there is room for."""
    lines: list[list[tuple[int, str, Colour]]] = []
    left = room
    for name, colour in legend:
        wide = round(letters.getlength(name)) + 2 * line
        if left + wide > room:
            lines.append([])
            left = 0
        lines[-1].append((left, name, colour))
        left += wide
    return lines
