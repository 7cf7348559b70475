"""The live page for thousands of frames: does anything grow?

    python -m benchmarks.soak --frames 10000 --out soak

Starts ``triptych serve`` on a camera that breaks off within a picture once a minute, with two
pages, one of which takes three seconds over each frame. Every five seconds it notes resident
memory, open files, threads and what waits, into ``samples.jsonl``; ``soak.json`` and ``soak.svg``
are made anew each minute. At the end it records for a moment and sends SIGTERM. Exits with 1 if the
verdict is bad. Ctrl-C ends it early, with what there is by then; the verdict is bad then, for want
of frames.

For more frames in less time, ``--edge`` shrinks the network's input, and ``--size`` the pictures.
Runs on Linux, whose ``/proc`` it reads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
from benchmarks.camera import Camera
from benchmarks.curves import Chart, draw
from benchmarks.served import Page, Served, smaller

EVERY, REPORT = 5.0, 60.0
SLOW = 3.0
"""Seconds that the slow page takes over a frame."""

MEGABYTE = 10**6


@dataclass(frozen=True)
class Check:
    """One part of the verdict."""

    what: str
    value: float
    limit: float
    most: bool = True
    """Whether the limit is the most, or the least."""

    @property
    def good(self) -> bool:
        return self.value <= self.limit if self.most else self.value >= self.limit


def sample(served: Served, pages: dict[str, Page], began: float) -> dict[str, Any]:
    proc = Path(f"/proc/{served.process.pid}")
    lines = (line.split() for line in (proc / "status").read_text().splitlines())
    memory = {words[0].rstrip(":"): int(words[1]) for words in lines if words[0] in KEYS}
    status = served.ask("api/status")
    (source,) = status["sources"]
    return {
        "seconds": round(time.monotonic() - began, 1),
        "frames": source["results"],
        "resident": memory["VmRSS"] * 1024,
        "threads": memory["Threads"],
        "files": len(os.listdir(proc / "fd")),
        "waiting": status["waiting"],
        "connections": source["connections"],
        "dropped": source["dropped"],
        "pages": {name: page.frames for name, page in pages.items()},
        "let_go": status["clients_let_go"],
    }


KEYS = ("VmRSS:", "Threads:")


def verdict(samples: list[dict[str, Any]], wanted: int, ending: dict[str, Any]) -> list[Check]:
    """Compares the last fifth with the second one: the first is for warming up."""
    fifth = max(len(samples) // 5, 1)
    early, late = samples[fifth : 2 * fifth] or samples, samples[-fifth:]

    def growth(key: str) -> float:
        return statistics.median(one[key] for one in late) - statistics.median(
            one[key] for one in early
        )

    last = samples[-1]
    waits = {key: max(one["waiting"][key] for one in samples) for key in last["waiting"]}
    return [
        Check("frames", last["frames"], wanted, most=False),
        Check("growth of resident memory, MB", growth("resident") / MEGABYTE, 16),
        Check("growth of open files", growth("files"), 2),
        Check("growth of threads", growth("threads"), 2),
        Check("frames that waited, at most", waits["frames"], 1),
        Check("results that waited, at most", waits["results"], 1),
        # One frame, and one text of each of the two types, for each page.
        Check("messages that waited, at most", waits["messages"], 3 * len(last["pages"])),
        Check("share of the frames that the quick page got", _share(last), 0.9, most=False),
        Check("pages let go", last["let_go"], 0),
        Check("exit code after SIGTERM", abs(ending["code"]), 0),
        Check("seconds from SIGTERM to the end", ending["seconds"], 2),
        Check("frames in the recording", ending["recorded"], 1, most=False),
    ]


def _share(last: dict[str, Any]) -> float:
    return last["pages"]["quick"] / max(last["frames"], 1)


def finish(served: Served, folder: Path) -> dict[str, Any]:
    """Record for a moment, end the server, and count the frames that can be played."""
    served.ask("api/sources/camera/recording", {"on": True})
    time.sleep(5)
    code, seconds = served.end()
    (path,) = folder.glob("*.mp4")
    with av.open(str(path)) as film:
        recorded = sum(1 for _ in film.decode(video=0))
    return {"code": code, "seconds": round(seconds, 2), "recorded": recorded}


def write(
    out: Path, samples: list[dict[str, Any]], checks: list[Check], about: dict[str, Any]
) -> bool:
    """The report as it is by now; whether the verdict is good."""
    good = all(check.good for check in checks)
    table = [{**vars(check), "good": check.good} for check in checks]
    report = about | {"good": good, "checks": table, "samples": len(samples), "last": samples[-1]}
    (out / "soak.json").write_text(json.dumps(report, indent=1) + "\n")

    def line(key: str, scale: float = 1.0) -> list[float]:
        return [one[key] / scale for one in samples]

    waits = {key: [float(one["waiting"][key]) for one in samples] for key in ENDS}
    charts = [
        Chart("Resident memory, MB", {"server": line("resident", MEGABYTE)}),
        Chart("Open files and threads", {"files": line("files"), "threads": line("threads")}),
        Chart("Waiting, at each sample", waits),
        Chart(
            "Frames that each page got",
            {name: [float(one["pages"][name]) for one in samples] for name in ("quick", "slow")},
        ),
    ]
    (out / "soak.svg").write_text(draw(charts, line("frames"), "frames through the network"))
    return good


ENDS = ("frames", "results", "messages")
UNFINISHED = {"code": 1, "seconds": float("nan"), "recorded": 0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--model", default="street")
    parser.add_argument("--edge", type=int, help="shortest edge of the network's input")
    parser.add_argument("--size", default="640x272", help="of the camera's pictures")
    parser.add_argument("--fps", type=float, default=25.0, help="of the camera")
    parser.add_argument("--out", type=Path, default=Path("out/soak"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    about = {
        "command": "python -m benchmarks.soak " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}",
    }
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    width, height = map(int, given.size.split("x"))
    samples: list[dict[str, Any]] = []
    ending: dict[str, Any] = UNFINISHED
    with (
        tempfile.TemporaryDirectory() as temporary,
        Camera((width, height), given.fps, cut=60) as camera,
        open(given.out / "samples.jsonl", "w", buffering=1) as lines,
    ):
        folder = Path(temporary)
        model = smaller(given.model, given.edge, folder / "model")
        served = Served(camera.url, folder, "--model", model)
        pages = {"quick": Page(served.url), "slow": Page(served.url, SLOW)}
        began = reported = time.monotonic()
        try:
            try:
                while not samples or samples[-1]["frames"] < given.frames:
                    time.sleep(EVERY)
                    samples.append(sample(served, pages, began))
                    lines.write(json.dumps(samples[-1]) + "\n")
                    if time.monotonic() - reported > REPORT:
                        reported = time.monotonic()
                        write(given.out, samples, verdict(samples, given.frames, ending), about)
            except (KeyboardInterrupt, OSError) as error:
                print(f"ended early: {error!r}", file=sys.stderr)
            ending = finish(served, folder)
        finally:
            served.kill()
            for page in pages.values():
                page.close()
    if not samples:
        return 1
    checks = verdict(samples, given.frames, ending)
    good = write(given.out, samples, checks, about)
    for check in checks:
        word = "at most" if check.most else "at least"
        mark = "" if check.good else "  <-- bad"
        print(f"{check.what}: {check.value:.4g} ({word} {check.limit:g}){mark}")
    print("good" if good else "BAD", given.out / "soak.svg")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
