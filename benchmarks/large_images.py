"""How long a large image takes in windows, and how much memory.

    python benchmarks/large_images.py --model street --edge 10000 IMAGES...

The image is a mosaic of the given ones, written as a JPEG file. It is read as ``triptych predict``
reads it: decode, one window after the other, three readings. Memory is the most that the process
has had, all of it (Linux).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

import triptych
from triptych.bench.memory import resident
from triptych.image.find import find_images
from triptych.predict.files import Results
from triptych.readings.settings import ReadingSettings
from triptych.windows.layout import Windows


def mosaic(paths: list[Path], edge: int) -> Image.Image:
    """The images side by side, each 640 pixels wide and high, over and over."""
    whole = Image.new("RGB", (edge, edge))
    side = 640
    tiles = [Image.open(path).convert("RGB").resize((side, side)) for path in paths]
    steps = range(0, edge, side)
    for index, (top, left) in enumerate((y, x) for y in steps for x in steps):
        whole.paste(tiles[index % len(tiles)], (left, top))
    return whole


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", help="files, folders or patterns; 50 are taken")
    parser.add_argument("--model", default="street")
    parser.add_argument("--edge", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--overlap", type=int, default=256)
    parser.add_argument("--write", action="store_true", help="the result files, too")
    options = parser.parse_args()
    sources, problems = find_images(options.images)
    if problems or not sources:
        raise SystemExit("\n".join(problems))
    segmenter = triptych.load(options.model)
    with TemporaryDirectory() as name:
        path = Path(name, "mosaic.jpg")
        mosaic([source.path for source in sources[:50]], options.edge).save(path, quality=90)
        print(f"{options.edge} x {options.edge} pixels, {path.stat().st_size / 1e6:.0f} MB")
        clock = [time.perf_counter()]

        def lap(what: str) -> None:
            clock.append(time.perf_counter())
            most = (resident("VmHWM") or 0) / 2**30
            print(f"{what:32} {clock[-1] - clock[-2]:8.1f} s   at most {most:.2f} GiB so far")

        lap("start")
        masks = segmenter(path, windows=Windows(options.window, options.overlap))
        lap(f"{len(masks.parts)} windows")
        present = masks.semantic().ids.flatten()[::997].unique()
        lap(f"semantic: {len(present)} classes")
        lap(f"instances: {len(masks.instances())}")
        lap(f"panoptic: {len(masks.panoptic().segments)} segments")
        if options.write:
            pixels = triptych.load_image(path)
            Results(Path(name, "mosaic"), path, options.model, ReadingSettings()).write(
                pixels, masks
            )
            lap("readings and files")
    print(f"{torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
