from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import TriptychError
from triptych.stream.counting import Tally
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


def walk(tally: Tally, points: Sequence[Point], id_: int = 1) -> Counter[str]:
    events: Counter[str] = Counter()
    for moment, (x, y) in enumerate(points):
        events += tally.update([at(x, y, moment, id_)], [], SIZE)
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
    walk(tally, [(0.45 + 0.001 * step, 0.5) for step in range(100)])
    assert line_counts(tally) == (0, 1)


def test_trembling_on_the_line_counts_once_at_most() -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    walk(tally, [(0.3, 0.5), *[(0.5 + 0.004 * (-1) ** k, 0.5) for k in range(50)], (0.7, 0.5)])
    assert line_counts(tally) == (0, 1)


def test_out_of_sight_on_the_line_counts_when_seen_again() -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    tally.update([at(0.3, 0.5)], [], SIZE)
    tally.update([at(0.6, 0.5, state=State.LOST)], [], SIZE)
    assert line_counts(tally) == (0, 0)  # where it should be by now is no evidence
    tally.update([at(0.7, 0.5)], [], SIZE)
    assert line_counts(tally) == (0, 1)


def test_a_crossing_before_it_is_confirmed_counts_then() -> None:
    tally = Tally(["car"], Layout((DOWN,)))
    tally.update([at(0.45, 0.5, state=State.NEW)], [], SIZE)
    tally.update([at(0.55, 0.5, state=State.NEW)], [], SIZE)
    assert line_counts(tally) == (0, 0)
    tally.update([at(0.65, 0.5)], [], SIZE)
    assert line_counts(tally) == (0, 1)


def test_a_zone_is_entered_left_and_stayed_in() -> None:
    tally = Tally(["car", "bus"], Layout(zones=(SQUARE,)))
    events = walk(tally, [(0.1, 0.5), (0.4, 0.5), (0.6, 0.5), (0.9, 0.5), (0.5, 0.5)])
    zone = tally.counts([], {}).zones["square"]
    assert zone.entered == {"car": 2, "bus": 0}
    assert zone.left == {"car": 1, "bus": 0}
    assert zone.inside == {"car": 1, "bus": 0}
    assert zone.dwell == {"car": 2.0}  # from second 1 to second 3
    assert events["zone.square.entered.car"] == 2
    assert events["zone.square.left.car"] == 1


def test_who_vanishes_inside_has_left_when_last_seen() -> None:
    tally = Tally(["car"], Layout(zones=(SQUARE,)))
    tally.update([at(0.5, 0.5, 10.0)], [], SIZE)
    tally.update([at(0.5, 0.5, 12.0, state=State.LOST)], [], SIZE)
    assert tally.counts([], {}).zones["square"].inside == {"car": 1}
    tally.update([], [at(0.5, 0.5, 12.0)], SIZE)
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
    for moment, frame in enumerate(history):
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
