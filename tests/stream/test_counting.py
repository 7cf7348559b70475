from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import TriptychError
from triptych.stream.counting import Tally
from triptych.stream.feet import LAG, MARGIN, TREMBLE, Feet
from triptych.stream.layout import Layout, Line, Point, Zone
from triptych.stream.track import State, Track

SIZE = (100, 200)
SQUARE = Zone("square", ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)))
DOWN = Line("down", (0.5, 0.2), (0.5, 0.8))


def at(
    x: float, y: float, moment: float = 0.0, id_: int = 1, state: State = State.SEEN, name="car"
) -> Track:
    """A track whose foot is at this share of the picture."""
    px, py = x * SIZE[1], y * SIZE[0]
    box = (px - 4, py - 10, px + 4, py)
    return Track(
        id_, 0, name, 0.9, state, box, None, None if state is State.LOST else 0, box,
        (0.0, 0.0), 0.0, moment, moment, 9,
    )  # fmt: skip


def walk(
    tally: Tally, points: Sequence[Point], id_: int = 1, sights: int = 4, fps: float = 4
) -> Counter[str]:
    """Stand for so many sights at each point, a second by default."""
    events: Counter[str] = Counter()
    for number, (x, y) in enumerate(point for point in points for _ in range(sights)):
        events += tally.update([at(x, y, number / fps, id_)], [], SIZE)
    return events


def line_counts(tally: Tally, name: str = "down") -> tuple[int, int]:
    line = tally.counts([], {}).lines[name]
    return line.forward["car"], line.backward["car"]


def test_the_right_hand_side_is_forward() -> None:
    # Walking down the picture, the right hand points to its left side.
    tally = Tally(["car"], Layout((DOWN,)))
    events = walk(tally, [(0.7, 0.5), (0.3, 0.5), (0.8, 0.5), (0.2, 0.5)])
    assert line_counts(tally) == (2, 1)
    assert events == {
        "entered.car": 1,
        "line.down.forward.car": 2,
        "line.down.backward.car": 1,
    }


@pytest.mark.parametrize("y", [0.1, 0.9])
def test_past_the_ends_of_a_line_is_no_crossing(y: float) -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    walk(tally, [(0.3, y), (0.7, y)])
    assert line_counts(tally) == (0, 0)


def test_a_slow_walk_over_the_line_counts_once() -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    walk(tally, [(0.45 + 0.001 * step, 0.5) for step in range(100)], sights=1)
    assert line_counts(tally) == (0, 1)


