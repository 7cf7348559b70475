"""Runs the web application until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from triptych.errors import TriptychError

log = logging.getLogger(__name__)

HIGHEST_PORT = 65535
MAX_CONNECTIONS = 128
LARGEST_MESSAGE = 4096
"""Bytes of a WebSocket message from a page; honest ones have below two hundred."""

REQUEST = 10.0
"""Seconds within which a request must be whole, from the connection or its first byte on."""

GRACE = 0.5
"""Seconds for which answers that are under way may go on when the server ends."""


class Protocol(H11Protocol):
    """uvicorn's HTTP with a limit of time for requests: it has one only for the next of them."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, unless the request is whole now."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(error)

    def _watch(self) -> None:
        whole = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        # A WebSocket has another protocol by now, which looks after itself.
        if whole or self.transport.is_closing() or self.transport.get_protocol() is not self:
            self._stop_waiting()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """uvicorn without handlers of its own for signals.

    They would raise the signal once more when it is done, which kills the process before
    recordings and sources are closed.

    Args:
        config: uvicorn's.
        stop: called when the end begins. Pages need a moment to go, and whoever computes for them
            can end within it.
    """

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, within a second or so."""
        self._stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the server."""
        yield

    @contextlib.contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """End at SIGTERM or Ctrl-C while the block runs; in the main thread."""
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Args:
        host: a name or an address, of version 6 without brackets.
        port: 0 takes any that is free.

    Raises:
        TriptychError: the address is not ours, or the port is none, taken or not allowed.
    """
    if not 0 <= port <= HIGHEST_PORT:  # the system would take the last 16 bits of it
        raise TriptychError(f"port is {port}; give 1 to {HIGHEST_PORT}")
    if re.fullmatch(r"[^:]*:\d+", host):
        raise TriptychError(f"{host} is an address with a port; give the port as --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        ours = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise TriptychError(f"cannot listen at {host} port {port}: {error}") from error
    try:
        if sys.platform != "win32":
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(address)
        ours.listen(MAX_CONNECTIONS)
    except OSError as error:
        ours.close()
        raise TriptychError(
            f"cannot listen at {host} port {port}: {error.strerror or error}; choose another --port"
        ) from error
    return ours


def make_server(app: Starlette, stop: Callable[[], None]) -> Server:
    """A server with all its limits; see :class:`Server` for ``stop``."""
    return Server(
        uvicorn.Config(
            app,
            # The plain Python protocols everywhere: their limits are the ones that are tested.
            http=Protocol,
            ws="websockets-sansio",
            loop="asyncio",
            ws_max_size=LARGEST_MESSAGE,
            ws_per_message_deflate=False,  # pictures do not shrink, and it costs half the sending
            ws_ping_interval=20,
            ws_ping_timeout=20,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=16 * 1024,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=GRACE,  # type: ignore[arg-type]
            server_header=False,
            proxy_headers=False,
            access_log=False,
            log_config=None,
            lifespan="on",
        ),
        stop,
    )
