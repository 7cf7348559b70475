"""A source at work: its own thread, the newest frame, and patience with what breaks."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from triptych.errors import TriptychError
from triptych.stream.frames import DropReason, Frame, Phase, SourceStatus
from triptych.stream.reader import Hopeless, Mode, Opener, Patience, Picture

log = logging.getLogger(__name__)


@dataclass
class _End:
    """How one connection went."""

    recording: bool = False
    good: bool = False
    """Whether a picture came."""
    pictures: int = 0
    """Damaged ones too."""
    problem: str = ""
    hopeless: bool = False

    @property
    def is_still(self) -> bool:
        """Whether it is a camera that gives a single picture to whoever asks."""
        return self.good and self.pictures == 1 and not self.problem


class Source:
    """Pictures from one place. Its thread runs from :meth:`start` to the end, or :meth:`close`.

    Memory is bounded: one frame waits to be taken and one is being made.

    Args:
        opener: begins to read.
        name: for messages and threads; without passwords.
        mode: what happens to frames that come too fast.
        loop: start a recording again at its end.
        patience: see there.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        name: str,
        mode: Mode = Mode.LOSSLESS,
        loop: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self.mode = mode
        self._opener = opener
        self._loop = loop
        self._patience = patience or Patience()
        self._changed = threading.Condition()  # guards all that follows
        self._thread: threading.Thread | None = None
        self._bell: threading.Event | None = None
        self._closing = False
        self._paused = False
        self._waiting: Frame | None = None
        self._phase, self._message, self._since = Phase.CONNECTING, "", time.monotonic()
        self._size: tuple[int, int] | None = None
        self._frames = self._connections = 0
        self._dropped: Counter[str] = Counter()
        self._newest = 0.0  # when the newest good picture came
        self._clock = 0.0  # monotonic time minus media time of a paced recording
        self._offset = self._media_end = 0.0  # media time of earlier rounds of a loop
        self._anew = False  # whether the next frame begins a round

    def start(self, bell: threading.Event | None = None) -> None:
        """Begin to read.

        Args:
            bell: set whenever a frame waits, or the phase has changed.

        Raises:
            TriptychError: it was started before.
        """
        with self._changed:
            if self._thread is not None or self._closing:
                raise TriptychError(f"{self.name}: was started before; open the source anew")
            self._bell = bell
            self._thread = threading.Thread(
                target=self._run, name=f"source {self.name}", daemon=True
            )
            self._thread.start()

    def take(self) -> Frame | None:
        """The frame that waits, or None. Never blocks."""
        with self._changed:
            if not self._ready:
                return None
            frame, self._waiting = self._waiting, None
            if frame is not None:
                self._changed.notify_all()
            return frame

    def __iter__(self) -> Iterator[Frame]:
        """Start if need be, and give frames until the source has ended, failed or is closed."""
        if self._thread is None:
            self.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._ready)
                if not self._ready:
                    return
                frame, self._waiting = self._waiting, None
                self._changed.notify_all()
            assert frame is not None
            yield frame

    @property
    def _ready(self) -> bool:
        return self._waiting is not None and (not self._paused or self._begins)

    @property
    def _begins(self) -> bool:
        """Whether the first frame of a recording waits, which is shown even while it is paused."""
        return self.mode is not Mode.LIVE and self._waiting is not None and not self._waiting.index

    @property
    def _over(self) -> bool:
        ended = self._phase in (Phase.ENDED, Phase.FAILED, Phase.CLOSED)
        return self._closing or (ended and self._waiting is None)

    @property
    def status(self) -> SourceStatus:
        """How it fares now."""
        with self._changed:
            phase, message, since = self._phase, self._message, self._since
            quiet = time.monotonic() - self._newest
            if self._paused and phase is Phase.RUNNING:
                phase = Phase.PAUSED
            elif self.mode is Mode.LIVE and phase is Phase.RUNNING and quiet > self._patience.stall:
                phase, since = Phase.STALLED, self._newest + self._patience.stall
                message = f"no picture for {quiet:.0f} s"
            return SourceStatus(
                phase,
                message,
                since,
                self._size,
                self._frames,
                dict(self._dropped),
                self._connections,
                int(self._waiting is not None),
            )

    @property
    def paused(self) -> bool:
        """Whether it is paused: a recording stands still, a live source goes on unseen."""
        return self._paused

    def anew(self) -> Source:
        """The same source, not started yet."""
        return Source(
            self._opener,
            name=self.name,
            mode=self.mode,
            loop=self._loop,
            patience=self._patience,
        )

    def pause(self) -> None:
        """Give no more frames until :meth:`resume`; of a recording, none after its first."""
        with self._changed:
            self._paused = True
            self._since = time.monotonic()
            if self.mode is Mode.LIVE and self._waiting is not None:
                self._waiting = None
                self._dropped[DropReason.PAUSED] += 1

    def resume(self) -> None:
        """Go on: a recording from where it stood, a live source with the present."""
        with self._changed:
            self._paused = False
            self._since = self._newest = time.monotonic()
            self._changed.notify_all()
        self._ring()

    def stop(self) -> None:
        """Begin to end: the part of :meth:`close` that does not wait."""
        with self._changed:
            self._closing = True
            self._waiting = None
        self._enter(Phase.CLOSED)

    def close(self, timeout: float = 2.0) -> bool:
        """End the thread and wait for it; safe to call again.

        Returns:
            Whether it has ended. FFmpeg cannot be woken while it waits for a network or a
            camera; the thread then ends by itself when that wait runs out.
        """
        self.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            if thread.is_alive():
                log.warning("%s: still waits for data; left to end by itself", self.name)
                return False
        return True

    def __enter__(self) -> Source:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.set()

    def _enter(self, phase: Phase, message: str = "") -> None:
        with self._changed:
            if self._phase is Phase.CLOSED:
                return
            if (phase, message) != (self._phase, self._message):
                self._phase, self._message, self._since = phase, message, time.monotonic()
            self._changed.notify_all()
        self._ring()

    def _run(self) -> None:
        wait = self._patience.wait
        again = False  # another round of a loop or of a still picture, which is no news to anybody
        while not self._closing:
            if not again:
                self._enter(Phase.CONNECTING, self._message)  # what was wrong stays to be read
            began = time.monotonic()
            end = self._read(counts=not again or self._loop)
            if self._closing:
                break
            live = self.mode is Mode.LIVE and not end.recording
            again = end.is_still if live else self._loop and end.good and not end.problem
            if again and live:
                wait = self._patience.wait
                self._rest(self._patience.still)
            elif again:
                self._offset, self._anew = self._media_end, True
            elif not live or end.hopeless:
                failed = end.hopeless or not end.good
                self._enter(Phase.FAILED if failed else Phase.ENDED, end.problem)
                return
            else:
                # A connection that comes up only to break at once must not reset the wait.
                if end.good and time.monotonic() - began > 2 * self._patience.wait:
                    wait = self._patience.wait
                problem = end.problem or "the stream ended"
                self._enter(Phase.WAITING, f"{problem}; next try in {wait:g} s")
                self._rest(wait)
                wait = min(2 * wait, self._patience.longest_wait)

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def _read(self, counts: bool) -> _End:
        """One connection, from its beginning to its end.

        Args:
            counts: whether it is a further connection, and not the next look at a still picture.
        """
        end = _End()
        pictures: Iterator[Picture] = iter(())
        try:
            pictures = self._opener()
            last_good = time.monotonic()
            for picture in pictures:
                now = time.monotonic()
                end.pictures += 1
                if picture.pixels is None:
                    with self._changed:
                        self._frames += 1
                        self._dropped[DropReason.BROKEN] += 1
                    if self.mode is Mode.LIVE and now - last_good > self._patience.damage:
                        end.problem = "nothing but damaged pictures"
                        return end
                else:
                    last_good = now
                    end.recording = picture.media_time is not None
                    if not end.good:
                        end.good = True
                        self._connected(picture.media_time, now, counts)
                    self._hand_over(picture, picture.pixels)
                if self._closing:
                    break
            else:
                end.problem = "" if end.good else "holds no picture"
        except TriptychError as error:
            end.problem, end.hopeless = str(error), isinstance(error, Hopeless)
        except Exception as error:  # a reader's own defect must not end the thread unseen
            log.exception("%s: reading failed", self.name)
            end.problem = f"{type(error).__name__}: {error}".splitlines()[0]
        finally:
            with contextlib.suppress(Exception):  # what is lost already may fail to close
                getattr(pictures, "close", lambda: None)()
        return end

    def _connected(self, media_time: float | None, now: float, counts: bool) -> None:
        with self._changed:
            self._connections += counts
            self._newest = now
            self._clock = now - (media_time or 0.0)
        self._enter(Phase.RUNNING)

    def _hand_over(self, picture: Picture, pixels: np.ndarray) -> None:
        """Make the picture the frame that waits, when its time has come."""
        with self._changed:
            if picture.media_time is not None:
                if self._frames:
                    self._stand_still_while_paused()
                if self.mode is not Mode.LOSSLESS:
                    self._keep_pace(picture.media_time)
            if self.mode is Mode.LOSSLESS:
                self._changed.wait_for(lambda: self._waiting is None or self._closing)
            if self._closing:
                return
            media_time = picture.media_time
            if media_time is not None:
                media_time = self._media_end = max(self._offset + media_time, self._media_end)
            now = self._newest = time.monotonic()
            anew = self._anew or (self._waiting is not None and self._waiting.anew)
            self._anew = False
            spent = picture.decode_seconds
            frame = Frame(pixels, self._frames, now, media_time, spent, anew)
            self._frames += 1
            self._size = frame.size
            if self._paused and picture.media_time is None:
                self._dropped[DropReason.PAUSED] += 1
                return
            if self._waiting is not None:
                self._dropped[DropReason.BUSY] += 1
            self._waiting = frame
            self._changed.notify_all()
        self._ring()

    def _stand_still_while_paused(self) -> None:
        if self._paused:
            stopped = time.monotonic()
            self._changed.wait_for(lambda: not self._paused or self._closing)
            self._clock += time.monotonic() - stopped

    def _keep_pace(self, media_time: float) -> None:
        """Wait until a picture of a recording is due."""
        ahead = self._clock + media_time - time.monotonic()
        if not -0.5 < ahead < 5.0:
            # Far behind (a slow disk, a suspended machine), or a leap in the recording's clock:
            # go on from here rather than race, or wait, until the two agree.
            self._clock -= ahead
        elif ahead > 0:
            self._changed.wait_for(lambda: self._closing or self._paused, ahead)
            self._stand_still_while_paused()
