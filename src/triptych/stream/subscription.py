"""Results handed to others, who may be slow, without waiting for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping

from triptych.stream.frames import SourceStatus
from triptych.stream.result import Result

log = logging.getLogger(__name__)


class Subscription:
    """The newest result of each source, for one reader.

    At most one result a source waits here: whoever is slow misses some, and holds up nobody.

    Args:
        callback: called with every result, on a thread of its own; without one, :meth:`get` or
            iterate. What it raises is logged and counted.
        source: only results of this source.
    """

    def __init__(
        self, callback: Callable[[Result], None] | None = None, source: str | None = None
    ) -> None:
        self.source = source
        self.skipped = 0
        """Results that a newer one of the same source replaced before they were taken."""
        self.errors = 0
        """Exceptions of the callback."""
        self.statuses: Mapping[str, SourceStatus] = {}
        """How each source fares, or how it ended: ``statuses[name].phase`` and ``.message``. Noted
        by the pipeline a few times a second."""
        self._arrived = threading.Condition()
        self._waiting: dict[str, Result] = {}  # in the order in which sources began to wait
        self._closed = False
        self._thread: threading.Thread | None = None
        if callback is not None:
            self._thread = threading.Thread(
                target=self._call, args=(callback,), name="subscriber", daemon=True
            )
            self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether no more results will come."""
        return self._closed

    @property
    def waiting(self) -> int:
        """Results that wait to be taken: one for each source at most."""
        return len(self._waiting)

    def offer(self, result: Result) -> None:
        """Take note of a result; the pipeline calls this. Never blocks."""
        if self.source not in (None, result.source):
            return
        with self._arrived:
            if self._closed:
                return
            if result.source in self._waiting:
                self.skipped += 1
            self._waiting[result.source] = result
            self._arrived.notify_all()

    def note(self, statuses: Mapping[str, SourceStatus]) -> None:
        """Take note of how all sources fare; the pipeline calls this. Never blocks."""
        with self._arrived:
            self.statuses = {
                name: status for name, status in statuses.items() if self.source in (None, name)
            }
            self._arrived.notify_all()

    @property
    def over(self) -> bool:
        """Whether the sources have ended, or failed: no result comes unless one is added."""
        return bool(self.statuses) and all(status.over for status in self.statuses.values())

    def get(self, timeout: float | None = None) -> Result | None:
        """Wait for a result: of the source that has waited longest, its newest.

        Returns:
            None when ``timeout`` seconds are over, the subscription is closed or its sources are
            :attr:`over`.
        """
        return self._get(timeout, lambda: self.over)

    def _get(self, timeout: float | None, enough: Callable[[], bool]) -> Result | None:
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting or self._closed or enough(), timeout)
            if not self._waiting:
                return None
            return self._waiting.pop(next(iter(self._waiting)))

    def __iter__(self) -> Iterator[Result]:
        """Results until the sources have ended or the subscription is closed.

        :attr:`statuses` tells how they ended: a film at its end, or what failed.
        """
        while (result := self.get()) is not None:
            yield result

    def close(self, timeout: float = 1.0) -> bool:
        """Take no more results and wait for the callback; what waits is dropped.

        Returns:
            Whether the callback has ended. Nothing can end one that blocks forever: its thread
            is left to itself and does not keep the program from ending.
        """
        with self._arrived:
            self._closed = True
            self._waiting.clear()
            self._arrived.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def __enter__(self) -> Subscription:
        """The subscription itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _call(self, callback: Callable[[Result], None]) -> None:
        # Sources may be added, so that only closing ends this.
        while (result := self._get(None, lambda: False)) is not None:
            try:
                callback(result)
            except Exception:
                self.errors += 1
                if self.errors & (self.errors - 1) == 0:  # 1st, 2nd, 4th, ...: no flood for weeks
                    log.exception("a subscriber failed (%d times so far)", self.errors)
