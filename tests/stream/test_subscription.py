from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest
from tests.stream.waiting import eventually

from triptych.stream.result import Result
from triptych.stream.subscription import Subscription


class Stub:
    """As much of a result as a subscription looks at."""

    def __init__(self, source: str, revision: int) -> None:
        self.source, self.revision = source, revision


def result(source: str, revision: int) -> Result:
    return cast(Result, Stub(source, revision))


def pair(found: Any) -> tuple[str, int]:
    return found.source, found.revision


def test_the_newest_result_of_each_source_waits() -> None:
    subscription = Subscription()
    for revision in range(5):
        subscription.offer(result("a", revision))
    subscription.offer(result("b", 0))
    assert pair(subscription.get()) == ("a", 4)
    subscription.offer(result("a", 5))
    assert pair(subscription.get()) == ("b", 0)  # it has waited longer
    assert pair(subscription.get()) == ("a", 5)
    assert subscription.skipped == 4


def test_one_source_may_be_asked_for() -> None:
    subscription = Subscription(source="b")
    subscription.offer(result("a", 1))
    subscription.offer(result("b", 2))
    assert pair(subscription.get()) == ("b", 2)
    assert subscription.get(timeout=0.0) is None


def test_waiting_ends_with_the_subscription() -> None:
    subscription = Subscription()
    assert subscription.get(timeout=0.01) is None
    found: list[Result] = []
    reader = threading.Thread(target=lambda: found.extend(subscription))
    reader.start()
    subscription.offer(result("a", 1))
    eventually(lambda: found)
    subscription.close()
    reader.join(10)
    assert not reader.is_alive()
    subscription.offer(result("a", 2))
    assert subscription.get(timeout=0.0) is None
    assert len(found) == 1


def test_a_callback_has_a_thread_of_its_own() -> None:
    seen: list[tuple[str, int]] = []
    threads: set[int] = set()

    def callback(found: Result) -> None:
        seen.append(pair(found))
        threads.add(threading.get_ident())

    with Subscription(callback) as subscription:
        for revision in range(3):
            subscription.offer(result("a", revision))
            eventually(lambda: seen and seen[-1] == ("a", revision))  # noqa: B023
    assert threads.isdisjoint({threading.get_ident()})
    assert len(threads) == 1


def test_a_callback_that_raises_is_called_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def callback(found: Result) -> None:
        calls.append(found.revision)
        raise ValueError("no paint left")

    subscription = Subscription(callback)
    for revision in range(9):
        subscription.offer(result("a", revision))
        eventually(lambda: len(calls) == revision + 1)  # noqa: B023
    assert subscription.close(10.0)
    assert subscription.errors == 9
    assert caplog.text.count("a subscriber failed") == 4  # at the 1st, 2nd, 4th and 8th


def test_a_callback_that_blocks_holds_up_nobody() -> None:
    release = threading.Event()

    def blocks(_: Result) -> None:
        release.wait(60)

    subscription = Subscription(blocks)
    subscription.offer(result("a", 0))
    eventually(lambda: not subscription._waiting)
    began = time.monotonic()
    for revision in range(1, 1001):
        subscription.offer(result("a", revision))
    assert time.monotonic() - began < 10
    assert subscription.skipped == 999
    assert not subscription.close(0.01)
    release.set()
    assert subscription.close(10.0)
