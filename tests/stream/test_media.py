from __future__ import annotations

import builtins
import contextlib
import functools
import http.server
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.stream.videos import damage, write_video
from tests.stream.waiting import eventually

from triptych.errors import TriptychError
from triptych.stream.frames import DropReason, Phase
from triptych.stream.media import still_pictures, video_pictures
from triptych.stream.reader import Mode, Patience, Picture
from triptych.stream.source import Source
from triptych.stream.sources import open_source

pytest.importorskip("av")

QUICK = Patience(stall=0.2, wait=0.01, longest_wait=0.05)


def read(path: Path) -> list[Picture]:
    return list(video_pictures(str(path), path.name))


def levels(pictures: list[Picture]) -> list[int]:
    return [round(float(p.pixels.mean()) / 10) for p in pictures if p.pixels is not None]


def test_every_frame_of_a_video_comes_with_its_time(tmp_path: Path) -> None:
    pictures = read(write_video(tmp_path / "a.mp4", codec="mpeg4"))
    assert levels(pictures) == list(range(20))
    assert [p.media_time for p in pictures] == pytest.approx([i / 10 for i in range(20)])
    first = pictures[0].pixels
    assert first is not None
    assert first.shape == (32, 48, 3)
    assert first.dtype == np.uint8
    assert all(p.decode_seconds > 0 for p in pictures)


def test_a_live_stream_has_no_time_but_the_present(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.m2v", 3)  # an elementary stream does not say its length
    pictures = list(video_pictures(str(path), "camera", live=True))
    assert [p.media_time for p in pictures] == [None] * 3


def test_an_address_that_says_how_long_it_is_is_a_recording(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3, codec="mpeg4")
    pictures = list(video_pictures(str(path), "camera", live=True))
    assert [p.media_time for p in pictures] == pytest.approx([0.0, 0.1, 0.2])


def test_damaged_packets_cost_the_frames_they_hold(tmp_path: Path) -> None:
    pictures = read(damage(write_video(tmp_path / "a.ts", size=(64, 96))))
    broken = sum(p.pixels is None for p in pictures)
    found = levels(pictures)
    assert 0 < broken < len(pictures)
    assert 5 < len(found) < 20
    assert found == sorted(found)
    assert found[-1] == 19  # reading went on to the end


@pytest.mark.parametrize("name", ["a.ts", "a.mkv"])
def test_a_file_cut_off_within_a_frame_is_read_as_far_as_it_goes(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10 + 50])
    found = levels(read(path))
    assert 5 < len(found) < 20
    assert found == list(range(len(found)))


def test_a_change_of_size_within_a_file_goes_through(tmp_path: Path) -> None:
    small, tall = write_video(tmp_path / "a.ts", 10), write_video(tmp_path / "b.ts", 10, (64, 32))
    joined = tmp_path / "c.ts"
    joined.write_bytes(small.read_bytes() + tall.read_bytes())
    pictures = read(joined)
    sizes = [p.pixels.shape[:2] for p in pictures if p.pixels is not None]
    assert sizes == sorted(sizes)
    assert set(sizes) == {(32, 48), (64, 32)}
    times = [p.media_time for p in pictures]
    assert np.diff(np.array(times, float)) == pytest.approx(0.1, abs=0.11)  # the clock goes on
    assert len(set(times)) == len(times)


