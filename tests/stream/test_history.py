from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.stream import history
from triptych.stream.history import Bucket, FrameFigures, History, write_csv, write_json_lines

NOON = 1_767_268_800.0  # 2026-01-01 12:00 UTC


def sample(time: float, cars: float = 1.0, **events: int) -> FrameFigures:
    return FrameFigures(NOON + time, {"count.car": cars}, events)


def test_seconds_are_means_peaks_and_sums() -> None:
    kept = History()
    for index, (time, cars) in enumerate([(0.0, 1), (0.5, 4), (1.1, 2)]):
        kept.add(index, sample(time, cars, entered=index))
    first, second = kept.rolling()
    assert (first.start, first.seconds, first.frames) == (NOON, 1.0, 2)
    assert (first.levels, first.peaks) == ({"count.car": 2.5}, {"count.car": 4})
    assert first.events == {"entered": 1}
    assert (second.start, second.frames, second.events) == (NOON + 1, 1, {"entered": 2})
    assert kept.whole() == [first, second]


def test_a_frame_that_is_read_again_replaces_itself() -> None:
    kept = History()
    kept.add(0, sample(0.0, 1, entered=1))
    kept.add(1, sample(0.5, 5, entered=2))
    assert kept.rolling()[0].peaks == {"count.car": 5}
    kept.add(1, sample(0.5, 3, entered=4))
    kept.add(1, sample(0.5, 2, entered=3))
    for buckets in (kept.rolling(), kept.whole()):
        (bucket,) = buckets
        assert (bucket.frames, bucket.peaks, bucket.events) == (2, {"count.car": 2}, {"entered": 4})


def test_the_window_forgets_by_time() -> None:
    kept = History(window=10)
    for index in range(30):
        kept.add(index, sample(float(index)))
    assert [bucket.start - NOON for bucket in kept.rolling()] == list(range(20, 30))
    kept.add(30, sample(36.0))  # after a pause
    assert [bucket.start - NOON for bucket in kept.rolling()] == [27, 28, 29, 36]
    assert len(kept.whole()) == 31


def test_weeks_fit_into_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_BUCKETS", 16)
    kept = History(window=5)
    for index in range(1000):
        kept.add(index, sample(index / 2, index, entered=1))
        assert len(kept.whole()) <= 17
    whole = kept.whole()
    assert len({bucket.seconds for bucket in whole}) == 1
    assert whole[0].seconds == 32
    assert all(b.start % 32 == 0 and b.seconds == 32 for b in whole)
    assert sum(bucket.frames for bucket in whole) == 1000
    assert sum(bucket.events["entered"] for bucket in whole) == 1000
    assert max(bucket.peaks["count.car"] for bucket in whole) == 999
    mean = sum(bucket.levels["count.car"] * bucket.frames for bucket in whole) / 1000
    assert mean == pytest.approx(499.5)
    assert len(kept.rolling()) == 5


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-5, 100), st.integers(0, 9), st.booleans()), max_size=40),
    st.integers(2, 8),
)
def test_nothing_is_lost_or_counted_twice(frames: list[tuple[float, int, bool]], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "MAX_BUCKETS", most)
        kept, total, newest, time, index = History(), 0, 0, 0.0, 0
        for step, events, again in frames:
            if again:
                newest = events
            else:
                total, newest, time, index = total + newest, events, time + step, index + 1
            kept.add(index, sample(time, 1.0, entered=newest))
        whole = kept.whole()
        assert sum(bucket.events["entered"] for bucket in whole) == total + newest
        starts = [bucket.start for bucket in whole]
        assert starts == sorted(set(starts))  # even if the clock was set back
        assert len(whole) <= most + 1
        assert kept.whole() == whole  # asking changes nothing


def buckets() -> list[Bucket]:
    kept = History()
    kept.add(0, FrameFigures(NOON, {"count.car": 1, "share.road": 0.5}, {"entered.car": 1}))
    kept.add(1, FrameFigures(NOON + 1, {"count.car": 2}, {"line.a,b.forward.car": 3}))
    return kept.rolling()


def test_csv_is_a_table_with_a_column_for_every_figure() -> None:
    file = io.StringIO()
    write_csv(buckets(), file)
    first, second = csv.DictReader(io.StringIO(file.getvalue()))
    assert first == {
        "time": "2026-01-01T12:00:00+00:00",
        "seconds": "1",
        "frames": "1",
        "mean.count.car": "1",
        "peak.count.car": "1",
        "mean.share.road": "0.5",
        "peak.share.road": "0.5",
        "events.entered.car": "1",
        "events.line.a,b.forward.car": "0",
    }
    assert second["mean.share.road"] == ""
    assert second["events.line.a,b.forward.car"] == "3"


def test_json_lines_hold_the_same() -> None:
    file = io.StringIO()
    write_json_lines(buckets(), file)
    first, second = map(json.loads, file.getvalue().splitlines())
    assert first["mean"] == {"count.car": 1, "share.road": 0.5}
    assert first["events"] == {"entered.car": 1}
    assert second["time"] == "2026-01-01T12:00:01+00:00"


def test_nothing_to_write_is_a_header() -> None:
    file = io.StringIO()
    write_csv([], file)
    assert file.getvalue() == "time,seconds,frames\n"
