"""Space-time slices: the pixels under a counting line, stacked over time, for counting by eye.

    python -m benchmarks.space_time junction.mp4 --layout benchmarks/junction/layout.json --out out

Writes, for each line of the layout, ``NAME-FIRST.png``: x runs along the line from its left end, y
is time, downwards. Every vehicle that passes over the line is one blob. The side that reaches the
line first is its upper edge: where traffic comes towards the camera that is where its wheels cross,
where it goes away the wheels cross at the lower edge. Numbers are frames and columns of the video.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from triptych.stream.layout import Layout, Line
from triptych.stream.media import video_pictures

MARGIN = (60, 20)
"""Pixels for the numbers: left of the slice, and below."""


def under(line: Line, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels under a line, from its left end to its right one.

    Args:
        line: it.
        size: ``(H, W)`` of the video.
    """
    ends = sorted((x * (size[1] - 1), y * (size[0] - 1)) for x, y in (line.a, line.b))
    steps = math.ceil(math.dist(*ends)) + 1
    columns, rows = (
        np.linspace(*axis, steps).round().astype(int) for axis in zip(*ends, strict=True)
    )
    return rows, columns


def slices(frames: Iterable[np.ndarray], lines: tuple[Line, ...]) -> dict[str, np.ndarray]:
    """Of each line ``(T, L, 3)`` uint8, by name."""
    found: dict[str, list[np.ndarray]] = {line.name: [] for line in lines}
    for pixels in frames:
        for line in lines:
            found[line.name].append(pixels[under(line, pixels.shape[:2])])
    return {name: np.stack(rows) for name, rows in found.items()}


def drawn(part: np.ndarray, first: int, columns: np.ndarray, scale: tuple[int, int]) -> Image.Image:
    """A part of a slice, enlarged, with numbers.

    Args:
        part: ``(T, L, 3)`` uint8.
        first: number of its first frame.
        columns: of the video, ``(L,)``.
        scale: how many pixels a column and a frame become.
    """
    across, down = scale
    large = Image.fromarray(part).resize(
        (part.shape[1] * across, part.shape[0] * down), Image.Resampling.NEAREST
    )
    page = Image.new("RGB", (large.width + MARGIN[0], large.height + MARGIN[1]))
    page.paste(large, (MARGIN[0], 0))
    pen = ImageDraw.Draw(page)
    for frame in range(-(-first // 10) * 10, first + len(part), 10):
        y = (frame - first) * down
        pen.line((MARGIN[0] - 10, y, MARGIN[0], y), fill="yellow")
        pen.text((5, y - 5), str(frame), fill="yellow")
    for place in range(0, len(columns), 20):
        x = MARGIN[0] + place * across
        pen.line((x, large.height, x, large.height + 5), fill="yellow")
        pen.text((x - 8, large.height + 6), str(columns[place]), fill="yellow")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("--layout", type=Path, required=True, help="JSON with the lines")
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--frames", type=int, default=250, help="in one picture")
    given = parser.parse_args()
    lines = Layout.from_dict(json.loads(given.layout.read_text())).lines
    pictures = video_pictures(given.clip, given.clip)
    frames = (picture.pixels for picture in pictures if picture.pixels is not None)
    first = next(frames)
    found = slices(itertools.chain([first], frames), lines)
    given.out.mkdir(parents=True, exist_ok=True)
    for line in lines:
        _, columns = under(line, first.shape[:2])
        whole = found[line.name]
        for start in range(0, len(whole), given.frames):
            path = given.out / f"{line.name}-{start}.png"
            drawn(whole[start : start + given.frames], start, columns, (3, 4)).save(path)
            print(path)


if __name__ == "__main__":
    main()
