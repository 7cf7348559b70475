"""End to end: frames a second and glass-to-glass latency of the live page, stage by stage.

    python -m benchmarks.live --size 640x272
    python -m benchmarks.live --size 1280x720 --browser

A camera (MJPEG over HTTP, made from the packaged clip, 25 frames a second) is looked at by
``triptych serve``, a process of its own: first by nobody, then by a page that only reads, and with
``--browser`` by Chromium, which shares the cores. Each time for ``--seconds``.

Latency is from the moment at which the camera hands a picture to the network to the moment at which
the page has it; in the browser, has painted it. The stages are the server's own medians. Two
figures tell what the page costs: the share of draw (label maps, JPEG, message) and send in the sum
of all stages but waiting, and what a frame takes more of processor time than with nobody looking.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.camera import Camera
from benchmarks.served import Page, Served

STAGES = ("decode", "wait", "network", "readings", "track", "draw", "send")
TICK = os.sysconf("SC_CLK_TCK")

WATCH = """
import("/static/js/state.js").then(({ state }) => {
  window.seen = [];
  state.on("frame", () => window.seen.push([state.frame.header.index, Date.now() / 1000]));
})
"""

Seen = Callable[[], list[tuple[int, float]]]
"""Number of each frame that a client got, and when, by ``time.time()``."""


@contextlib.contextmanager
def nobody(url: str) -> Iterator[Seen]:
    yield list


@contextlib.contextmanager
def reader(url: str) -> Iterator[Seen]:
    seen: list[tuple[int, float]] = []
    page = Page(url, note=lambda header: seen.append((header["index"], time.time())))
    try:
        yield lambda: list(seen)
    finally:
        page.close()


@contextlib.contextmanager
def chromium(url: str) -> Iterator[Seen]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.evaluate(WATCH)
        yield lambda: [(index, when) for index, when in page.evaluate("window.seen")]
        browser.close()


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(client: Any, size: tuple[int, int], model: str, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Camera(size, 25) as camera:
        served = Served(camera.url, Path(folder), "--model", model)
        try:
            with client(served.url) as seen:

                def figures() -> dict[str, Any]:
                    (source,) = served.ask("api/status")["sources"]
                    return dict(source)

                while figures()["results"] < 3:
                    time.sleep(0.1)
                time.sleep(1)
                before, began = figures(), time.time()
                used = processor_seconds(served.process.pid)
                time.sleep(seconds)
                after, took = figures(), time.time() - began
                used = processor_seconds(served.process.pid) - used
                got = [(index, when) for index, when in seen() if began <= when <= began + took]
                sent = list(camera.sent)
        finally:
            served.end()
    frames = after["results"] - before["results"]
    return {
        "fps": frames / took,
        "shown": len(got) / took,
        "latency": [when - sent[index] for index, when in got],
        "timings": after["timings"],
        "cpu": used / max(frames, 1),
    }


def line(name: str, found: dict[str, Any], alone: float) -> str:
    stages = [found["timings"].get(stage, 0.0) for stage in STAGES]
    ours = sum(stages[-2:]) / (sum(stages) - found["timings"]["wait"])
    late = sorted(found["latency"])
    delay = "–"
    if late:
        delay = f"{1000 * statistics.median(late):.0f} ({1000 * late[int(0.95 * len(late))]:.0f})"
    more = 1 - alone / found["cpu"]
    return (
        f"| {name} | {found['fps']:.1f} | {found['shown']:.1f} | {delay} | "
        + " | ".join(f"{1000 * seconds:.1f}" for seconds in stages)
        + f" | {100 * ours:.1f} % | {1000 * found['cpu']:.0f} | {100 * more:.0f} % |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="640x272", help="of the camera's pictures")
    parser.add_argument("--model", default="street")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each of the clients")
    parser.add_argument("--browser", action="store_true", help="measure with Chromium as well")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    clients: dict[str, Any] = {"nobody": nobody, "a reader": reader}
    if given.browser:
        clients["Chromium"] = chromium
    print(f"{given.size}, milliseconds; in brackets the 95th percentile")
    print("| who looks | frames/s | shown/s | glass to glass | " + " | ".join(STAGES), end="")
    print(" | draw and send | processor, a frame | more than for nobody |")
    print("|---" * (len(STAGES) + 7) + "|")
    alone = 0.0
    for name, client in clients.items():
        found = measure(client, (width, height), given.model, given.seconds)
        alone = alone or found["cpu"]
        print(line(name, found, alone), flush=True)


if __name__ == "__main__":
    main()
