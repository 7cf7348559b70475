"""``triptych serve`` as a process of its own, and pages that look at it, for benchmarks."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import triptych


def smaller(model: str, edge: int | None, folder: Path) -> str:
    """A checkpoint whose pictures are resized to a shortest edge of ``edge`` pixels."""
    if edge is None:
        return model
    segmenter = triptych.load(model)
    segmenter.preprocess = dataclasses.replace(segmenter.preprocess, shortest_edge=edge)
    segmenter.save(folder)
    return str(folder)


class Served:
    """The command at work.

    Args:
        source: what it looks at.
        folder: gets its state, its recordings and its log.
        options: further arguments.
    """

    def __init__(self, source: str, folder: Path, *options: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "triptych", "serve", f"camera={source}", "--port", "0"]
        command += ["--state", str(folder / "state.json"), "--recordings", str(folder), *options]
        self._log = open(folder / "serve.log", "w")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://\S+", said)
        if found is None:
            raise SystemExit(f"it did not start; see {folder / 'serve.log'}")
        self.url = found[0]

    def ask(self, path: str, body: Any = None) -> Any:
        """An answer of the API; with a body, a POST."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def end(self) -> tuple[int, float]:
        """SIGTERM: the exit code, and the seconds until the process was gone."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.kill()
        return self.process.returncode, time.monotonic() - began

    def kill(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        self._log.close()


class Page:
    """Looks at a source as the page does, on a thread of its own; connects again if need be.

    Args:
        url: of the server.
        pause: seconds that it takes over a frame before it says that it has seen it.
        note: called with the header of each frame.
    """

    def __init__(
        self,
        url: str,
        pause: float = 0.0,
        note: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self.frames = self.connections = 0
        self._address = "ws" + url.removeprefix("http") + "ws"
        self._pause, self._note = pause, note
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Go."""
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(OSError, ConnectionClosed, TimeoutError):
                self._look()
            self._ended.wait(0.5)

    def _look(self) -> None:
        with connect(self._address, max_size=None, compression=None, ping_interval=None) as socket:
            self.connections += 1
            socket.send('{"watch": "camera"}')
            seen = 0
            while not self._ended.is_set():
                try:
                    message = socket.recv(timeout=1)
                except TimeoutError:
                    continue
                if isinstance(message, bytes):
                    seen += 1
                    self.frames += 1
                    self._note(json.loads(message[8 : 8 + struct.unpack("<I", message[4:8])[0]]))
                    self._ended.wait(self._pause)
                    socket.send(json.dumps({"seen": seen}))
