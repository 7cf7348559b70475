"""From the threads of the pipeline to the pages that are open: draws only what somebody sees."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any

from PIL import Image

from triptych.class_table import ClassTable
from triptych.dashboard.held import read_again
from triptych.dashboard.hub import Hub, Page
from triptych.dashboard.layers import Layers, lay_out
from triptych.dashboard.picture import panel, triptych
from triptych.dashboard.wire import encode_frame, encode_jpeg
from triptych.errors import TriptychError
from triptych.readings.settings import ReadingSettings
from triptych.stream.pipeline import Pipeline
from triptych.stream.result import Result
from triptych.stream.timing import Stopwatch

log = logging.getLogger(__name__)

QUALITY = 82
"""Of the JPEG pictures."""

MAX_VIEWERS = 16
"""MJPEG streams at a time."""


class Live:
    """Shows the results of a pipeline to pages and MJPEG viewers.

    Args:
        pipeline: not closed by this.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.hub = Hub(self._watch, self._note_send)
        self.watches: dict[str, Stopwatch] = defaultdict(Stopwatch)
        """Of each source, the stages draw and send, and the delay from camera to sent."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._viewers: Counter[tuple[str, str]] = Counter()  # by source and panel
        self._pictures: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._drawn = asyncio.Condition()
        self._camera: tuple[object, bytes] = (None, b"")  # the frame compressed last
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin; on the event loop that serves the pages."""
        self._loop = asyncio.get_running_loop()
        self._subscription = self.pipeline.subscribe(self._take)

    def close(self) -> None:
        """Take no more results."""
        self._subscription.close(0.5)

    # --- on the subscriber's thread

    def _take(self, result: Result) -> None:
        assert self._loop is not None
        began = time.monotonic()
        panels = [kind for source, kind in list(self._viewers) if source == result.source]
        watched = result.source in self.hub.watched
        if not (watched or panels):
            return
        layers = lay_out(result)
        if watched:
            message = self._message(result, layers)
            self._loop.call_soon_threadsafe(self.hub.show, result.source, message)
        for kind in panels:
            picture = jpeg(draw(result, layers, kind))
            self._loop.call_soon_threadsafe(self._hang, result, kind, picture)
        now = time.monotonic()
        self.watches[result.source].add("draw", now - began)
        if "decode" in result.timings:  # and not a frame that was read again
            self.watches[result.source].add("delay", now - result.frame.time)

    def _message(self, result: Result, layers: Layers) -> bytes:
        frame, camera = self._camera
        if frame is not result.frame:
            camera = encode_jpeg(result.frame.pixels, QUALITY)
            self._camera = result.frame, camera
        return encode_frame(result, layers, camera)

    # --- on the event loop: pages

    def _note_send(self, source: str, seconds: float) -> None:
        self.watches[source].add("send", seconds)

    def _watch(self, page: Page, source: str | None, held: bool) -> None:
        page.forget()
        if source is not None and source not in self.pipeline.names:
            source = None
        page.source, page.held = source, None
        newest = self.pipeline.latest(source) if source is not None else None
        if newest is not None:
            page.held = newest if held else None
            self._start(self._show(page, newest))

    async def _show(self, page: Page, result: Result) -> None:
        """Draw a frame for one page."""
        message = await asyncio.to_thread(lambda: self._message(result, lay_out(result)))
        held = page.held
        if page.source == result.source and (held is None or held.frame is result.frame):
            page.show(message)

    def read_with(self, readings: ReadingSettings) -> None:
        """Change the thresholds: for the pipeline, and for what paused pages show."""
        self.pipeline.read_with(readings)
        self._read_all_held()

    def regroup(self, table: ClassTable | None) -> None:
        """Change the classes, likewise.

        Raises:
            TriptychError: the table does not fit; nothing has changed.
        """
        self.pipeline.regroup(table)
        self._read_all_held()

    def _read_all_held(self) -> None:
        for page in self.hub.pages:
            if page.held is not None:
                self._start(self._read_held(page, page.held))

    async def _read_held(self, page: Page, held: Result) -> None:
        readings, naming = self.pipeline.readings, self.pipeline.naming
        try:
            again = await asyncio.to_thread(read_again, held, readings, naming)
        except TriptychError as error:
            log.warning("a paused frame could not be read again: %s", error)
            return
        # Others may have moved the thresholds on meanwhile. The page keeps the frame as it was
        # when it paused: what comes back under lower thresholds then has its number again.
        as_wanted = readings == self.pipeline.readings and naming is self.pipeline.naming
        if page.held is held and as_wanted:
            await self._show(page, again)

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._tasks.discard)

    # --- on the event loop: finished pictures

    def _hang(self, result: Result, kind: str, picture: bytes) -> None:
        self._pictures[result.source, kind] = result.revision, picture
        self._start(self._announce())

    async def _announce(self) -> None:
        async with self._drawn:
            self._drawn.notify_all()

    async def picture(self, source: str, kind: str, form: str) -> bytes | None:
        """The newest frame as a picture; None before the first one.

        Raises:
            TriptychError: there is no such source.
        """
        result = self.pipeline.latest(source)
        if result is None:
            return None
        encode = jpeg if form == "jpeg" else png
        return await asyncio.to_thread(lambda: encode(draw(result, lay_out(result), kind)))

    def pictures(self, source: str, kind: str) -> AsyncIterator[bytes]:
        """JPEG pictures of a source as they come; a slow viewer misses some.

        Raises:
            TriptychError: too many look already.
        """
        if self._viewers.total() >= MAX_VIEWERS:
            raise TriptychError(f"{MAX_VIEWERS} picture streams are open; close one first")
        return self._pictures_of(source, kind)

    async def _pictures_of(self, source: str, kind: str) -> AsyncIterator[bytes]:
        key, seen = (source, kind), -1
        self._viewers[key] += 1
        try:
            newest = await self.picture(source, kind, "jpeg")
            while source in self.pipeline.names:
                if newest is not None:
                    yield newest
                picture, seen = await self._next_picture(key, seen)
                # Again if there is no other: browsers show a picture when the next one begins,
                # and a viewer that is gone is noticed by writing to it.
                newest = picture or newest
        finally:
            self._viewers[key] -= 1
            if self._viewers[key] <= 0:
                del self._viewers[key]
                self._pictures.pop(key, None)

    async def _next_picture(self, key: tuple[str, str], seen: int) -> tuple[bytes | None, int]:
        """A picture of another revision than ``seen``; None if none came within a second."""
        try:
            async with asyncio.timeout(1), self._drawn:
                await self._drawn.wait_for(lambda: self._pictures.get(key, (seen,))[0] != seen)
                revision, picture = self._pictures[key]
                return picture, revision
        except TimeoutError:
            return None, seen


def draw(result: Result, layers: Layers, kind: str) -> Image.Image:
    """One of the panels, or all three (``kind`` "all")."""
    return triptych(result, layers) if kind == "all" else panel(result, layers, kind)


def jpeg(picture: Image.Image) -> bytes:
    """As JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def png(picture: Image.Image) -> bytes:
    """As PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
