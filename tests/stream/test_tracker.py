from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stream.oracle import ClearMot
from tests.stream.rendered import SIZE, Thing, World, instances
from tests.stream.tracked import SIMPLE, Run, car, creeping, crossings, street

from triptych.errors import TriptychError
from triptych.readings.instance import Instance
from triptych.stream import shapes
from triptych.stream.track import State, Tracking
from triptych.stream.tracker import PART, Tracker


@pytest.mark.parametrize("name", SIMPLE)
def test_simple_streams_are_tracked_and_counted_exactly(name: str) -> None:
    world = SIMPLE[name]
    run = Run(world, 9)
    wanted = Counter(thing.name for thing in world.things)
    assert run.mot.switches == 0
    assert run.mot.misses == run.mot.false_alarms == 0
    assert len(run.ids) == len(world.things)
    counts = run.counts
    assert counts.entered == counts.left == {"car": wanted["car"], "person": wanted["person"]}
    assert counts.now == {"car": 0, "person": 0}
    assert run.crossings == crossings(world)


@pytest.mark.parametrize("seed", range(6))
def test_a_crowded_street_is_counted_exactly(seed: int) -> None:
    world = street(seed)
    run = Run(world, 22)
    assert run.crossings == crossings(world)
    assert run.mot.mota > 0.99
    assert run.mot.switches <= 12
    entered = sum(run.counts.entered.values())
    assert abs(entered - len(world.things)) <= 2
    assert run.counts.left == run.counts.entered


def test_a_network_that_errs_costs_little() -> None:
    world = street(3)
    missing, trembling = Run(world, 22, misses=0.1), Run(world, 22, wobble=1)
    assert missing.mot.mota > 0.87  # a tenth cannot be had
    assert missing.mot.switches <= 18
    assert trembling.mot.switches <= 15
    for run in (missing, trembling):
        assert abs(sum(map(sum, (c.values() for c in run.crossings))) - 24) <= 2


@pytest.mark.parametrize(
    ("errors", "switches", "off"),
    [
        ({"tremble": 0.1}, 8, 0),
        ({"merges": 0.1}, 13, 0),
        ({"splits": 0.05}, 12, 0),
        ({"tremble": 0.1, "merges": 0.1, "splits": 0.05, "doubts": 0.1}, 30, 0),
    ],
)
def test_masks_like_those_of_real_footage_are_counted(
    errors: dict[str, float], switches: int, off: int
) -> None:
    for seed in (0, 3):
        world = street(seed)
        run = Run(world, 22, **errors)  # type: ignore[arg-type]
        assert run.mot.switches <= switches
        true, found = crossings(world), run.crossings
        wrong = sum(abs(true[way][n] - found[way][n]) for way in (0, 1) for n in true[way])
        assert wrong <= off
        assert abs(sum(run.counts.entered.values()) - len(world.things)) <= 3


