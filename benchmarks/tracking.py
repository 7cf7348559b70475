"""Tracking and counting on rendered streams whose truth is known.

    python -m benchmarks.tracking --streets 10

Boxes of two classes move through a picture of 96 x 48 pixels at ten frames a second. A "street" has
24 of them in 14 seconds on five rows, both ways, at speeds from 15 to 45 pixels a second, so that
they hide each other all the time. Prints, for each kind of stream, objects, identity switches and
MOTA (Bernardin and Stiefelhagen, 2008; tracks count from their first frame), by how many objects
the entries are off in all streams together, and the crossings of a line in the middle, each way
and class by itself, likewise. A doubtful sight has a score below the threshold: it is no instance,
and may only keep a track alive. A "queue" is four cars that creep over the line side by side. At
the end: updates a second with 12 objects.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from benchmarks.counting import ByteTrack
from tests.stream.oracle import ClearMot
from tests.stream.rendered import World, instances
from tests.stream.tracked import SIMPLE, Run, car, creeping, crossings, street

from triptych.stream.track import State
from triptych.stream.tracker import Tracker


def row(name: str, worlds: list[World], seconds: float, **errors: float) -> str:
    runs = [Run(world, seconds, **errors) for world in worlds]  # type: ignore[arg-type]
    seen = sum(run.mot.objects for run in runs)
    switches = sum(run.mot.switches for run in runs)
    wrong = sum(run.mot.misses + run.mot.false_alarms for run in runs) + switches
    things = sum(len(world.things) for world in worlds)
    entries = sum(
        abs(sum(run.counts.entered.values()) - len(world.things))
        for run, world in zip(runs, worlds, strict=True)
    )
    lines = sum(
        abs(counted[label] - true[label])
        for run, world in zip(runs, worlds, strict=True)
        for counted, true in zip(run.crossings, crossings(world), strict=True)
        for label in true
    )
    return (
        f"| {name} | {len(worlds)} | {things} | {seen} | {switches} | {1 - wrong / seen:.3f} "
        f"| {entries} | {lines} |"
    )


def beside_bytetrack(
    name: str, worlds: list[World], seconds: float, fps: float = 10.0, **errors: float
) -> str:
    """Confirmed objects of both alone, since ByteTrack shows no others."""
    cells = []
    for make in (Tracker, lambda: ByteTrack(0.5, 1.5, 3, fps)):
        seen = switches = wrong = 0
        for world in worlds:
            tracker, mot, random = make(), ClearMot(), np.random.default_rng(0)
            for index in range(round(seconds * fps)):
                moment = index / fps
                every = instances(world, moment, random, **errors)  # type: ignore[arg-type]
                sure = [one for one in every if one.score >= 0.5]
                faint = [one for one in every if one.score < 0.5]
                tracks = tracker.update(sure, moment, world.size, faint=faint)
                if isinstance(tracker, ByteTrack):
                    found = {n: one for n, one in tracker.seen.items() if one.score >= 0.5}
                else:
                    known = [t for t in tracks if t.state is State.SEEN]
                    found = {t.id: sure[t.instance] for t in known if t.instance is not None}
                masks = {number: one.mask.numpy() for number, one in found.items()}
                mot.add(world.truth(moment), masks)
            seen += mot.objects
            switches += mot.switches
            wrong += mot.misses + mot.false_alarms + mot.switches
        cells.append(f"{switches} | {1 - wrong / seen:.3f}")
    return f"| {name} | {' | '.join(cells)} |"


def updates_a_second(seconds: float = 20.0) -> float:
    """With 12 objects in sight, what is seen of them made beforehand."""
    things = tuple(car(n, 8 * n, 0.5 * n, y=10 + 8 * (n % 4)) for n in range(1, 13))
    world, random = World(things), np.random.default_rng(0)
    frames = [(i / 10, instances(world, i / 10, random)) for i in range(round(10 * seconds))]
    tracker, began = Tracker(), time.perf_counter()
    for moment, seen in frames:
        tracker.update(seen, moment, world.size)
    return len(frames) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streets", type=int, default=10)
    parser.add_argument("--against", choices=["bytetrack"], help="of supervision, below 0.27")
    given = parser.parse_args()
    streets = [street(seed) for seed in range(given.streets)]
    simple = [world for world in SIMPLE.values() if world.things]
    torch.set_num_threads(1)
    print("| streams | number | things | sights | switches | MOTA | entries off | crossings off |")
    print("|---|---|---|---|---|---|---|---|")
    print(row("simple", simple, 9))
    print(row("street", streets, 22))
    print(row("street, one sight in ten missing", streets, 22, misses=0.1))
    print(row("street, masks off by up to one pixel", streets, 22, wobble=1))
    print(row("street, one sight in three doubtful", streets, 22, doubts=1 / 3))
    print(row("the same, doubtful sights left out", streets, 22, doubts=1 / 3, faint=False))
    print(row("street, outlines tremble by a tenth", streets, 22, tremble=0.1))
    print(row("street, one mask in twenty is two", streets, 22, splits=0.05))
    print(row("street, one mask in ten is one with a neighbour", streets, 22, merges=0.1))
    every = {"tremble": 0.1, "splits": 0.05, "merges": 0.1, "doubts": 0.1}
    print(row("street, all of these, one sight in ten doubtful", streets, 22, **every))
    queue = [creeping(seed) for seed in range(10)]
    print(
        row(
            "queue at 30 frames a second, outlines tremble by a fifth",
            queue,
            12,
            fps=30,
            tremble=0.2,
        )
    )
    print(f"\n{updates_a_second():.0f} updates a second with 12 objects")
    if given.against:
        print("\n| streams | ours: switches | MOTA | ByteTrack: switches | MOTA |")
        print("|---|---|---|---|---|")
        for fps in (10.0, 30.0):
            some, rest = streets[:4], f", {fps:g} frames a second"
            print(beside_bytetrack("street" + rest, some, 22, fps))
            print(beside_bytetrack("street, all errors" + rest, some, 22, fps, **every))
        print(beside_bytetrack("queue, all errors, 30 frames a second", queue, 12, 30, **every))


if __name__ == "__main__":
    main()
