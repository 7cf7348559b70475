"""The three readings beside those of transformers: time, memory, and whether they are right.

    python benchmarks/readings.py --threads 2 IMAGES...

The same mask sets are read by both, in turns, in one process: made-up ones of 100 queries and 133
classes for an image of 2048x1024 pixels, and what the network gives for some images at 640x360.
Every reading of ours starts from a mask set that was not read before; "three" reads one mask set
three times, as everyone who wants all of them does; theirs have nothing to share, so theirs is the
sum. Agreement is with the reference meaning,
computed plainly (``triptych.bench.plain``).
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from transformers import Mask2FormerImageProcessorPil

import triptych
from triptych.bench import plain
from triptych.bench.beside import Theirs
from triptych.bench.madeup import made_up_masks
from triptych.bench.memory import Peak
from triptych.bench.rounds import in_turns
from triptych.inputs import find_images
from triptych.masks import Classes, Geometry, MaskSet

CPU = torch.device("cpu")
READINGS = ("semantic", "instances", "panoptic")


def made_up(stride: int) -> MaskSet:
    """100 queries, 133 classes as COCO's, at 2048x1024; one cell is ``stride`` pixels wide."""
    names = [f"class {index}" for index in range(133)]
    grid = (1024 // stride, 2048 // stride)
    inputs = (4 * grid[0], 4 * grid[1])
    return made_up_masks(
        MaskSet(
            torch.zeros(100, *grid),
            torch.zeros(100, 134),
            Classes.of(names, things=names[:80]),
            Geometry(inputs, inputs, (1024, 2048)),
        )
    )


def mask_sets(model: str, patterns: list[str], strides: list[int]) -> Iterator[tuple[str, MaskSet]]:
    """Names and mask sets."""
    for stride in strides:
        masks = made_up(stride)
        height, width = masks.geometry.input_size
        yield f"2048x1024, input {width}x{height}, made up", masks
    if not patterns:
        return
    sources, problems = find_images(patterns)
    if problems:
        raise SystemExit("\n".join(problems))
    segmenter = triptych.load(model, device="cpu")
    for source in sources[:3]:
        frame = Image.open(source.path).convert("RGB").resize((640, 360))
        yield f"640x360, {model}, {source.path.name}", segmenter(frame)


def ours(masks: MaskSet) -> dict[str, Callable[[], Any]]:
    """Each reading of a fresh mask set, and all three of one."""

    def three() -> None:
        fresh = dataclasses.replace(masks)
        for name in READINGS:
            getattr(fresh, name)()

    return {
        name: lambda name=name: getattr(dataclasses.replace(masks), name)() for name in READINGS
    } | {"three": three}


def theirs(masks: MaskSet, processor: Any) -> dict[str, Callable[[], Any]]:
    """Theirs at the same thresholds."""
    return Theirs(None, processor, None).readings(masks)


def agreement(masks: MaskSet) -> str:
    """Shares of the pixels at which ours are as the plain readings."""
    panoptic = masks.panoptic()
    kinds = torch.tensor([-1, *(s.class_id for s in panoptic.segments)])[panoptic.ids.long()]
    objects = [(instance.class_id, instance.mask) for instance in masks.instances()]
    shares = (
        plain.same_pixels(masks.semantic().ids, plain.semantic(masks)),
        plain.same_objects(objects, plain.instances(masks)),
        plain.same_pixels(kinds, plain.panoptic(masks)),
    )
    return ", ".join(f"{name} {share:.4%}" for name, share in zip(READINGS, shares, strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", help="files, folders or patterns; three are taken")
    parser.add_argument("--model", default="street")
    parser.add_argument(
        "--strides", type=int, nargs="*", default=[4, 8], help="pixels a cell of the made-up ones"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    processor, peak = Mask2FormerImageProcessorPil(), Peak(CPU)
    print(f"{options.threads} threads, {options.rounds} rounds")
    for title, masks in mask_sets(options.model, options.images, options.strides):
        print(f"\n{title}\n  as the plain readings: {agreement(masks)}")
        mine, other = ours(masks), theirs(masks, processor)
        works = {f"ours {name}": work for name, work in mine.items()}
        works |= {f"theirs {name}": work for name, work in other.items()}
        seconds = in_turns(works, range(options.rounds), CPU)
        for name in mine:
            own = seconds[f"ours {name}"]
            their = [
                sum(values)
                for values in zip(
                    *(seconds[f"theirs {one}"] for one in other if name in (one, "three")),
                    strict=True,
                )
            ]
            ratio = statistics.median(b / a for a, b in zip(own, their, strict=True))
            works_of = [other[one] for one in other if name in (one, "three")]
            needs = [
                (peak.of(mine[name]) or 0) / 2**20,
                max((peak.of(work) or 0) / 2**20 for work in works_of),
            ]
            print(
                f"  {name:10} {1000 * statistics.median(own):8.1f} ms, theirs "
                f"{1000 * statistics.median(their):8.1f} ms: {ratio:5.1f} times as long;"
                f" {needs[0]:6.0f} MiB, theirs {needs[1]:6.0f}"
            )


if __name__ == "__main__":
    main()
