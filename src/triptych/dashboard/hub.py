"""The pages that are open: what each wants to see, and what waits to be sent to it.

Everything here runs on the event loop. Nothing waits for a page: of each kind of message only
the newest is kept, and a page that stops reading is let go.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from triptych.stream.result import Result

log = logging.getLogger(__name__)

AHEAD = 2
"""Frames that a page may have been sent without having shown them."""

PATIENCE = 10.0
"""Seconds for which a page may leave what it was sent unread."""

MAX_PAGES = 32

BUSY, PROTOCOL = 1013, 1008
"""Codes with which a WebSocket is closed (RFC 6455, section 7.4)."""


class Page:
    """One open page."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.source: str | None = None
        """What it shows."""
        self.held: Result | None = None
        """The frame at which it is paused; it is read again when thresholds change."""
        self._frame: bytes | None = None
        self._texts: dict[str, str] = {}  # by type, the newest of each
        self._sent = self._seen = 0
        self._stirred = asyncio.Event()
        self._behind_since: float | None = None

    @property
    def waiting(self) -> int:
        """Messages that wait to be sent: one frame and one text of each type at most."""
        return len(self._texts) + (self._frame is not None)

    def show(self, frame: bytes) -> None:
        """Send a frame as soon as the page is ready, unless a newer one comes before."""
        self._frame = frame
        self._stirred.set()

    def forget(self) -> None:
        """Do not send the frame that waits."""
        self._frame = None

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message, unless another of its type comes before."""
        self._texts[message["type"]] = json.dumps(message, allow_nan=False)
        self._stirred.set()

    def acknowledge(self, seen: int) -> None:
        """Note how many frames the page has dealt with."""
        self._seen = min(max(seen, self._seen), self._sent)
        self._stirred.set()

    async def send(self, note: Callable[[str, float], None]) -> None:
        """Send what is to be sent, until the page is gone.

        Args:
            note: told the source and the seconds that sending a frame of it took.

        Raises:
            TimeoutError: the page reads no more.
        """
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            while self._texts:
                text = self._texts.pop(next(iter(self._texts)))
                await asyncio.wait_for(self.socket.send_text(text), PATIENCE)
            if self._sent - self._seen >= AHEAD:
                self._check()
            elif self._frame is not None:
                frame, self._frame = self._frame, None
                self._behind_since = None
                began = time.monotonic()
                await asyncio.wait_for(self.socket.send_bytes(frame), PATIENCE)
                if self.source is not None:
                    note(self.source, time.monotonic() - began)
                self._sent += 1
                self._stirred.set()

    def _check(self) -> None:
        now = time.monotonic()
        if self._behind_since is None:
            self._behind_since = now
        elif now - self._behind_since > PATIENCE:
            raise TimeoutError


class Hub:
    """All open pages.

    Args:
        watch: called when a page wants another source, or pauses; sends it the frame.
        note: told the source and the seconds whenever a frame was sent.
    """

    def __init__(
        self,
        watch: Callable[[Page, str | None, bool], None],
        note: Callable[[str, float], None],
    ) -> None:
        self.pages: set[Page] = set()
        self.refused = 0
        """Pages that were turned away because there were too many."""
        self.let_go = 0
        """Pages that had stopped reading."""
        self._watch = watch
        self._note = note

    @property
    def watched(self) -> set[str]:
        """Sources of which somebody wants the newest frame. May be asked from any thread."""
        return {page.source for page in tuple(self.pages) if page.source and page.held is None}

    @property
    def waiting(self) -> int:
        """Messages that wait to be sent to all pages together."""
        return sum(page.waiting for page in self.pages)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to every page."""
        for page in self.pages:
            page.tell(message)

    def show(self, source: str, frame: bytes) -> None:
        """Send a frame to every page that shows the source and is not paused."""
        for page in self.pages:
            if page.source == source and page.held is None:
                page.show(frame)

    async def serve(self, socket: WebSocket, greeting: dict[str, Any]) -> None:
        """Talk to a page until it goes."""
        await socket.accept()
        if len(self.pages) >= MAX_PAGES:
            self.refused += 1
            await socket.close(BUSY, "too many pages are open")
            return
        page = Page(socket)
        page.tell(greeting)
        self.pages.add(page)
        sending = asyncio.create_task(page.send(self._note))
        listening = asyncio.create_task(self._listen(page))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and isinstance(sending.exception(), TimeoutError):
                self.let_go += 1
                log.warning("a page that read no more was let go")
                await self._close(page, BUSY, "the page reads too slowly")
        finally:
            self.pages.discard(page)
            for task in (sending, listening):
                task.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)

    async def _listen(self, page: Page) -> None:
        while True:
            try:
                message = json.loads(await page.socket.receive_text())
                self._obey(page, message)
            except WebSocketDisconnect:
                return
            except (ValueError, TypeError, KeyError, RecursionError):
                await self._close(page, PROTOCOL, "not understood")
                return

    def _obey(self, page: Page, message: Any) -> None:
        if "seen" in message:
            page.acknowledge(int(message["seen"]))
        else:
            source = message["watch"]
            if source is not None and not isinstance(source, str):
                raise TypeError
            self._watch(page, source, bool(message.get("held")))

    async def _close(self, page: Page, code: int, reason: str) -> None:
        if page.socket.application_state is WebSocketState.CONNECTED:
            try:
                await asyncio.wait_for(page.socket.close(code, reason), 1)
            except (TimeoutError, RuntimeError, WebSocketDisconnect):
                log.debug("a page went before it could be told why")
