"""The classes change while frames run: what goes on, under which name, and what is let go."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest
import torch
from tests.stream.rendered import CLASSES, ExactNetwork, Thing, Wall, World
from tests.stream.waiting import eventually

from triptych.class_table import ClassTable
from triptych.errors import TriptychError
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.stream.frames import Frame
from triptych.stream.layout import Layout, Line, Zone
from triptych.stream.naming import Naming
from triptych.stream.pipeline import Pipeline
from triptych.stream.reader import Picture
from triptych.stream.renaming import by_class, by_keys
from triptych.stream.result import Result
from triptych.stream.scene import SourceScene
from triptych.stream.source import Source
from triptych.stream.track import State

WORLD = World(
    (
        Thing(1, "car", (-6, 10), (40, 0), (14, 8)),
        Thing(2, "person", (30, 30), (16, 0), (5, 10)),
        Thing(3, "person", (70, 40), (-16, 0), (5, 10)),
    )
)
LAYOUT = Layout(
    (Line("middle", (0.5, 0.0), (0.5, 1.0)),), (Zone("all", ((0, 0), (1, 0), (1, 1), (0, 1))),)
)
FRAMES = list(WORLD.frames(4.0))


def naming(form: dict[str, list[str]] | None = None) -> Naming:
    return Naming.of(CLASSES, True, None if form is None else ClassTable.of(form))


OWN = naming()
MOVERS = naming({"mover": ["car", "person"], "ground": []})
CARS = naming({"car": [], "ground": []})
AGAIN = naming()


def masks(frame: Frame) -> MaskSet:
    return ExactNetwork().segment([torch.from_numpy(frame.pixels)])[0]


MASKS = [masks(frame) for frame in FRAMES]


def run(*namings: Naming) -> list[Result]:
    """A result for each frame; the classes change after equal shares of them."""
    scene = SourceScene("street", namings[0].countable, layout=LAYOUT)
    step = -(-len(FRAMES) // len(namings))
    return [
        scene.observe(frame, found, ReadingSettings(), {}, namings[index // step])
        for index, (frame, found) in enumerate(zip(FRAMES, MASKS, strict=True))
    ]


def ids(result: Result) -> dict[int, str]:
    return {t.id: t.name for t in result.tracks if t.state is State.SEEN}


def test_merged_objects_keep_their_numbers_and_counts_add_up() -> None:
    before, after = itertools.islice(run(OWN, MOVERS), 19, 21)
    assert set(ids(after)) == set(ids(before))
    assert set(ids(before).values()) == {"car", "person"}
    assert set(ids(after).values()) == {"mover"}
    assert after.counts.now == {"mover": sum(before.counts.now.values())}
    assert after.counts.entered == {"mover": sum(before.counts.entered.values())}
    zone = before.counts.zones["all"], after.counts.zones["all"]
    assert zone[1].inside == {"mover": sum(zone[0].inside.values())}


def test_all_in_all_a_merged_run_counts_what_a_plain_one_does() -> None:
    plain, merged = run(OWN)[-1].counts, run(OWN, MOVERS)[-1].counts
    ways = plain.lines["middle"], merged.lines["middle"]
    assert sum(ways[0].forward.values()) == ways[1].forward["mover"] == 1
    assert sum(ways[0].backward.values()) == ways[1].backward["mover"] == 2
    for key in ("entered", "left"):
        assert getattr(merged, key)["mover"] == sum(getattr(plain, key).values())


def test_there_and_back_gives_back_the_old_counts() -> None:
    plain, back = run(OWN), run(OWN, MOVERS, AGAIN)
    assert set(back[-1].counts.entered) == set(plain[-1].counts.entered)
    # What came in before the first change, and is there still or left since, is known by name.
    early = plain[13].counts.lines["middle"]
    late = back[-1].counts.lines["middle"]
    assert Counter(late.forward) >= Counter(early.forward)
    zone = back[-1].counts.zones["all"]
    for name in zone.inside:
        assert zone.inside[name] == zone.entered[name] - zone.left[name]


def test_objects_that_are_taken_apart_keep_their_numbers_if_they_are_seen() -> None:
    before, after = itertools.islice(run(MOVERS, OWN), 19, 21)
    assert ids(after).keys() == ids(before).keys()
    named = {t.name: t.instance for t in after.tracks if t.instance is not None}
    assert set(named) == {"car", "person"}
    for track in after.tracks:
        if track.instance is not None:
            assert after.instances[track.instance].name == track.name
            assert after.instances[track.instance].class_id == track.class_id


def test_what_has_no_class_any_more_is_let_go_without_an_event() -> None:
    results = run(OWN, CARS)
    before, after = results[19], results[20]
    assert "person" in ids(before).values()
    assert set(ids(after).values()) == {"car"}
    assert after.counts.entered == {"car": before.counts.entered["car"]}
    assert set(after.counts.zones["all"].inside) == {"car"}
    zone = run(OWN, CARS, AGAIN)[-1].counts.zones["all"]
    for name in zone.inside:
        assert zone.inside[name] == zone.entered[name] - zone.left[name]


def test_every_result_goes_by_one_table_and_the_history_keeps_old_names() -> None:
    scene = SourceScene("street", OWN.countable, layout=LAYOUT)
    keys = []
    for index, (frame, found) in enumerate(zip(FRAMES, MASKS, strict=True)):
        how = (OWN, MOVERS, CARS)[index % 3]
        result = scene.observe(frame, found, ReadingSettings(), {}, how)
        assert consistent(result, how) == []
        keys.append(set(scene.history._newest[1].levels))  # type: ignore[index]
        events = scene.history._newest[1].events  # type: ignore[index]
        assert all(key.rpartition(".")[2] in how.countable for key in events)
    assert {key for key in keys[0] if key.startswith("count.")} == {"count.car", "count.person"}
    assert {key for key in keys[1] if key.startswith("count.")} == {"count.mover"}
    whole = scene.history.whole()
    seen = set().union(*(bucket.levels for bucket in whole))
    assert {"count.car", "count.person", "count.mover", "share.wall", "share.ground"} <= seen


def consistent(result: Result, how: Naming) -> list[str]:
    """What in a result is not of these classes."""
    names, counted = set(how.classes.names), set(how.countable)
    wrong = [] if result.semantic.classes == result.panoptic.classes == how.classes else ["maps"]
    wrong += [
        one.name for one in (*result.instances, *result.panoptic.segments) if one.name not in names
    ]
    wrong += [
        track.name for track in result.tracks if how.classes.names[track.class_id] != track.name
    ]
    counts = result.counts
    for table in (counts.now, counts.entered, counts.left):
        wrong += set(table) ^ counted
    for line in counts.lines.values():
        wrong += (set(line.forward) | set(line.backward)) ^ counted
    for zone in counts.zones.values():
        wrong += (set(zone.inside) | set(zone.entered) | set(zone.left)) ^ counted
        wrong += set(zone.dwell) - counted
    return wrong + list(set(counts.share) ^ names)


def test_reading_again_with_other_classes_leaves_no_trace() -> None:
    def figures(result: Result) -> object:
        tracks = [(t.id, t.name, t.state, t.box, t.velocity, t.sights) for t in result.tracks]
        return tracks, result.counts, [i.score for i in result.instances]

    steady, moved = (SourceScene("street", OWN.countable, layout=LAYOUT) for _ in range(2))
    for index, (frame, found) in enumerate(zip(FRAMES, MASKS, strict=True)):
        one = steady.observe(frame, found, ReadingSettings(), {}, OWN)
        other = moved.observe(frame, found, ReadingSettings(), {}, OWN)
        if index % 3 == 0:
            between = moved.reread(ReadingSettings(), MOVERS)
            assert between is not None
            assert consistent(between, MOVERS) == []
            back = moved.reread(ReadingSettings(), OWN)
            assert back is not None
            other = back
        assert figures(one) == figures(other)


def test_no_result_mixes_two_tables_while_frames_run() -> None:
    pictures = [Picture(f.pixels, f.media_time) for f in FRAMES]
    pipeline = Pipeline(ExactNetwork())
    results: list[Result] = []
    tables = itertools.cycle([MOVERS.table, CARS.table, None])
    pipeline.add("film", Source(lambda: iter(pictures), name="film"), LAYOUT)
    with pipeline, pipeline.subscribe(results.append):
        while pipeline.health("film").results < len(FRAMES):
            pipeline.regroup(next(tables))
            eventually(lambda: pipeline.latest("film") is not None)
        eventually(lambda: results and results[-1] is pipeline.latest("film"))
    assert len({result.naming for result in results}) > 3
    for result in results:
        assert result.naming is not None
        assert consistent(result, result.naming) == []


def test_a_paused_frame_has_the_new_classes_at_once() -> None:
    pictures = [Picture(f.pixels, f.media_time) for f in FRAMES]
    network = ExactNetwork()
    pipeline = Pipeline(network)
    source = Source(lambda: iter(pictures), name="film")
    source.pause()
    pipeline.add("film", source)
    with pipeline:
        eventually(lambda: pipeline.latest("film") is not None)
        passes = len(network.batches)
        pipeline.regroup(MOVERS.table)
        eventually(lambda: pipeline.latest("film").masks.classes == MOVERS.classes)  # type: ignore[union-attr]
        assert pipeline.countable == ("mover",)
        pipeline.restart("film")
        eventually(lambda: (r := pipeline.latest("film")) and r.frame.index > 0)
        assert set(pipeline.latest("film").counts.now) == {"mover"}  # type: ignore[union-attr]
        assert passes == 1


def test_keys_show_what_they_stand_for() -> None:
    counter: dict[str, float] = {"car": 3, "bus": 2, "person": 1}
    own = {name: frozenset([name]) for name in ("car", "bus", "person")}
    vehicles = {"vehicle": frozenset(["car", "bus"]), "person": frozenset(["person"])}
    by_keys(counter, own)
    assert by_class(counter, vehicles) == {"vehicle": 5, "person": 1}
    counter["vehicle"] = 4
    assert by_class(counter, vehicles) == {"vehicle": 9, "person": 1}
    by_keys(counter, vehicles)
    assert by_class(counter, own) == {"car": 3, "bus": 2, "person": 1}, "4 of them are either"
    assert by_class(counter, vehicles) == {"vehicle": 9, "person": 1}
    assert by_class(counter, {"car": frozenset(["car"])}) == {"car": 3}


def test_a_table_that_does_not_fit_changes_nothing() -> None:
    pipeline = Pipeline(ExactNetwork())
    before = pipeline.naming
    with pytest.raises(TriptychError, match="no class 'cart'"):
        pipeline.regroup(ClassTable.of({"a": ["cart"]}))
    assert pipeline.naming is before


def test_who_is_in_the_picture_came_in_as_what_it_is_now() -> None:
    for tables in ((OWN, MOVERS), (MOVERS, OWN), (OWN, CARS, AGAIN), (OWN, MOVERS, AGAIN)):
        counts = run(*tables)[-1].counts
        there = counts.zones["all"].inside  # the zone is the whole picture
        for name, number in there.items():
            assert counts.entered[name] - counts.left[name] == number, tables


HIDDEN = World((Thing(1, "car", (10, 20), (20, 0), (14, 8)),), (Wall((34, 0, 62, 48)),))


def hidden(*namings: Naming, change: int) -> list[Result]:
    """A car that passes behind a wall; the classes change at a frame."""
    scene = SourceScene("street", namings[0].countable)
    return [
        scene.observe(frame, masks(frame), ReadingSettings(), {}, namings[index >= change])
        for index, frame in enumerate(HIDDEN.frames(4.5))
    ]


def test_an_object_out_of_sight_goes_on_only_where_its_class_is_known() -> None:
    plain = hidden(OWN, OWN, change=0)
    gap = next(i for i, r in enumerate(plain) if r.tracks and r.tracks[0].state is State.LOST)
    assert plain[-1].counts.entered["car"] == 1, "it is known again behind the wall"
    merged = hidden(OWN, MOVERS, change=gap + 1)
    assert [t.name for t in merged[gap + 1].tracks] == ["mover"]
    assert merged[-1].counts.entered == {"mover": 1}
    apart = hidden(MOVERS, OWN, change=gap + 1)
    assert apart[gap + 1].tracks == ()
    assert apart[-1].counts.entered == {"car": 1, "person": 0}, "as a new one"
    assert apart[-1].counts.left == {"car": 0, "person": 0}


def test_a_cut_in_the_frame_that_takes_groups_apart() -> None:
    scene = SourceScene("street", MOVERS.countable)
    for frame, found in zip(FRAMES[:20], MASKS[:20], strict=True):
        last = scene.observe(frame, found, ReadingSettings(), {}, MOVERS)
    assert last.counts.now["mover"] > 0
    cut = dataclasses.replace(FRAMES[20], anew=True)
    after = scene.observe(cut, MASKS[20], ReadingSettings(), {}, OWN)
    assert consistent(after, OWN) == []
    newest = scene.history._newest
    assert newest is not None
    assert all(key.rpartition(".")[2] in OWN.countable for key in newest[1].events)
