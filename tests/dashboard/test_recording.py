"""Recordings: playable whatever happens, and never in the way of the stream."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from tests.dashboard.rig import STREET, Rig, wait_for
from tests.stream.rendered import World

from triptych.dashboard import recording
from triptych.dashboard.recording import safe

POST = ("POST", "/api/sources/street/recording")
ROOT = Path(__file__).resolve().parents[2]


def frames_of(path: Path) -> list[float]:
    """Times of all frames in a file, which is decoded to its end."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def start(rig: Rig) -> recording.Recording:
    assert rig.json(*POST, {"on": True})["recording"]["running"]
    return rig.desk.recorder._recordings["street"]


def record(rig: Rig, frames: int, world: World = STREET) -> None:
    """Push frames one at a time, so that the recording skips none."""
    running = rig.desk.recorder._recordings["street"]
    for _ in range(frames):
        before = running.frames
        rig.run(1, world)
        wait_for(lambda: running.frames > before or not running.running)  # noqa: B023


def test_a_recording_holds_what_was_shown(rig: Rig) -> None:
    start(rig)
    record(rig, 12)
    (name,) = rig.json(*POST, {"on": False})["files"]
    path = rig.desk.options.recordings / name
    assert name.startswith("street-")
    assert frames_of(path) == pytest.approx([index / 10 for index in range(12)], abs=2e-3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.width > 720
        assert stream.width % 2 == stream.height % 2 == 0
    assert rig.json("GET", "/api/sources/street")["recording"] is None
    assert rig.json(*POST, {"on": False}) == {"files": [], "recording": None}


def test_it_can_be_played_while_it_grows(rig: Rig) -> None:
    running = start(rig)
    record(rig, 60)
    path = running.folder / running.files[0]
    assert 20 <= len(frames_of(path)) < 60  # the last fragment is still open


def test_another_size_begins_another_file(rig: Rig) -> None:
    running = start(rig)
    record(rig, 2)
    record(rig, 2, World(STREET.things, size=(150, 200)))
    rig.json(*POST, {"on": False})
    assert [len(frames_of(running.folder / name)) for name in running.files] == [2, 2]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_ends_the_recording_and_nothing_else(rig: Rig) -> None:
    running = start(rig)
    with disk_of(4096):
        record(rig, 80)
    assert not running.running
    source = rig.json("GET", "/api/sources/street")
    assert source["recording"]["problem"]
    assert source["message"].startswith("recording: ")
    assert source["results"] == 80
    rig.run(3)
    start(rig)  # there is room again
    record(rig, 3)
    (name,) = rig.json(*POST, {"on": False})["files"]
    assert len(frames_of(running.folder / name)) == 3


def test_it_leaves_room_on_the_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MIN_FREE", 2**62)
    status, _, body = rig.ask(*POST, {"on": True})
    assert status == 422
    assert b"stops below" in body


def test_where_recording_is_forbidden(tmp_path: Path) -> None:
    with Rig(tmp_path, recordings=None) as rig:
        assert not rig.json("GET", "/api/model")["can_record"]
        assert rig.ask(*POST, {"on": True})[0] == 422


def test_names_of_files() -> None:
    assert safe("../north gate/1") == "north-gate-1"
    assert safe("...") == "source"


SERVER = """
import sys
from pathlib import Path
from tests.dashboard.rig import STREET, Feed, Rig
from triptych.dashboard.serve import leave, run

Feed.open = lambda self: STREET.pictures(1e6)
rig = Rig(Path(sys.argv[1]))
rig.desk.recorder.start("street")
run(rig.server, rig.pipeline, rig.socket)
leave()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_within_two_seconds_with_the_recording_whole(
    tmp_path: Path, number: int
) -> None:
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT)
    spinning = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spinning) for _ in range(os.cpu_count() or 1)]
    try:
        wait_for(lambda: any(f.stat().st_size > 0 for f in tmp_path.rglob("*.mp4")), 100)
        began = time.monotonic()
        process.send_signal(number)
        process.wait(20)
        took = time.monotonic() - began
    finally:
        for one in (process, *others):
            one.kill()
            one.wait()
    assert process.returncode == 0
    assert took < 2
    (path,) = tmp_path.rglob("*.mp4")
    assert frames_of(path)