def test_what_is_no_video_is_said_in_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a video")
    with pytest.raises(TriptychError, match=r"^notes\.txt: cannot be read"):
        read(text)
    with pytest.raises(TriptychError, match=r"absent\.mp4: cannot be read \(No such file"):
        read(tmp_path / "absent.mp4")
    sound = tmp_path / "sound.wav"
    import av

    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(TriptychError, match="holds no video"):
        read(sound)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_av(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(TriptychError, match=r"pip install '\.\[video\]'"):
        read(tmp_path / "a.mp4")


def test_images_are_frames_and_a_broken_one_is_a_broken_frame(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for level, path in enumerate(paths):
        Image.new("RGB", (6, 4), (10 * level,) * 3).save(path)
    paths[1].write_bytes(b"\x89PNG broken")
    pictures = list(still_pictures(paths, rate=5))
    assert [p.media_time for p in pictures] == pytest.approx([0.0, 0.2, 0.4])
    assert pictures[1].pixels is None
    assert levels(pictures) == [0, 2]


class Server:
    """A web camera: each connection gets what ``serve`` writes after a header."""

    def __init__(
        self,
        serve: Callable[[int, socket.socket], None],
        header: bytes = b"200 OK\r\nContent-Type: video/mpeg",
    ) -> None:
        self.connections = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.wfile.write(b"HTTP/1.0 " + header + b"\r\nConnection: close\r\n\r\n")
                server.connections += 1
                serve(server.connections, self.connection)

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.http.server_address[1]}/camera"

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def camera(url: str, timeout: float) -> Source:
    opener: Callable[[], Iterator[Picture]] = functools.partial(
        video_pictures, url, "camera", live=True, timeout=timeout
    )
    return Source(opener, name="camera", mode=Mode.LIVE, patience=QUICK)


def test_a_stream_cut_within_a_frame_is_taken_up_again(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.ts", 20).read_bytes()

    def serve(connection: int, link: socket.socket) -> None:
        link.sendall(data[: len(data) // 2 + 60])

    with Server(serve) as url, camera(url, 20.0) as source:
        eventually(lambda: source.status.connections >= 3, 60)
        eventually(lambda: source.status.phase is Phase.WAITING, 60)
        assert "next try in" in source.status.message
        assert source.status.frames >= 3 * 5


def test_a_stream_that_falls_silent_is_given_up_and_taken_up_again(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.ts", 20).read_bytes()
    release = threading.Event()

    def serve(connection: int, link: socket.socket) -> None:
        link.sendall(data)
        release.wait(30)

    with Server(serve) as url, camera(url, 0.5) as source:
        eventually(lambda: source.status.connections >= 2, 60)
        release.set()
        assert source.close(20.0)


def test_damage_on_the_way_does_not_end_a_stream(tmp_path: Path) -> None:
    data = damage(write_video(tmp_path / "a.ts", 20, (64, 96))).read_bytes()

    def serve(connection: int, link: socket.socket) -> None:
        link.sendall(data)

    with Server(serve) as url, camera(url, 20.0) as source:
        eventually(lambda: source.status.connections >= 1, 60)
        eventually(lambda: source.status.dropped.get(DropReason.BROKEN, 0) > 0, 60)
        assert source.status.frames > source.status.dropped[DropReason.BROKEN]


def test_a_camera_that_is_away_is_waited_for() -> None:
    with socket.socket() as closed:  # bound, so that nobody else gets it, but not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with camera(url, 20.0) as source:
            eventually(lambda: source.status.phase is Phase.WAITING, 60)
            assert "refused" in source.status.message
            began = time.monotonic()
        assert time.monotonic() - began < 10


def test_a_still_picture_is_asked_for_at_a_steady_pace() -> None:
    picture = io.BytesIO()
    Image.new("RGB", (48, 32), "red").save(picture, "JPEG")
    asked: list[float] = []

    def serve(connection: int, link: socket.socket) -> None:
        asked.append(time.monotonic())
        link.sendall(picture.getvalue())

    with Server(serve, b"200 OK\r\nContent-Type: image/jpeg") as url:
        patience = Patience(wait=0.01, longest_wait=30.0, still=0.2)
        with open_source(url, patience=patience) as source:
            eventually(lambda: len(asked) >= 6, 60)
            assert source.status.phase is Phase.RUNNING
            assert source.status.connections == 1
            assert source.status.message == ""
    assert np.diff(asked).min() > 0.15
    assert np.median(np.diff(asked)) < 1


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_wrong_password_is_not_tried_again(status: str) -> None:
    with Server(lambda *_: None, status.encode()) as url, camera(url, 20.0) as source:
        eventually(lambda: source.status.phase is Phase.FAILED, 60)
        assert "check user and password" in source.status.message


def test_a_missing_page_is_tried_again() -> None:
    with Server(lambda *_: None, b"404 Not Found") as url, camera(url, 20.0) as source:
        eventually(lambda: source.status.phase is Phase.WAITING, 60)


def test_a_camera_whose_codec_changes_is_taken_up_again(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.ts", 20, (64, 96), codec="libx264").read_bytes()
    other = write_video(tmp_path / "b.ts", 40, (64, 96), codec="libx265").read_bytes()
    release = threading.Event()

    def serve(connection: int, link: socket.socket) -> None:
        with contextlib.suppress(OSError):
            link.sendall(first + other if connection == 1 else other)
            release.wait(60)

    patience = Patience(wait=0.01, damage=1000.0)
    with Server(serve) as url, open_source(url, patience=patience) as source:
        eventually(lambda: source.status.connections >= 2, 60)
        release.set()


@pytest.mark.parametrize("way", ["redirection", "playlist"])
def test_a_confined_address_leads_nowhere_else(tmp_path: Path, way: str) -> None:
    data = write_video(tmp_path / "a.ts", 20).read_bytes()
    secret = Server(lambda _, link: link.sendall(data))
    with secret as inner:
        if way == "redirection":
            header, body = f"302 Found\r\nLocation: {inner}".encode(), b""
        else:
            header = b"200 OK\r\nContent-Type: application/vnd.apple.mpegurl"
            lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", f"{inner}.ts"]
            body = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
        with Server(lambda _, link: link.sendall(body), header) as outer:
            address = f"{outer}.m3u8"
            over = Phase.WAITING if way == "redirection" else Phase.FAILED
            with open_source(address, confined=True, patience=QUICK) as source:
                eventually(lambda: source.status.phase is over, 60)
            assert secret.connections == 0
            with open_source(address, patience=QUICK) as source:
                eventually(lambda: source.status.frames > 0, 60)
            assert secret.connections > 0
