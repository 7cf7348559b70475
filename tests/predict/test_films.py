"""A run over a video: whole, damaged, broken off, interrupted, and done before."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from tests.stream.videos import damage, write_video
from tests.tiny_model import ColourModel, colour_segmenter, tiny_segformer

import triptych.predict.films
from triptych.commands.cli import main
from triptych.errors import TriptychError
from triptych.image.find import ImageFile, find_images, is_video
from triptych.predict.films import FilmRun
from triptych.predict.run import ImageResult
from triptych.readings.settings import ReadingSettings
from triptych.stream.media import video_pictures
from triptych.windows.layout import Windows

av = pytest.importorskip("av")

FILES = {"v.overlay.mp4", "v.jsonl", "v.json"}


def coloured(path: Path, colours: str, size: tuple[int, int] = (48, 64)) -> Path:
    """A frame of each of ``colours`` (r, g, b), 10 a second: the tiny network tells them apart."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p"
        for colour in colours:
            pixels = np.zeros((*size, 3), np.uint8)
            pixels[:, : size[1] // 2, "rgb".index(colour)] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def run(
    path: Path, out: Path, segmenter: Any = None, **options: Any
) -> tuple[ImageResult, list[int]]:
    source = ImageFile(path, PurePath("v"))
    film = FilmRun(segmenter or colour_segmenter(), source, out, ReadingSettings(), **options)
    done = list(film.frames())
    assert film.outcome is not None
    return film.outcome, done


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "v.jsonl").read_text().splitlines()]


def decoded(lengths: dict[str, Any]) -> np.ndarray:
    with warnings.catch_warnings(action="ignore"):  # pycocotools, of numpy
        return coco.decode(lengths).astype(bool)


def files(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def test_a_line_and_a_picture_for_each_frame(tmp_path: Path) -> None:
    path, out = coloured(tmp_path / "a.mp4", "rrg"), tmp_path / "out"
    outcome, done = run(path, out)
    assert (outcome.state, done) == ("done", [0, 1, 2])
    assert outcome.objects == {"red": 1, "green": 1}
    assert files(out) == FILES
    told = lines(out)
    assert [line["frame"] for line in told] == [0, 1, 2]
    assert [line["time"] for line in told] == pytest.approx([0, 0.1, 0.2])
    names = [[i["class"] for i in line["instances"]] for line in told]
    assert names == [["red"], ["red"], ["green"]]
    left = np.zeros((48, 64), bool)
    left[:, :32] = True
    for line in told:
        assert line["size"] == {"height": 48, "width": 64}
        for found in (line["instances"][0], line["segments"][0]):
            mask = decoded(found["segmentation"])
            assert (mask == left).mean() > 0.9
            assert mask.sum() == found.get("area", mask.sum())
    whole = json.loads((out / "v.json").read_text())
    assert (whole["format"], whole["image"]) == ("triptych-video-prediction", "../a.mp4")
    assert (whole["frames"], whole["damaged"]) == (3, 0)
    assert whole["objects"] == {
        "red": {"most": 1, "frames": 2},
        "green": {"most": 1, "frames": 1},
    }
    with av.open(str(out / "v.overlay.mp4")) as film:
        frames = list(film.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2], abs=0.01)
    assert frames[0].width > 3 * 64


def test_batches_and_windows_change_nothing_of_importance(tmp_path: Path) -> None:
    path = coloured(tmp_path / "a.mp4", "rgbrg")
    run(path, tmp_path / "single")
    outcome, done = run(path, tmp_path / "batch", batch_size=3)
    assert (outcome.state, done) == ("done", [0, 1, 2, 3, 4])
    assert lines(tmp_path / "batch") == lines(tmp_path / "single")
    run(path, tmp_path / "windows", windows=Windows(48, 8))
    assert [len(line["instances"]) for line in lines(tmp_path / "windows")] == [1, 1, 0, 1, 1]


def test_a_rerun_skips_what_is_finished(tmp_path: Path) -> None:
    path, out = coloured(tmp_path / "a.mp4", "rg"), tmp_path / "out"
    run(path, out)
    before = {file: (out / file).stat().st_mtime_ns for file in FILES}
    segmenter = colour_segmenter()
    assert run(path, out, segmenter) == (ImageResult(ImageFile(path, PurePath("v")), "skipped"), [])
    assert isinstance(segmenter.model, ColourModel)
    assert segmenter.model.batches == []
    assert {file: (out / file).stat().st_mtime_ns for file in FILES} == before
    outcome, _ = run(path, out, tiny_segformer())
    assert (outcome.state, "another model" in outcome.note) == ("skipped", True)
    assert run(path, out, overwrite=True)[0].state == "done"
    other = coloured(tmp_path / "b.mp4", "r")
    assert "belongs to another image" in run(other, out)[0].note


def test_damaged_frames_have_a_line_too(tmp_path: Path) -> None:
    path = damage(write_video(tmp_path / "a.ts", 20, (64, 96)))
    outcome, done = run(path, tmp_path / "out")
    assert outcome.state == "done"
    told = lines(tmp_path / "out")
    broken = [line["frame"] for line in told if line.get("damaged")]
    assert broken
    assert len(told) == len(done) == len(list(video_pictures(f"file:{path}", "a")))
    assert json.loads((tmp_path / "out" / "v.json").read_text())["damaged"] == len(broken)