@pytest.mark.parametrize("far", [0.004, 0.006, 0.02, 0.2])
@pytest.mark.parametrize("frames", [1, 2])
def test_trembling_on_the_line_counts_once(far: float, frames: int) -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    feet = [0.5 + far * (-1) ** (k // frames) for k in range(100)]
    way = [*[0.2] * 20, *feet, *[0.8] * 20]
    walk(tally, [(x, 0.5) for x in way], sights=1, fps=30)
    assert line_counts(tally) == (0, 1)


@pytest.mark.parametrize(("sights", "counted"), [(2, 0), (12, 0), (20, 1)])
def test_what_comes_back_at_once_takes_its_count_with_it(sights: int, counted: int) -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    way = [*[0.3] * 20, *[0.7] * sights, *[0.3] * 40]
    walk(tally, [(x, 0.5) for x in way], sights=1, fps=30)
    assert line_counts(tally) == (counted, counted)


@pytest.mark.parametrize(("sights", "counted"), [(2, 0), (5, 1)])
def test_who_is_gone_soon_after_has_crossed_if_it_was_seen_there(sights: int, counted: int) -> None:
    tally = Tally(["car"], Layout((DOWN,), (SQUARE,)))
    way = [*[0.2] * 10, *[0.6] * sights]  # the smoothed foot is a sight behind
    events = walk(tally, [(x, 0.5) for x in way], sights=1, fps=30)
    assert events["line.down.backward.car"] == 0
    events = tally.update([], [at(0.6, 0.5, 0.5)], SIZE)
    assert events["line.down.backward.car"] == counted
    assert events["zone.square.entered.car"] == events["zone.square.left.car"] == counted
    assert tally.update([], [at(0.6, 0.5, 0.5)], SIZE) == {}


def test_a_mask_that_is_merged_with_another_for_a_frame_moves_no_foot() -> None:
    tally = Tally(["car"], Layout((DOWN,), (SQUARE,)))
    way = [0.4, 0.4, 0.9, 0.4, 0.4, 0.9] * 10
    events = walk(tally, [(x, 0.5) for x in way], sights=1, fps=30)
    assert line_counts(tally) == (0, 0)
    assert events["zone.square.entered.car"] == 1
    assert events["zone.square.left.car"] == 0


def test_the_margin_grows_with_the_object_and_its_speed() -> None:
    def margin(width: float, height: float, velocity: tuple[float, float] = (0.0, 0.0)) -> float:
        track = at(0.5, 0.5)
        box = (100 - width / 2, 50 - height, 100 + width / 2, 50)
        moving = dataclasses.replace(track, box=box, velocity=velocity)
        (stand,) = Feet().update([moving], SIZE)
        return stand.margin

    assert margin(2, 2) == MARGIN * 200
    assert margin(40, 40) == pytest.approx(TREMBLE * 40)
    assert margin(80, 20) == pytest.approx(TREMBLE * 40)
    assert margin(2, 2, (300, 400)) == pytest.approx(LAG * 500)


def test_out_of_sight_on_the_line_counts_when_seen_again() -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    walk(tally, [(0.3, 0.5)])
    for moment in range(20):
        tally.update([at(0.6, 0.5, 1 + moment, state=State.LOST)], [], SIZE)
    assert line_counts(tally) == (0, 0)  # where it should be by now is no evidence
    walk(tally, [(0.7, 0.5)], sights=5)
    assert line_counts(tally) == (0, 1)


def test_a_crossing_before_it_is_confirmed_counts_then() -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    for number in range(8):
        x = 0.45 if number < 3 else 0.55
        tally.update([at(x, 0.5, number / 4, state=State.NEW)], [], SIZE)
    assert line_counts(tally) == (0, 0)
    tally.update([at(0.65, 0.5, 2)], [], SIZE)
    assert line_counts(tally) == (0, 1)


def test_a_zone_is_entered_left_and_stayed_in() -> None:
    tally = Tally(["car", "bus"], Layout(zones=(SQUARE,)))
    events = walk(tally, [(0.1, 0.5), (0.4, 0.5), (0.6, 0.5), (0.9, 0.5), (0.5, 0.5)])
    zone = tally.counts([], {}).zones["square"]
    assert zone.entered == {"car": 2, "bus": 0}
    assert zone.left == {"car": 1, "bus": 0}
    assert zone.inside == {"car": 1, "bus": 0}
    assert zone.dwell == {"car": 2.0}  # from second 1.25 to second 3.25: feet are smoothed
    assert events["zone.square.entered.car"] == 2
    assert events["zone.square.left.car"] == 1


def test_who_vanishes_inside_has_left_when_last_seen() -> None:
    tally = Tally(["car"], Layout(zones=(SQUARE,)))
    walk(tally, [(0.5, 0.5)])
    tally.update([at(0.5, 0.5, 2.0, state=State.LOST)], [], SIZE)
    assert tally.counts([], {}).zones["square"].inside == {"car": 1}
    tally.update([], [at(0.5, 0.5, 2.0)], SIZE)
    counts = tally.counts([], {})
    assert counts.zones["square"].dwell == {"car": 2.0}
    assert counts.left == {"car": 1}


points = st.tuples(st.floats(0, 1), st.floats(0, 1))
steps = st.lists(
    st.dictionaries(st.integers(1, 4), st.tuples(points, st.sampled_from([*State]))), max_size=12
)


@settings(max_examples=80)
@given(steps)
def test_inside_is_entered_less_left_and_events_add_up(
    history: list[dict[int, tuple[Point, State]]],
) -> None:
    tally = Tally(["car"], Layout((DOWN,), (SQUARE,)))
    events: Counter[str] = Counter()
    before: dict[int, Track] = {}
    for number, frame in enumerate(frame for frame in history for _ in range(3)):
        moment = 0.3 * number
        tracks = {
            # What has been confirmed never becomes new again.
            id_: at(*point, moment, id_, State.SEEN if id_ in before else state)
            for id_, (point, state) in frame.items()
        }
        gone = [t for id_, t in before.items() if id_ not in tracks and t.state is not State.NEW]
        events += tally.update(list(tracks.values()), gone, SIZE)
        before = tracks
        counts = tally.counts(list(tracks.values()), {})
        zone, line = counts.zones["square"], counts.lines["down"]
        assert zone.inside["car"] == zone.entered["car"] - zone.left["car"]
        assert events["zone.square.entered.car"] == zone.entered["car"]
        assert events["zone.square.left.car"] == zone.left["car"]
        assert events["line.down.forward.car"] == line.forward["car"]
        assert events["line.down.backward.car"] == line.backward["car"]
        assert events["entered.car"] == counts.entered["car"] >= counts.left["car"]


def test_a_new_drawing_keeps_the_counts_of_what_stays() -> None:
    other = Line("other", (0.1, 0.1), (0.1, 0.9))
    tally = Tally(["car"], Layout((DOWN,), (SQUARE,)))
    walk(tally, [(0.3, 0.5), (0.7, 0.5)])
    tally.draw(Layout((other, DOWN)))
    assert line_counts(tally) == (0, 1)
    assert line_counts(tally, "other") == (0, 0)
    assert tally.counts([], {}).zones == {}
    tally.draw(Layout((Line("down", (0.6, 0.2), (0.6, 0.8)),), (SQUARE,)))
    assert line_counts(tally) == (0, 0)  # another place is another line
    assert tally.counts([], {}).zones["square"].entered == {"car": 0}


def test_a_copy_does_not_follow() -> None:
    tally = Tally(["car"], Layout((DOWN,), (SQUARE,)))
    walk(tally, [(0.3, 0.5)])
    kept = tally.copy()
    walk(tally, [(0.9, 0.5)])
    assert line_counts(tally) == (0, 1)
    assert line_counts(kept) == (0, 0)
    assert kept.counts([], {}).zones["square"].inside == {"car": 1}
    walk(kept, [(0.9, 0.5)])
    assert kept.counts([], {}) == tally.counts([], {})


def test_who_is_followed_for_a_moment_only_has_not_come_in() -> None:
    tally = Tally(["car"])
    events: Counter[str] = Counter()
    for id_ in range(1, 20):  # the network sees a car now and then where there is none
        for number in range(10):
            events += tally.update([since(0.0, number / 30, id_)], [], SIZE)
        events += tally.update([], [since(0.0, 0.3, id_)], SIZE)
    assert events == {}
    for number in range(20):
        events += tally.update([since(0.0, number / 30, 20)], [], SIZE)
    assert events == {"entered.car": 1}


def since(first: float, moment: float, id_: int) -> Track:
    """A track in the middle that began at ``first``."""
    return dataclasses.replace(at(0.5, 0.5, moment, id_), first=first)


def test_now_counts_what_is_seen_and_confirmed() -> None:
    tally = Tally(["car", "bus"])
    tracks = [
        at(0.1, 0.5, id_=1),
        at(0.2, 0.5, id_=2, name="bus"),
        at(0.3, 0.5, id_=3, state=State.NEW),
        at(0.4, 0.5, id_=4, state=State.LOST),
    ]
    tally.update(tracks, [], SIZE)
    counts = tally.counts(tracks, {"road": 0.25})
    assert counts.now == {"car": 1, "bus": 1}
    assert counts.share == {"road": 0.25}


def test_layouts_survive_a_file() -> None:
    layout = Layout((DOWN, Line("Ä, b.c", (0, 0), (1, 1))), (SQUARE,))
    assert Layout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout
    assert Layout.from_dict({}) == Layout()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"lines": [{"name": "a", "a": [0, 0], "b": [0, 0]}]}, "too short"),
        ({"lines": [{"name": "a", "a": [0, 0], "b": [2, 0]}]}, "no point"),
        ({"lines": [{"name": "a", "a": [0, 0], "b": [float("nan"), 0]}]}, "no point"),
        ({"lines": [{"name": "a", "a": [0, 0], "b": "ab"}]}, "no point"),
        ({"lines": [{"name": "a", "a": [True, 0], "b": [1, 1]}]}, "no point"),
        ({"lines": [{"name": " ", "a": [0, 0], "b": [1, 1]}]}, "needs a name"),
        ({"lines": [{"name": "x" * 81, "a": [0, 0], "b": [1, 1]}]}, "needs a name"),
        ({"lines": [{"name": 5, "a": [0, 0], "b": [1, 1]}]}, "needs a name"),
        ({"lines": [{"a": [0, 0], "b": [1, 1]}]}, "lines and zones: expected"),
        ({"lines": 5}, "lines and zones: expected"),
        ([], "lines and zones: expected"),
        ({"zones": [{"name": "z", "corners": [[0, 0], [1, 1]]}]}, "3 to 100 corners"),
        ({"zones": [{"name": "z", "corners": [[0, 0], [0.5, 0], [1, 0]]}]}, "no area"),
        ({"lines": [{"name": "a", "a": [0, 0], "b": [1, 1]}] * 2}, "two lines are called 'a'"),
        ({"lines": [{"name": "a", "a": [0, 0], "b": [1, 1]}] * 51}, "at most 50"),
    ],
)
def test_what_is_no_layout_is_refused(data, message: str) -> None:
    with pytest.raises(TriptychError, match=message):
        Layout.from_dict(data)


@settings(max_examples=50)
@given(points, points)
def test_a_zone_holds_its_inside(point: Point, other: Point) -> None:
    x, y = point
    assert SQUARE.holds(point) == (0.25 <= x < 0.75 and 0.25 <= y < 0.75)
    triangle = Zone("triangle", ((0, 0), (1, 0), (0, 1)))
    assert triangle.holds(other) == (other[0] + other[1] < 1)
