"""Frames that nobody chose: every n-th of a video, as a checkpoint reads them, on one sheet.

    python -m projects.street.frames --model street --out docs/images/street-twelve.jpg

By default the video is the clip that comes with the extra ``demo``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from triptych.atomic import atomic_write
from triptych.errors import TriptychError
from triptych.render.layout import BACKGROUND, Panel, arrange
from triptych.render.panels import panoptic_panel
from triptych.segmenter import Segmenter, load
from triptych.stream.samples import street_clip

COLUMNS = 3
WIDTH = 420
"""Pixels of a tile."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the sheet and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m projects.street.frames")
    parser.add_argument("--model", default="street")
    parser.add_argument("--video", type=Path, help="in place of the packaged clip")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("out/frames.jpg"))
    given = parser.parse_args(arguments)
    frames = every_nth(given.video or street_clip(), given.count)
    sheet = drawn(load(given.model), frames)
    with atomic_write(given.out) as path:
        sheet.save(path, "JPEG", quality=85)
    print(f"{len(frames)} frames in {given.out}")


def every_nth(video: Path, count: int) -> list[tuple[float, Image.Image]]:
    """``count`` frames, evenly spread over all of a video, with their seconds.

    Raises:
        TriptychError: PyAV is not installed, or the video is none, or shorter.
    """
    try:
        import av
    except ImportError as error:
        raise TriptychError("videos need PyAV; pip install '.[video]' in the checkout") from error
    try:
        with av.open(str(video)) as container:
            total = sum(1 for _ in container.decode(video=0))
        if not 0 < count <= total:
            raise TriptychError(f"{video} has {total} frames; ask for 1 to {total}, not {count}")
        wanted = {(2 * number + 1) * total // (2 * count) for number in range(count)}
        with av.open(str(video)) as container:
            return [
                (float(frame.time or 0), frame.to_image())
                for number, frame in enumerate(container.decode(video=0))
                if number in wanted
            ]
    except (av.FFmpegError, IndexError) as error:
        raise TriptychError(f"{video}: cannot be read as a video ({error})") from error


def drawn(segmenter: Segmenter, frames: Sequence[tuple[float, Image.Image]]) -> Image.Image:
    """The panoptic reading of each frame, :data:`COLUMNS` in a row, over a legend."""
    seen: set[int] = set()
    panels = []
    for seconds, frame in frames:
        found = segmenter(frame).to("cpu").panoptic()
        seen.update(segment.class_id for segment in found.segments)
        picture = panoptic_panel(frame, found)
        size = (WIDTH, round(WIDTH * picture.height / picture.width))
        panels.append(Panel(f"{seconds:.1f} s", "", picture.resize(size, Image.Resampling.LANCZOS)))
    blank = Panel("", "", Image.new("RGB", panels[0].picture.size, BACKGROUND))
    panels += [blank] * (-len(panels) % COLUMNS)
    classes = segmenter.classes
    legend = [(classes.names[k], classes.colours[k]) for k in sorted(seen)]
    rows = [panels[first : first + COLUMNS] for first in range(0, len(panels), COLUMNS)]
    strips = [arrange(row, legend if row is rows[-1] else ()) for row in rows]
    sheet = Image.new("RGB", (strips[0].width, sum(s.height for s in strips)), BACKGROUND)
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


if __name__ == "__main__":
    main()