def test_frames_of_another_size(tmp_path: Path) -> None:
    one, other = write_video(tmp_path / "a.ts", 3), write_video(tmp_path / "b.ts", 3, (64, 32))
    joined = tmp_path / "c.ts"
    joined.write_bytes(one.read_bytes() + other.read_bytes())
    assert run(joined, tmp_path / "out")[0].state == "done"
    sizes = {tuple(line["size"].values()) for line in lines(tmp_path / "out")}
    assert sizes == {(32, 48), (64, 32)}


def test_wide_pictures_are_drawn_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triptych.predict.films, "WIDEST", 150)
    run(coloured(tmp_path / "a.mp4", "r"), tmp_path / "out")
    with av.open(str(tmp_path / "out" / "v.overlay.mp4")) as film:
        assert film.streams.video[0].width == 150


@pytest.mark.parametrize("content", [b"", b"\0\0\0\x20ftypisom\0\0\2\0", b"\x1aE\xdf\xa3" * 9])
def test_what_is_no_video_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    outcome, done = run(path, tmp_path / "out")
    assert (outcome.state, done) == ("failed", [])
    assert str(path) in outcome.note
    assert files(tmp_path / "out") == set()


def test_what_breaks_off_keeps_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = coloured(tmp_path / "a.mp4", "rgb"), tmp_path / "out"

    def cut(*args: Any, **kwargs: Any) -> Any:
        pictures = video_pictures(*args, **kwargs)
        yield next(pictures)
        yield next(pictures)
        raise TriptychError("a.mp4: cannot be read (Input/output error)")

    monkeypatch.setattr(triptych.predict.films, "video_pictures", cut)
    outcome, done = run(path, out)
    assert (outcome.state, done) == ("failed", [0, 1])
    assert "Input/output error" in outcome.note
    assert "the 2 frames before it are in" in outcome.note
    assert files(out) == FILES - {"v.json"}
    monkeypatch.undo()
    assert run(path, out)[0].state == "done"  # not taken for finished


def test_a_run_that_is_left_leaves_nothing(tmp_path: Path) -> None:
    path, out = coloured(tmp_path / "a.mp4", "rgb"), tmp_path / "out"
    film = FilmRun(colour_segmenter(), ImageFile(path, PurePath("v")), out, ReadingSettings())
    with contextlib.closing(film.frames()) as frames:
        next(frames)
        assert len(files(out)) == 2  # under temporary names
    assert files(out) == set()
    assert film.outcome is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk here")
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = coloured(tmp_path / "a.mp4", "rgb")
    real = open

    def full(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        full = mode == "xb" and "overlay" in str(file)
        return real("/dev/full" if full else file, mode.replace("x", "w"), *args, **kwargs)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(TriptychError, match=r"cannot write .*/v\..*: No space left"):
        run(path, tmp_path / "out")


def test_ctrl_c(tmp_path: Path) -> None:
    path, out = coloured(tmp_path / "a.mp4", "rg" * 300, (120, 160)), tmp_path / "out"
    tiny_segformer().save(tmp_path / "model")
    words = ["predict", str(path), "--model", str(tmp_path / "model"), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "triptych", *words], stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while not (out.exists() and files(out)) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert files(out) == set()
    # What kill -9 leaves behind, the next run takes away.
    (out / ".v.overlay.01234567.tmp.mp4").touch()
    (out / ".v.01234567.tmp.jsonl").touch()
    run(coloured(tmp_path / "b.mp4", "r"), out)
    assert files(out) == FILES


def test_videos_among_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_segformer().save("model")
    coloured(tmp_path / "clip.mp4", "rg")
    os.link("clip.mp4", "called.jpg")
    coloured(tmp_path / "10.mkv", "r")
    coloured(tmp_path / "9.mkv", "r")
    assert is_video(Path("called.jpg"))
    assert not is_video(Path("model/config.json"))
    sources, problems = find_images(["*.mkv"])
    assert ([str(s.path) for s in sources], problems) == (["9.mkv", "10.mkv"], [])
    _, problems = find_images(["model"])
    assert "videos are named one by one" in problems[0]
    from PIL import Image

    Image.new("RGB", (32, 32)).save("photo.png")
    words = ["predict", "clip.mp4", "photo.png", "9.mkv", "--model", "model", "--out", "out"]
    assert main(words) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("clip.mp4: ")
    assert told[1].startswith("9.mkv: ")
    assert told[2].startswith("1 image done and 2 videos done in ")
    assert main(words) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 1
    assert "0 images done" in told[0]
    assert "3 skipped" in told[0]


def test_a_video_under_a_table(tmp_path: Path) -> None:
    few = colour_segmenter().regroup({"light": ["red", "green"]})
    outcome, done = run(coloured(tmp_path / "v.mp4", "rgb"), tmp_path, few)
    assert (outcome.state, len(done)) == ("done", 3)
    assert outcome.objects == {"light": 1}
    found = [[one["class"] for one in line["instances"]] for line in lines(tmp_path)]
    assert found == [["light"], ["light"], []]
    whole = json.loads((tmp_path / "v.json").read_text())
    assert [entry["name"] for entry in whole["classes"]] == ["light"]
