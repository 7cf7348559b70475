from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tests.stream.rendered import ExactNetwork, Thing, World

from triptych.errors import TriptychError
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.stream.cuts import glance, is_cut
from triptych.stream.frames import Frame
from triptych.stream.layout import Layout, Line, Zone
from triptych.stream.result import Result
from triptych.stream.scene import SourceScene
from triptych.stream.track import Tracking
from triptych.stream.tracker import Tracker

WORLD = World(
    (
        Thing(1, "car", (-6, 10), (60, 0), (14, 8)),
        Thing(2, "person", (30, 30), (30, 0), (5, 10)),
        Thing(3, "person", (80, 40), (-40, 0), (5, 10)),
    )
)
LAYOUT = Layout(
    (Line("middle", (0.5, 0.0), (0.5, 1.0)),), (Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1))),)
)
STRICT = ReadingSettings(instance_threshold=0.7)  # people are seen at 0.6
FRAMES = list(WORLD.frames(1.8))


def masks(frame: Frame) -> MaskSet:
    return ExactNetwork().segment([torch.from_numpy(frame.pixels)])[0]


MASKS = [masks(frame) for frame in FRAMES]


def scene() -> SourceScene:
    made = SourceScene("street", ["car", "person"], layout=LAYOUT)
    made._began = 1e9  # the recording begins with a bucket, whatever the time of day
    return made


def figures(result: Result) -> object:
    """All that thresholds may change."""
    tracks = [(t.id, t.name, t.state, t.box, t.velocity, t.sights) for t in result.tracks]
    return tracks, result.counts, [i.score for i in result.instances], result.readings


def run(scene: SourceScene, readings: Sequence[ReadingSettings]) -> list[Result]:
    return [
        scene.observe(frame, found, how, {})
        for frame, found, how in zip(FRAMES, MASKS, readings, strict=False)
    ]


def test_results_hold_what_the_picture_shows() -> None:
    results = run(scene(), [ReadingSettings()] * len(FRAMES))
    last = results[-1]
    assert [result.revision for result in results] == list(range(1, len(FRAMES) + 1))
    assert last.source == "street"
    assert last.frame is FRAMES[-1]
    assert last.masks is MASKS[-1]
    assert {t.name: t.instance is not None for t in last.tracks} == {"car": True, "person": True}
    for track in last.tracks:
        assert track.instance is not None
        instance = last.instances[track.instance]
        assert (instance.box, instance.name) == (track.box, track.name)
    pixels = FRAMES[-1].pixels[..., 1]
    assert last.counts.share["car"] == pytest.approx((pixels == 2).mean())
    assert last.counts.share["ground"] == pytest.approx((pixels == 0).mean())
    assert sum(last.counts.share.values()) == pytest.approx(1)
    assert last.timings.keys() == {"readings", "track"}
    assert last.counts.lines["middle"].backward == {"car": 1, "person": 1}
    assert last.counts.lines["middle"].forward == {"car": 0, "person": 1}


@pytest.mark.parametrize("at", [0, 4, 9, len(FRAMES) - 1])
def test_a_frame_read_again_is_as_if_read_so_from_the_first(at: int) -> None:
    again, fresh = scene(), scene()
    run(again, [ReadingSettings()] * (at + 1))
    changed = again.reread(STRICT)
    straight = run(fresh, [ReadingSettings()] * at + [STRICT])[-1]
    assert changed is not None
    assert figures(changed) == figures(straight)
    assert changed.revision == straight.revision + 1
    assert changed.masks is straight.masks
    assert again.history.whole()[-1].levels == fresh.history.whole()[-1].levels


def test_a_threshold_moved_there_and_back_leaves_no_trace() -> None:
    moved, calm = scene(), scene()
    for frame, found in zip(FRAMES, MASKS, strict=True):
        moved.observe(frame, found, ReadingSettings(), {})
        calm.observe(frame, found, ReadingSettings(), {})
        for readings in (STRICT, ReadingSettings(instance_threshold=0.1), ReadingSettings()):
            moved.reread(readings)
    assert moved.latest is not None
    assert calm.latest is not None
    assert figures(moved.latest) == figures(calm.latest)
    ours, theirs = (s.history.whole() for s in (moved, calm))
    assert [b.events for b in ours] == [b.events for b in theirs]
    assert [b.frames for b in ours] == [b.frames for b in theirs]


def test_the_semantic_map_is_not_read_again() -> None:
    one = scene()
    first = one.observe(FRAMES[5], MASKS[5], ReadingSettings(), {})
    again = one.reread(STRICT)
    assert again is not None
    assert again.semantic is first.semantic
    assert len(again.instances) < len(first.instances)


def test_there_is_nothing_to_read_again_before_the_first_frame() -> None:
    assert scene().reread(STRICT) is None


