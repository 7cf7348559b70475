"""Reasons to stop between two steps: a signal, or the time limit."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TIME_IS_UP = 1
"""Reason to stop that is not a signal (1 is SIGHUP, which is not caught)."""


class StopRequest:
    """Catches SIGINT and SIGTERM inside a ``with`` block, and watches the clock.

    The first signal is noted, for the loop to act on after its step; a second one finds Python's
    own handlers again and ends the process at once.
    """

    def __init__(self, minutes: float | None) -> None:
        self.signal: int | None = None
        self._deadline = None if minutes is None else time.monotonic() + minutes * 60
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        # Python delivers signals to the main thread only; elsewhere the caller handles them.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    @property
    def reason(self) -> int:
        """Why this process wants to stop: a signal's number, :data:`TIME_IS_UP`, or 0 for not."""
        if self.signal is not None:
            return self.signal
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return TIME_IS_UP if late else 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}