@pytest.mark.parametrize("tremble", [0.1, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_a_queue_on_the_line_counts_once_however_its_outlines_tremble(
    seed: int, tremble: float
) -> None:
    world = creeping(seed)
    run = Run(world, 12, fps=30, tremble=tremble)
    assert run.crossings == crossings(world)
    assert run.counts.entered["car"] == 4


def test_a_half_that_began_when_a_mask_was_in_two_does_not_take_the_whole() -> None:
    world, tracker = World((car(1, 10, 10, width=20),)), Tracker()
    random = np.random.default_rng(0)
    for index in range(40):
        seen = instances(world, index / 10, random, splits=float(index % 4 == 3))
        tracks = tracker.update(seen, index / 10, world.size)
        known = [track.id for track in tracks if track.state is State.SEEN]
        assert known == ([1] if index > 1 else [])


def test_doubtful_sights_keep_ids_in_place() -> None:
    world = street(3)
    with_them, without = (Run(world, 22, doubts=1 / 3, faint=faint) for faint in (True, False))
    assert with_them.mot.switches < 0.9 * without.mot.switches
    assert with_them.mot.mota > without.mot.mota


def test_an_object_half_seen_is_kept_and_followed_but_not_seen() -> None:
    world = World((car(1, 20, 10),))
    tracker, random = Tracker(Tracking(memory=0.5)), np.random.default_rng(0)
    for index in range(50):
        found = instances(world, index / 10, random)
        sure = index < 5 or index >= 40
        tracker.update(found if sure else [], index / 10, SIZE, faint=[] if sure else found)
        if 5 <= index < 40:
            (track,) = tracker.tracks
            assert (track.id, track.state, track.instance) == (1, State.LOST, None)
            assert track.box == found[0].box
            assert track.sights == 5
    (track,) = tracker.tracks
    assert (track.id, track.state) == (1, State.SEEN)


def test_nothing_begins_with_what_is_half_seen() -> None:
    world, random = World((car(1, 20, 10),)), np.random.default_rng(0)
    tracker = Tracker()
    for index in range(5):
        seen = instances(world, index / 10, random)
        assert tracker.update([], index / 10, SIZE, faint=seen) == ()
    tracker.update(seen, 0.5, SIZE)
    assert tracker.update([], 0.6, SIZE, faint=seen) == ()  # seen once, and not known yet


def test_a_long_absence_is_another_object() -> None:
    world = World((car(1, 20, 0),))
    gone = World(())
    tracker, random = Tracker(Tracking(memory=1.0)), np.random.default_rng(0)
    ids = []
    for index in range(40):
        there = index < 10 or index >= 25
        seen = instances(world if there else gone, index / 10, random)
        tracker.update(seen, index / 10, SIZE)
        ids.append({(track.id, track.state) for track in tracker.tracks})
    assert ids[5] == {(1, State.SEEN)}
    assert ids[15] == {(1, State.LOST)}
    assert ids[22] == set()
    assert ids[39] == {(2, State.SEEN)}


def test_a_lost_object_moves_on_as_before() -> None:
    world = World((car(1, 20, 30),))
    tracker, random = Tracker(), np.random.default_rng(0)
    for index in range(10):
        tracker.update(instances(world, index / 10, random), index / 10, SIZE)
    (lost,) = tracker.update([], 1.4, SIZE)
    assert (lost.state, lost.instance) == (State.LOST, None)
    assert lost.box[0] == pytest.approx(20 - 7 + 30 * 1.4, abs=1.5)
    assert lost.velocity == pytest.approx((30, 0), abs=2)
    assert lost.age == pytest.approx(0.9)


def test_an_object_out_of_the_picture_is_not_waited_for() -> None:
    world = World((car(1, 60, 60),))
    tracker, random = Tracker(Tracking(memory=60)), np.random.default_rng(0)
    for index in range(15):
        tracker.update(instances(world, index / 10, random), index / 10, SIZE)
    assert tracker.tracks == ()


def test_a_flash_is_never_counted() -> None:
    tracker = Tracker(Tracking(confirm=3))
    seen = instances(World((car(1, 40, 0),)), 0, np.random.default_rng(0))
    for index in range(2):
        (track,) = tracker.update(seen, index / 10, SIZE)
        assert track.state is State.NEW
    assert tracker.update([], 0.2, SIZE) == ()
    assert tracker.gone == ()


def test_classes_are_never_mixed() -> None:
    random = np.random.default_rng(0)
    tracker = Tracker(Tracking(confirm=1))
    as_car = instances(World((car(1, 40, 0),)), 0, random)
    as_person = instances(World((Thing(1, "person", (40, 20), (0, 0), (14, 8)),)), 0, random)
    tracker.update(as_car, 0.0, SIZE)
    lost, new = tracker.update(as_person, 0.1, SIZE)
    assert (lost.name, lost.state, new.name) == ("car", State.LOST, "person")
    assert lost.id != new.id


def test_a_change_of_size_keeps_the_ids() -> None:
    small = World((car(1, 10, 30), car(2, 80, -30, y=40)))
    large = World(
        tuple(
            Thing(t.number, t.name, (2 * t.start[0], 3 * t.start[1]), (2 * t.velocity[0], 0),
                  (2 * t.size[0], 3 * t.size[1]))
            for t in small.things
        ),
        size=(3 * SIZE[0], 2 * SIZE[1]),
    )  # fmt: skip
    tracker, random, mot = Tracker(), np.random.default_rng(0), ClearMot()
    for index in range(20):
        world = small if index < 8 else large
        seen = instances(world, index / 10, random)
        tracks = tracker.update(seen, index / 10, world.size)
        shown = {t.id: seen[t.instance].mask.numpy() for t in tracks if t.instance is not None}
        mot.add(world.truth(index / 10), shown)
    assert mot.switches == 0
    assert {track.id for track in tracks} == {1, 2}
    assert abs(tracks[0].velocity[0]) == pytest.approx(60, rel=0.2)


@pytest.mark.parametrize("fps", [2.5, 30.0])
def test_frames_may_be_few_or_many(fps: float) -> None:
    run = Run(World((car(1, -8, 30), Thing(2, "person", (104, 40), (-25, 0), (5, 10)))), 7, fps=fps)
    assert (run.mot.switches, len(run.ids)) == (0, 2)
    assert run.counts.entered == {"car": 1, "person": 1}


def test_a_copy_is_the_state_of_its_time() -> None:
    world, random = World((car(1, 20, 30),)), np.random.default_rng(0)
    tracker = Tracker()
    for index in range(5):
        tracker.update(instances(world, index / 10, random), index / 10, SIZE)
    kept = copy.copy(tracker)
    first = tracker.update(instances(world, 0.5, random), 0.5, SIZE)
    again = kept.update(instances(world, 0.5, random), 0.5, SIZE)
    assert [(t.id, t.box, t.velocity) for t in first] == [(t.id, t.box, t.velocity) for t in again]


def test_a_part_of_a_known_object_begins_no_other() -> None:
    """A mask falls in two, and a smaller one of the same object comes along, frame after frame."""
    tracker = Tracker()

    def seen(kind: int, *areas: tuple[int, int, int, int]) -> list[Instance]:
        found = []
        for left, top, right, bottom in areas:
            mask = torch.zeros(SIZE, dtype=torch.bool)
            mask[top:bottom, left:right] = True
            box = (float(left), float(top), float(right), float(bottom))
            found.append(Instance(mask, kind, f"kind {kind}", 0.9, box))
        return found

    whole, left, right = (20, 10, 60, 30), (20, 10, 44, 30), (44, 10, 60, 30)
    for index in range(4):
        (track,) = tracker.update(seen(2, whole), index / 10, SIZE)
    for index in range(4, 6):  # a mask that stays in two becomes two in the end
        (same,) = tracker.update(seen(2, left, right), index / 10, SIZE)
        assert same.id == track.id
    (same,) = tracker.update(seen(2, whole, (30, 15, 50, 28)), 0.6, SIZE)
    assert same.id == track.id
    # What reaches beyond it is another object, and so is what has another class.
    assert len(tracker.update(seen(2, whole, (50, 10, 70, 30)), 0.7, SIZE)) == 2
    kinds = [
        t.class_id for t in tracker.update(seen(2, whole) + seen(3, (30, 15, 50, 28)), 0.8, SIZE)
    ]
    assert kinds == [2, 3]


boxes = st.tuples(st.integers(0, 80), st.integers(0, 40), st.integers(1, 16), st.integers(1, 8))


@settings(max_examples=50)
@given(st.lists(st.lists(boxes, max_size=6), min_size=1, max_size=8), st.floats(0, 0.7))
def test_whatever_comes_every_instance_has_one_track_or_is_a_part_of_one(
    frames: list[list[tuple[int, int, int, int]]], step: float
) -> None:
    tracker = Tracker()
    known: set[int] = set()
    for index, found in enumerate(frames):
        seen = []
        for x, y, width, height in found:
            mask = torch.zeros(SIZE, dtype=torch.bool)
            mask[y : y + height, x : x + width] = True
            box = (float(x), float(y), float(x + width), float(y + height))
            seen.append(Instance(mask, 2, "car", 0.9, box))
        tracks = tracker.update(seen, index * step, SIZE)
        places = [track.instance for track in tracks if track.instance is not None]
        assert len(set(places)) == len(places)
        for place in set(range(len(seen))) - set(places):
            inside = [shapes.common(t.body, seen[place].box) for t in tracks if t.sights > 1]
            shares = [shapes.area(box) / shapes.area(seen[place].box) for box in inside]
            assert max(shares) >= PART
        assert len({track.id for track in tracks}) == len(tracks)
        assert all(np.isfinite([*track.body, *track.velocity]).all() for track in tracks)
        for track in tracks:
            if track.instance is not None:
                assert track.box == seen[track.instance].box
        fresh = {track.id for track in tracks} - known
        assert all(id_ > max(known, default=0) for id_ in fresh)  # no id is given twice
        known |= fresh


def test_settings_out_of_range_are_refused() -> None:
    wrongs = ({"min_iou": 1.5}, {"memory": 0.0}, {"reach": -1.0}, {"confirm": 0}, {"faint": 2.0})
    for wrong in wrongs:
        with pytest.raises(TriptychError, match=next(iter(wrong))):
            Tracking(**wrong)
