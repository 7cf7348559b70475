"""A whole server on a free port, over a stream that the test pushes frame by frame."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.stream.rendered import ExactNetwork, Thing, World

from triptych.dashboard.access import Access
from triptych.dashboard.app import make_app
from triptych.dashboard.desk import Desk, DeskOptions
from triptych.dashboard.server import listen, make_server
from triptych.stream.pipeline import Pipeline
from triptych.stream.reader import Picture
from triptych.stream.source import Source

TOKEN = "a token for the tests, long enough"

STREET = World(
    (
        Thing(1, "car", (-20, 40), (40, 0), (30, 16)),
        Thing(2, "car", (-60, 40), (40, 0), (30, 16)),
        Thing(3, "person", (260, 90), (-40, 0), (14, 24)),
    ),
    size=(120, 240),
)
"""Two cars drive to the right, one behind the other; a person walks to the left."""


class Feed:
    """A reader of frames that gives what is pushed; an exception ends it."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Picture | Exception | None] = queue.Queue()
        self.moment = 0.0

    def open(self) -> Iterator[Picture]:
        while (picture := self._waiting.get()) is not None:
            if isinstance(picture, Exception):
                raise picture
            yield picture

    def push(self, world: World, frames: int, fps: float = 10.0) -> None:
        for _ in range(frames):
            self._waiting.put(Picture(world.pixels(self.moment), self.moment))
            self.moment += 1 / fps

    def fail(self, error: Exception) -> None:
        self._waiting.put(error)

    def end(self) -> None:
        self._waiting.put(None)


class Rig:
    """Pipeline and server, in threads of this process."""

    def __init__(
        self,
        folder: Path,
        *,
        access: Access | None = None,
        network: ExactNetwork | None = None,
        sources: tuple[str, ...] = ("street",),
        port: int = 0,
        **options: Any,
    ) -> None:
        self.access = access or Access()
        self.network = network or ExactNetwork()
        self.pipeline = Pipeline(self.network)
        options = {"recordings": folder / "recordings", "state": folder / "state.json"} | options
        self.desk = Desk(self.pipeline, DeskOptions(**options))
        self.feeds = {name: Feed() for name in sources}
        for name, feed in self.feeds.items():
            source = Source(feed.open, name=name)
            self.pipeline.add(name, source, self.desk.store.layout(name))
        self.socket = listen(self.access.host, port)
        self.port: int = self.socket.getsockname()[1]
        self.server = make_server(make_app(self.desk, self.access), self.pipeline.stop)
        self._thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True
        )

    @property
    def feed(self) -> Feed:
        return self.feeds["street"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Rig:
        self.pipeline.start()
        self._thread.start()
        wait_for(lambda: self.server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not end"
        for feed in self.feeds.values():
            feed.end()
        assert self.pipeline.close(), "the pipeline did not end"
        self.socket.close()

    def run(self, frames: int, world: World = STREET) -> None:
        """Push frames and wait until they are through."""
        done = self.results + frames
        self.feed.push(world, frames)
        wait_for(lambda: self.results >= done)

    @property
    def results(self) -> int:
        return self.pipeline.health("street").results

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (small letters) and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        status, _, found = self.ask(method, path, body)
        assert status < 300, found
        return json.loads(found)


def wait_for(done: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
