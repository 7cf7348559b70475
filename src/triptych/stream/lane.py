"""One source on its way through the pipeline, and how it fares."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from triptych.errors import TriptychError
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.stream.frames import DropReason, Frame, Phase, SourceStatus
from triptych.stream.naming import Naming
from triptych.stream.result import Result
from triptych.stream.scene import SourceScene
from triptych.stream.source import Source
from triptych.stream.timing import Stopwatch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """How one source and the work on it fare."""

    status: SourceStatus
    """Its ``dropped`` holds all reasons, those of the pipeline included."""
    fps: float
    """Frames a second that came through, lately."""
    stages: Mapping[str, float]
    """Median seconds by stage, lately; see :attr:`triptych.stream.result.Result.timings`. With
    ``latency``: from the decoded frame to the result."""
    results: int
    """Frames that came through since the start."""
    problem: str
    """What was wrong with the newest frame that the network or a reading failed on; empty once
    one has come through again."""


class Lane:
    """A source, its scene, and the figures of its health.

    Only the pipeline's worker calls the methods; anybody :meth:`health`.
    """

    def __init__(self, source: Source, scene: SourceScene) -> None:
        self.source = source
        self.scene = scene
        self.layout = scene.layout
        """The lines and zones that are wanted; the worker draws them before it reads."""
        self._watch = Stopwatch()
        self._results = self._unread = 0
        self._problem = ""
        self._phase: Phase | None = None

    def health(self) -> Health:
        """How it fares now."""
        status = self.source.status
        if self._unread:
            status = dataclasses.replace(
                status, dropped={**status.dropped, DropReason.UNREAD: self._unread}
            )
        return Health(
            status, self._watch.rate(), self._watch.medians(), self._results, self._problem
        )

    def note_phase(self) -> None:
        """Log what the source does, when that changes."""
        status = self.source.status
        if status.phase is self._phase:
            return
        self._phase = status.phase
        troubled = status.phase in (Phase.STALLED, Phase.WAITING, Phase.FAILED)
        log.log(
            logging.WARNING if troubled else logging.INFO,
            "%s: %s%s",
            self.scene.source,
            status.phase.value,
            f" ({status.message})" if status.message else "",
        )

    def observe(
        self,
        frame: Frame,
        masks: MaskSet | Exception,
        readings: ReadingSettings,
        naming: Naming,
        began: float,
    ) -> Result | None:
        """Read the masks of the next frame; None if that fails, or the network has failed.

        Args:
            frame: it.
            masks: what the network found in it, or why it found nothing.
            readings: thresholds.
            naming: the classes that hold.
            began: ``time.monotonic()`` at which the network began.
        """
        timings = {
            "decode": frame.decode_seconds,
            "wait": began - frame.time,
            "network": time.monotonic() - began,
        }
        try:
            if isinstance(masks, Exception):
                raise masks
            self._draw()
            result = self.scene.observe(frame, masks, readings, timings, naming)
        except Exception as error:
            self._unread += 1
            self._fail(error)
            return None
        self._problem = ""
        self._results += 1
        self._watch.tick()
        for stage, seconds in result.timings.items():
            self._watch.add(stage, seconds)
        self._watch.add("latency", time.monotonic() - frame.time)
        return result

    def reread(self, readings: ReadingSettings, naming: Naming) -> Result | None:
        """Read the newest frame again; None if there is none, or that fails."""
        try:
            self._draw()
            return self.scene.reread(readings, naming)
        except Exception as error:
            self._fail(error)
            return None

    def _draw(self) -> None:
        if self.layout is not self.scene.layout:
            self.scene.draw(self.layout)

    def _fail(self, error: Exception) -> None:
        problem = (str(error).splitlines() or [""])[0] or type(error).__name__
        if problem != self._problem:  # not once a frame
            expected = isinstance(error, TriptychError)
            log.warning("%s: %s", self.scene.source, problem, exc_info=None if expected else error)
        self._problem = problem