def test_masks_that_cannot_be_read_change_nothing() -> None:
    broken, whole = scene(), scene()
    nonsense = MaskSet(
        torch.full((1, 4, 4), torch.nan),
        torch.zeros(1, 5),
        MASKS[0].classes,
        MASKS[0].geometry,
    )
    for index, (frame, found) in enumerate(zip(FRAMES, MASKS, strict=True)):
        whole.observe(frame, found, ReadingSettings(), {})
        broken.observe(frame, found, ReadingSettings(), {})
        if index == 6:
            with pytest.raises(TriptychError, match="NaN"):
                broken.observe(frame, nonsense, ReadingSettings(), {})
    assert broken.latest is not None
    assert whole.latest is not None
    assert figures(broken.latest) == figures(whole.latest)


def test_lines_drawn_later_count_from_then_on() -> None:
    late = SourceScene("street", ["car", "person"])
    for index, (frame, found) in enumerate(zip(FRAMES, MASKS, strict=True)):
        if index == len(FRAMES) - 3:
            late.draw(LAYOUT)
            drawn = late.reread(ReadingSettings())
            assert drawn is not None
            assert drawn.counts.lines["middle"].backward == {"car": 0, "person": 0}
            assert drawn.counts.zones["left"].inside["person"] >= 0
        result = late.observe(frame, found, ReadingSettings(), {})
    assert late.layout is LAYOUT
    assert sum(result.counts.lines["middle"].backward.values()) == 0


def test_history_is_on_the_clock_of_the_recording() -> None:
    recorded = scene()
    run(recorded, [ReadingSettings()] * len(FRAMES))
    buckets = recorded.history.whole()
    span = buckets[-1].start - buckets[0].start
    assert span == 1  # 1.8 seconds of video, whatever the time it took
    assert sum(bucket.frames for bucket in buckets) == len(FRAMES)
    events = sum((bucket.events for bucket in buckets[1:]), buckets[0].events.copy())
    assert events["line.middle.backward.car"] == 1
    assert events["entered.person"] == 2


def test_after_a_cut_everything_is_new() -> None:
    cut = scene()
    run(cut, [ReadingSettings()] * 6)
    before = cut.latest
    assert before is not None
    bright = dataclasses.replace(FRAMES[6], pixels=FRAMES[6].pixels + 100)  # another shot
    after = cut.observe(bright, MASKS[6], ReadingSettings(), {})
    ids = [{track.id for track in result.tracks} for result in (before, after)]
    assert len(ids[0]) == len(ids[1]) == 3
    assert ids[0].isdisjoint(ids[1])
    assert after.counts.left == before.counts.entered
    again = cut.reread(ReadingSettings())
    assert again is not None
    assert {track.id for track in again.tracks} == ids[1]


def test_a_film_that_begins_again_counts_the_same_in_every_round() -> None:
    made = scene()
    entered = []
    for round_ in range(3):
        for frame, found in zip(FRAMES, MASKS, strict=True):
            later = dataclasses.replace(
                frame,
                index=frame.index + round_ * len(FRAMES),
                media_time=(frame.media_time or 0.0) + 1.8 * round_,
                anew=round_ > 0 and frame is FRAMES[0],
            )
            result = made.observe(later, found, ReadingSettings(), {})
        entered.append((dict(result.counts.entered), dict(result.counts.lines["middle"].backward)))
    first = entered[0]
    for number, (came, crossed) in enumerate(entered, start=1):
        assert came == {name: number * count for name, count in first[0].items()}
        assert crossed == {name: number * count for name, count in first[1].items()}


def test_only_a_cut_changes_the_whole_picture() -> None:
    random = np.random.default_rng(0)
    street = random.integers(0, 200, (30, 50, 3), dtype=np.uint8)
    assert not is_cut(glance(street), glance(street + 40))  # the sun comes out
    assert is_cut(glance(street), glance(255 - street // 2))
    larger = street.repeat(3, 0).repeat(2, 1)
    assert not is_cut(glance(street), glance(larger))


def test_what_falls_below_the_threshold_is_no_instance_and_keeps_its_number() -> None:
    made = scene()
    made._tracker = Tracker(Tracking(memory=0.3))
    readings = [ReadingSettings()] * 4 + [STRICT] * 8 + [ReadingSettings()] * 6
    results = run(made, readings)
    for result, found, how in zip(results, MASKS, readings, strict=True):
        expected = found.instances(how.instance_threshold, how.top)
        assert [(i.name, i.score, i.box) for i in result.instances] == [
            (i.name, i.score, i.box) for i in expected
        ]
        assert result.instances.source == expected.source

    def people(result: Result) -> set[int]:
        return {t.id for t in result.tracks if t.name == "person" and t.instance is not None}

    assert people(results[3]) == people(results[-1]) != set()
    assert people(results[8]) == set()
    assert results[8].counts.now["person"] == results[8].counts.left["person"] == 0
