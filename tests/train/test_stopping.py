from __future__ import annotations

import signal
import threading

import pytest

from triptych.train.stopping import TIME_IS_UP, StopRequest


def test_first_signal_is_noted_and_the_second_ends_at_once():
    with StopRequest(None) as stop:
        assert stop.reason == 0
        signal.raise_signal(signal.SIGINT)
        assert stop.reason == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest(None):
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_time_limit():
    with StopRequest(60) as late, StopRequest(1e-9) as now:
        assert late.reason == 0
        assert now.reason == TIME_IS_UP


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with StopRequest(None) as stop:
            seen.append((signal.getsignal(signal.SIGTERM), stop.reason))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, 0)]
