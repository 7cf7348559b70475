"""Firefox without a driver: its own WebDriver BiDi (W3C), over a WebSocket."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect


@contextlib.contextmanager
def started(program: str, profile: Path) -> Iterator[Firefox]:
    """One headless Firefox, with a profile in an empty folder."""
    process = subprocess.Popen(
        [program, "--headless", "--remote-debugging-port", "0", "--profile", str(profile)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # the program may be a script, and has children
    )
    heard: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                heard.put(line)

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    try:
        address = None
        while address is None:
            address = re.search(r"BiDi listening on (ws://\S+)", heard.get(timeout=100))
        with connect(f"{address[1]}/session", max_size=None, proxy=None) as socket:
            yield Firefox(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        listening.join(20)


class Firefox:
    """Its one page.

    Args:
        socket: to its BiDi.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.errors: list[str] = []
        """What went wrong in the page's own scripts."""
        self._socket = socket
        self._number = 0
        self._ask("session.new", capabilities={})
        self._ask("session.subscribe", events=["log.entryAdded"])
        (context, *_) = self._ask("browsingContext.getTree")["contexts"]
        self._context = context["context"]

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("method") == "log.entryAdded":
                entry = answer["params"]
                if entry["level"] == "error":
                    self.errors.append(entry["text"])
            elif answer.get("id") == self._number:
                if answer["type"] != "success":
                    raise RuntimeError(f"{method}: {answer['message']}")
                return answer["result"]

    def open(self, url: str, size: tuple[int, int] = (1280, 800)) -> None:
        """Go to a page and wait until it is there."""
        viewport = {"width": size[0], "height": size[1]}
        self._ask("browsingContext.setViewport", context=self._context, viewport=viewport)
        self._ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def run(self, expression: str) -> Any:
        """The value of a script's expression, which may be awaited: text, number or truth."""
        answer = self._ask(
            "script.evaluate",
            expression=expression,
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key, down and up."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keys", "actions": actions}
        self._ask("input.performActions", context=self._context, actions=[source])

    def screenshot(self) -> bytes:
        """The page as PNG."""
        data = self._ask("browsingContext.captureScreenshot", context=self._context)["data"]
        return base64.b64decode(data)
