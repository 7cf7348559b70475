from __future__ import annotations

import pytest

from triptych.stream import timing
from triptych.stream.timing import Stopwatch


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_medians_are_of_the_newest_values() -> None:
    watch = Stopwatch()
    for value in [9.0] * 200 + [1.0] * 61 + [2.0] * 59:
        watch.add("network", value)
    watch.add("decode", 0.5)
    assert watch.medians() == {"network": 1.0, "decode": 0.5}


def test_the_rate_is_of_late(clock: Clock) -> None:
    watch = Stopwatch()
    assert watch.rate() == 0
    for _ in range(100):
        clock.now += 0.1
        watch.tick()
    assert watch.rate() == pytest.approx(10)
    for _ in range(200):
        clock.now += 0.05
        watch.tick()
    assert watch.rate() == pytest.approx(20)


def test_a_slow_stream_has_a_rate_and_one_that_stops_loses_it(clock: Clock) -> None:
    watch = Stopwatch()
    for _ in range(5):
        clock.now += 8.0
        watch.tick()
    assert watch.rate() == pytest.approx(1 / 8)
    clock.now += 80
    assert watch.rate() == pytest.approx(1 / 80)
