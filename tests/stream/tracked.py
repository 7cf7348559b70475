"""Rendered worlds run through tracker and tally, compared with their truth."""

from __future__ import annotations

from collections import Counter

import numpy as np
from tests.stream.oracle import ClearMot
from tests.stream.rendered import FPS, SIZE, Thing, Wall, World, instances

from triptych.stream.counting import Counts, Tally
from triptych.stream.layout import Layout, Line
from triptych.stream.tracker import Tracker

NAMES = ("car", "person")
MIDDLE = Layout(lines=(Line("middle", (0.5, 0.0), (0.5, 1.0)),))


class Run:
    """A world, tracked and counted from beginning to end."""

    def __init__(
        self,
        world: World,
        seconds: float,
        *,
        fps: float = FPS,
        misses: float = 0.0,
        wobble: int = 0,
        doubts: float = 0.0,
        faint: bool = True,
        **errors: float,
    ) -> None:
        tracker, tally = Tracker(), Tally(NAMES, MIDDLE)
        self.mot, self.ids = ClearMot(), set[int]()
        random = np.random.default_rng(0)
        for index in range(round(seconds * fps)):
            moment = index / fps
            found = instances(world, moment, random, misses, wobble, doubts, **errors)
            seen = [one for one in found if one.score >= 0.5]
            half_seen = [one for one in found if one.score < 0.5] if faint else []
            tracks = tracker.update(seen, moment, world.size, faint=half_seen)
            tally.update(tracks, tracker.gone, world.size)
            shown = {t.id: seen[t.instance].mask.numpy() for t in tracks if t.instance is not None}
            self.ids |= shown.keys()
            self.mot.add(world.truth(moment), shown)
        self.tracks = tracks
        self.counts: Counts = tally.counts(tracks, {})

    @property
    def crossings(self) -> tuple[dict[str, int], dict[str, int]]:
        line = self.counts.lines["middle"]
        return dict(line.forward), dict(line.backward)


def car(number: int, x: float, vx: float, y: float = 20, width: int = 14) -> Thing:
    return Thing(number, "car", (x, y), (vx, 0), (width, 8))


SIMPLE = {
    "three that pass": World(
        (
            car(1, -8, 30, y=10),
            Thing(2, "person", (104, 24), (-20, 0), (5, 10)),
            car(3, -8, 40, y=40),
        )
    ),
    "two that meet": World((car(1, -8, 30), car(2, 104, -30, y=22))),
    "two of a kind that meet": World((car(1, -8, 30), car(2, 104, -30))),
    "two that meet at different speeds": World((car(1, -8, 30), car(2, 104, -15))),
    "one overtakes the other": World((car(1, -8, 15), car(2, -30, 30))),
    "behind a wall": World((car(1, -8, 30),), (Wall((38, 0, 58, 48)),)),
    "behind a wide wall": World((car(1, -8, 30),), (Wall((30, 0, 70, 48)),)),
    "two behind a wall": World((car(1, -8, 30), car(2, 104, -30, 22)), (Wall((38, 0, 58, 48)),)),
    "further than its length each frame": World((car(1, -8, 120, width=10),)),
    "far further than its width each frame": World((car(1, -8, 60, width=4),)),
    "nothing": World(()),
}


def street(seed: int, things: int = 24) -> World:
    """Cars and people on five rows, both ways, some faster than others."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(1, things + 1):
        way = random.choice([-1, 1])
        speed, row, born = (
            random.uniform(15, 45),
            random.choice([8, 16, 24, 32, 40]),
            14 * (random.random()),
        )
        is_car = random.random() < 0.5
        size = (int(random.integers(10, 18)), 8) if is_car else (int(random.integers(4, 7)), 10)
        start = -size[0] if way > 0 else SIZE[1] + size[0]
        found.append(
            Thing(
                number,
                "car" if is_car else "person",
                (start - way * speed * born, row),
                (way * speed, 0),
                size,
                born,
            )
        )
    return World(tuple(found))


def creeping(seed: int) -> World:
    """Four cars in lanes of their own that creep over the middle."""
    random = np.random.default_rng(seed)
    return World(
        tuple(
            Thing(n, "car", (random.uniform(0, 30), 8 + 9 * n), (random.uniform(7, 14), 0), (24, 8))
            for n in range(1, 5)
        )
    )


def crossings(world: World) -> tuple[dict[str, int], dict[str, int]]:
    """The truth for :attr:`Run.crossings`, if everything passes the middle."""
    # From a to b is downwards: to the right of who walks so is the left of the picture.
    to_left = Counter(t.name for t in world.things if t.velocity[0] < 0)
    to_right = Counter(t.name for t in world.things if t.velocity[0] > 0)
    return {n: to_left[n] for n in NAMES}, {n: to_right[n] for n in NAMES}
