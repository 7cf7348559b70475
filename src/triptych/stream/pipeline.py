"""Many sources, one network: frames in, results out, for as long as it takes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from triptych.class_table import ClassTable
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import load_image
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.stream.frames import Frame
from triptych.stream.history import History
from triptych.stream.lane import Health, Lane
from triptych.stream.layout import Layout
from triptych.stream.naming import Naming
from triptych.stream.reader import Mode
from triptych.stream.result import Result, Settings
from triptych.stream.scene import SourceScene
from triptych.stream.source import Source
from triptych.stream.subscription import Subscription

log = logging.getLogger(__name__)

TICK = 0.25
"""Seconds after which the worker looks at the sources even if nothing rings."""


class Network(Protocol):
    """The part of :class:`triptych.segmenter.Segmenter` that a pipeline needs."""

    classes: Classes
    readings: ReadingSettings
    name: str

    def segment(self, images: Sequence[Tensor]) -> list[MaskSet]:
        """The masks of images, uint8 ``(H, W, 3)``."""


class Pipeline:
    """Segments, reads, follows and counts what several sources show, with one network.

    One worker thread takes the frame that waits at each source, sends them through the network
    together, and hands a :class:`triptych.stream.result.Result` of each to whoever subscribed.
    Memory is bounded: one frame waits at each source, one result at each subscription and source.
    What a source, network or subscriber does wrong is noted, and the others go on.

    All methods may be called from any thread.

    Args:
        network: usually a :class:`triptych.segmenter.Segmenter`.
        settings: see there.
    """

    def __init__(self, network: Network, settings: Settings | None = None) -> None:
        self.network = network
        self.settings = settings or Settings()
        self._readings = self.settings.readings
        self._naming = Naming.of(network.classes, network.readings.things_only)
        self._lock = threading.RLock()  # guards the tables below; held for moments only
        self._lanes: dict[str, Lane] = {}
        self._stale: set[str] = set()  # sources whose newest frame is to be read again
        self._subscriptions: list[Subscription] = []
        self._bell = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; sources that were added before are started now.

        Raises:
            TriptychError: it was started before.
        """
        with self._lock:
            if self._thread is not None or self._closing:
                raise TriptychError("the pipeline was started before; make a new one")
            for lane in self._lanes.values():
                lane.source.start(self._bell)
            self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Begin to end: the part of :meth:`close` that does not wait. No more results come."""
        with self._lock:
            self._closing = True
            lanes, subscriptions = list(self._lanes.values()), list(self._subscriptions)
        self._bell.set()
        for lane in lanes:
            lane.source.stop()
        for subscription in subscriptions:
            subscription.close(0.0)

    def close(self, timeout: float = 5.0) -> bool:
        """End all threads: sources, worker and subscriptions; safe to call again.

        Returns:
            Whether all of them have ended within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        self.stop()  # all, before waiting for any
        with self._lock:
            lanes, subscriptions = list(self._lanes.values()), list(self._subscriptions)
            thread = self._thread

        def left() -> float:
            return max(deadline - time.monotonic(), 0.0)

        ended = [lane.source.close(left()) for lane in lanes]
        if thread is not None and thread is not threading.current_thread():
            thread.join(left())
            ended.append(not thread.is_alive())
        ended += [subscription.close(left()) for subscription in subscriptions]
        return all(ended)

    def __enter__(self) -> Pipeline:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # --- sources

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sources, in the order in which they were added."""
        with self._lock:
            return tuple(self._lanes)

    def add(self, name: str, source: Source, layout: Layout | None = None) -> None:
        """Take in a source; it is started with the pipeline, or now if that runs already.

        Args:
            name: results carry it.
            source: from :func:`triptych.stream.sources.open_source`; closed with the pipeline.
            layout: its lines and zones.

        Raises:
            TriptychError: the name is taken, or the pipeline is closed.
        """
        scene = self._scene(name, layout)
        with self._lock:
            if self._closing:
                raise TriptychError("the pipeline is closed; make a new one")
            if name in self._lanes:
                raise TriptychError(f"there is a source {name!r} already; choose another name")
            if self._thread is not None:
                source.start(self._bell)
            self._lanes[name] = Lane(source, scene)

    def _scene(self, name: str, layout: Layout | None) -> SourceScene:
        how = self.settings
        return SourceScene(
            name, self.countable, tracking=how.tracking, layout=layout, window=how.window
        )

    def remove(self, name: str) -> None:
        """Close a source, which may take two seconds, and forget all about it.

        Raises:
            TriptychError: there is none of that name.
        """
        with self._lock:
            lane = self._lane(name)
            del self._lanes[name]
            self._stale.discard(name)
        lane.source.close()

    def pause(self, name: str) -> None:
        """Let a source stand still: its newest result stays, and can still be read again.

        A file or folder that has not begun yet shows its first frame, and waits there.

        Raises:
            TriptychError: there is none of that name.
        """
        self._lane(name).source.pause()

    def restart(self, name: str) -> None:
        """Begin a file or folder anew, with all counts at 0; lines and zones stay.

        Raises:
            TriptychError: there is none of that name, or it is live.
        """
        with self._lock:
            lane = self._lane(name)
            if lane.source.mode is Mode.LIVE:
                raise TriptychError(f"{name} is live; only files and folders begin anew")
            self._lanes[name] = anew = Lane(lane.source.anew(), self._scene(name, lane.layout))
            if self._thread is not None and not self._closing:
                anew.source.start(self._bell)
        lane.source.stop()  # its thread ends with the picture that it is at

    def resume(self, name: str) -> None:
        """Let a source go on.

        Raises:
            TriptychError: there is none of that name.
        """
        self._lane(name).source.resume()

    def is_film(self, name: str) -> bool:
        """Whether a source is a file or folder, which can begin anew.

        Raises:
            TriptychError: there is none of that name.
        """
        return self._lane(name).source.mode is not Mode.LIVE

    def is_paused(self, name: str) -> bool:
        """Whether a source stands still.

        Raises:
            TriptychError: there is none of that name.
        """
        return self._lane(name).source.paused

    # --- readings and counts

    @property
    def readings(self) -> ReadingSettings:
        """The thresholds."""
        return self._readings

    def read_with(self, readings: ReadingSettings) -> None:
        """Change the thresholds.

        The newest mask set of every source is read again at once, paused or not, without a
        forward pass; subscribers get it as a new result.
        """
        with self._lock:
            self._readings = readings
            self._stale.update(self._lanes)
        self._bell.set()

    @property
    def countable(self) -> tuple[str, ...]:
        """Names of the classes whose objects are followed and counted."""
        return self._naming.countable

    @property
    def naming(self) -> Naming:
        """The classes that hold now."""
        return self._naming

    def regroup(self, table: ClassTable | None) -> None:
        """Go on with other classes: groups of the network's, or (None) those as they are.

        The newest frames are read again at once, as by :meth:`read_with`. Lines, zones and counts
        go on (:mod:`triptych.stream.renaming`); the history keeps the names it has.

        Raises:
            TriptychError: the table does not fit the network's classes; nothing has changed.
        """
        naming = Naming.of(self.network.classes, self.network.readings.things_only, table)
        with self._lock:
            self._naming = naming
            self._stale.update(self._lanes)
        self._bell.set()

    def layout(self, name: str) -> Layout:
        """The lines and zones of a source.

        Raises:
            TriptychError: there is none of that name.
        """
        return self._lane(name).layout

    def draw(self, name: str, layout: Layout) -> None:
        """Change the lines and zones of a source; those that stay as they were go on counting.

        Raises:
            TriptychError: there is none of that name.
        """
        with self._lock:
            self._lane(name).layout = layout
            self._stale.add(name)
        self._bell.set()

    def latest(self, name: str) -> Result | None:
        """The newest result of a source.

        Raises:
            TriptychError: there is none of that name.
        """
        return self._lane(name).scene.latest

    def history(self, name: str) -> History:
        """The figures of a source over time.

        Raises:
            TriptychError: there is none of that name.
        """
        return self._lane(name).scene.history

    def health(self, name: str) -> Health:
        """How a source fares.

        Raises:
            TriptychError: there is none of that name.
        """
        return self._lane(name).health()

    def subscribe(
        self, callback: Callable[[Result], None] | None = None, source: str | None = None
    ) -> Subscription:
        """Get the results from now on; see :class:`triptych.stream.subscription.Subscription`.

        Args:
            callback: called with each result on a thread of its own; without one, take them from
                the subscription.
            source: only of this source.
        """
        subscription = Subscription(callback, source)
        with self._lock:
            # A new list: the worker walks through the old one without the lock.
            kept = [other for other in self._subscriptions if not other.closed]
            self._subscriptions = [*kept, subscription]
            if self._closing:
                subscription.close(0.0)
        return subscription

    @property
    def waiting(self) -> int:
        """Results that wait at all subscriptions together."""
        with self._lock:
            return sum(subscription.waiting for subscription in self._subscriptions)

    def _lane(self, name: str) -> Lane:
        with self._lock:
            if name not in self._lanes:
                raise TriptychError(f"no source {name!r}; there are: {', '.join(self._lanes)}")
            return self._lanes[name]

    # --- the worker

    def _run(self) -> None:
        while not self._closing:
            self._bell.wait(TICK)
            self._bell.clear()
            try:
                self._turn()
            except Exception:  # our own defect: better a gap than a page that stands still
                log.exception("the pipeline stumbled; it goes on")

    def _turn(self) -> None:
        """Do what there is to do: frames that wait, frames to be read again."""
        with self._lock:
            readings, naming, lanes = self._readings, self._naming, dict(self._lanes)
            stale = [lanes[name] for name in lanes if name in self._stale]
            self._stale.clear()
        for lane in stale:
            self._publish(lane.reread(readings, naming))
        waiting = []
        for lane in lanes.values():
            lane.note_phase()
            frame = lane.source.take()
            if frame is not None:
                waiting.append((lane, frame))
        step = self.settings.batch_size
        for start in range(0, len(waiting), step):
            batch = waiting[start : start + step]
            if self._closing:
                return
            began = time.monotonic()
            found = self._segment([frame for _, frame in batch])
            for (lane, frame), masks in zip(batch, found, strict=True):
                self._publish(lane.observe(frame, masks, readings, naming, began))
        with self._lock:
            statuses = {name: lane.source.status for name, lane in self._lanes.items()}
            subscriptions = self._subscriptions
        for subscription in subscriptions:
            subscription.note(statuses)

    def _segment(self, frames: Sequence[Frame]) -> Sequence[MaskSet | Exception]:
        """The masks of each frame, or what went wrong with it alone."""
        try:
            return self.network.segment([load_image(frame.pixels) for frame in frames])
        except Exception as error:
            if len(frames) == 1:
                return [error]
            return [self._segment([frame])[0] for frame in frames]

    def _publish(self, result: Result | None) -> None:
        if result is None:
            return
        with self._lock:
            subscriptions = self._subscriptions
        for subscription in subscriptions:
            subscription.offer(result)
