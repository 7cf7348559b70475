"""The three readings beside the plain form and those of transformers: time, memory, agreement.

    python benchmarks/readings.py --threads 2
    python benchmarks/readings.py --threads 2 --kinds sure faint --images PHOTOS...

The same mask sets are read by all, in turns, in one process: the made-up ones of
``benchmarks/mask_sets.py``, and with images, what the network ``--model`` and an untrained
Mask2Former Swin-T find in them. Every reading of ours starts from a mask set that was not read
before; "three" reads one mask set three times, as everyone who wants all of them does; the others
have nothing to share, so theirs is the sum. The plain form (``triptych.bench.plain``) upsamples
everything, then reads; agreement is with it.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mask_sets import COCO, KINDS
from PIL import Image
from transformers import Mask2FormerImageProcessorPil, SegformerImageProcessorPil

import triptych
from triptych.bench import plain
from triptych.bench.beside import Theirs
from triptych.bench.memory import Peak
from triptych.bench.rounds import in_turns
from triptych.image.find import find_images
from triptych.image.preprocess import Preprocess
from triptych.mask_set import MaskSet
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter

CPU = torch.device("cpu")
READINGS = ("semantic", "instances", "panoptic")
Works = dict[str, Callable[[], Any]]


def of_images(model: str, patterns: list[str]) -> Iterator[tuple[str, MaskSet]]:
    """Names and mask sets: of ``model`` at 640x360, of a network without training at 2048x1024."""
    sources, problems = find_images(patterns)
    if problems:
        raise SystemExit("\n".join(problems))
    segmenter = triptych.load(model, device="cpu")
    torch.manual_seed(0)
    network = build("mask2former", classes=len(COCO), backbone="swin_tiny")
    untrained = Segmenter(network, Preprocess(shortest_edge=512, longest_edge=1024), COCO)
    for source in sources[:3]:
        photo = Image.open(source.path).convert("RGB")
        yield f"{model}, 640x360, {source.path.name}", segmenter(photo.resize((640, 360)))
    photo = Image.open(sources[0].path).convert("RGB")
    yield f"untrained Swin-T, {sources[0].path.name}", untrained(photo.resize((2048, 1024)))


def ours(masks: MaskSet, names: list[str]) -> Works:
    """Each reading of a fresh mask set, and all three of one."""

    def three() -> None:
        fresh = dataclasses.replace(masks)
        for name in names:
            getattr(fresh, name)()

    return {
        name: lambda name=name: getattr(dataclasses.replace(masks), name)() for name in names
    } | {"three": three}


def others(masks: MaskSet) -> dict[str, Works]:
    """The plain form and transformers, as far as they have a reading."""
    queries = masks.class_logits is not None
    processor = Mask2FormerImageProcessorPil() if queries else SegformerImageProcessorPil()
    names = READINGS if queries else READINGS[:1]
    return {
        "plain": {name: lambda name=name: getattr(plain, name)(masks) for name in names},
        "transformers": Theirs(None, processor, None).readings(masks),
    }


def agreement(masks: MaskSet) -> str:
    """Shares of the pixels at which ours are as the plain readings."""
    shares = {"semantic": plain.same_pixels(masks.semantic().ids, plain.semantic(masks))}
    if masks.class_logits is not None:
        panoptic = masks.panoptic()
        kinds = torch.tensor([-1, *(s.class_id for s in panoptic.segments)])[panoptic.ids.long()]
        shares["panoptic"] = plain.same_pixels(kinds, plain.panoptic(masks))
        objects = [(instance.class_id, instance.mask) for instance in masks.instances()]
        shares["instances"] = plain.same_objects(objects, plain.instances(masks))
    return ", ".join(f"{name} {share:.4%}" for name, share in shares.items())


def measure(masks: MaskSet, rounds: int) -> Iterator[str]:
    """A line for each reading."""
    them = others(masks)
    names = [name for name in READINGS if all(name in works for works in them.values())]
    all_ = {"ours": ours(masks, names), **them}
    peak = Peak(CPU)
    works = {f"{who} {name}": work for who, some in all_.items() for name, work in some.items()}
    seconds = in_turns(works, range(rounds), CPU)
    for who in them:
        rows = [seconds[f"{who} {name}"] for name in names]
        seconds[f"{who} three"] = [sum(values) for values in zip(*rows, strict=True)]
    for name in [*names, "three"] if len(names) > 1 else names:
        mine = seconds[f"ours {name}"]
        line = f"  {name:10} {1000 * statistics.median(mine):8.1f} ms"
        memory = [f"{(peak.of(all_['ours'][name]) or 0) / 2**20:.0f}"]
        best = float("inf")
        for who in them:
            row = seconds[f"{who} {name}"]
            ratio = statistics.median(b / a for a, b in zip(mine, row, strict=True))
            best = min(best, ratio)
            line += f", {who} {1000 * statistics.median(row):8.1f} ms ({ratio:.2f}x)"
            parts = [one for one in names if name in (one, "three")]
            most = max(peak.of(all_[who][one]) or 0 for one in parts)
            memory.append(f"{most / 2**20:.0f}")
        yield f"{line}; {best:.2f}x the quicker one; MiB {' / '.join(memory)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="*", help="files, folders or patterns; three are taken")
    parser.add_argument("--model", default="street")
    parser.add_argument("--kinds", nargs="*", default=[""], help="parts of names of made-up sets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, {options.rounds} rounds, torch {torch.__version__}")
    chosen = [name for name in KINDS if any(part in name for part in options.kinds)]
    sets = [(name, KINDS[name]) for name in chosen]
    found = list(of_images(options.model, options.images)) if options.images else []
    for name, make in [*sets, *((name, lambda masks=masks: masks) for name, masks in found)]:
        masks = make()
        print(f"\n{name}: {masks}\n  as the plain readings: {agreement(masks)}", flush=True)
        for line in measure(masks, options.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
