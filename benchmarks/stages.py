"""Time of one image by stage: decode, prepare, network, three readings, draw.

    python benchmarks/stages.py --model street --size 640x360 --repeat 20 IMAGE

The image is brought to the size first, so that figures compare. Every stage runs in each round,
and the medians over the rounds are printed, with the share of the whole.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import triptych
from triptych.images import load_image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", default="street")
    parser.add_argument("--size", default="640x360", help="width x height")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    segmenter = triptych.load(options.model)
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.jpg"
        Image.open(options.image).convert("RGB").resize((width, height)).save(path, quality=95)
        rounds = [measure(segmenter, path) for _ in range(options.repeat + 2)][2:]  # 2 to warm up
    total = statistics.median(sum(r.values()) for r in rounds)
    print(f"{options.model}, {width}x{height}, {options.threads} threads, {options.repeat} rounds")
    for stage in rounds[0]:
        middle = statistics.median(r[stage] for r in rounds)
        print(f"{stage:12} {middle * 1000:7.1f} ms {middle / total:5.0%}")
    without_draw = statistics.median(sum(r.values()) - r["draw"] - r["decode"] for r in rounds)
    print(f"{'all':12} {total * 1000:7.1f} ms")
    print(f"{'network and readings, with preparation':12} {without_draw * 1000:7.1f} ms")


def measure(segmenter: triptych.Segmenter, path: Path) -> dict[str, float]:
    """Seconds of each stage, once."""
    seconds: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        seconds[stage] = time.perf_counter() - began
        return result

    image = timed("decode", lambda: load_image(path))
    timed("prepare", lambda: segmenter.preprocess([image]))
    masks = timed("network", lambda: segmenter.segment([image])[0])
    # `segment` prepares its input itself; what is left is the network.
    seconds["network"] -= seconds["prepare"]
    timed("semantic", masks.semantic)
    timed("instances", masks.instances)
    timed("panoptic", masks.panoptic)
    timed("draw", lambda: masks.overlay(image))
    # The overlay reads the masks again before it draws.
    seconds["draw"] -= seconds["semantic"] + seconds["instances"] + seconds["panoptic"]
    return seconds


if __name__ == "__main__":
    main()
