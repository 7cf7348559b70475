"""A run over many images: bad ones, batches, a full disk, and kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePath

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny_model import ColourModel, colour_segmenter, tiny_segformer

import triptych.image.preprocess
import triptych.predict.run
from triptych.errors import TriptychError
from triptych.image.find import ImageFile, find_images
from triptych.predict.run import ImageResult, predict
from triptych.readings.settings import ReadingSettings
from triptych.segmenter import Segmenter, load
from triptych.windows.layout import Windows

ENDS = (".semantic.png", ".panoptic.png", ".overlay.png", ".json")


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for index, name in enumerate(["a.png", "b.jpg", "sub/a.png", "sub/c.png"]):
        pixels = np.random.default_rng(index).integers(0, 256, (16, 20 + index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def run(
    folder: Path, out: Path, segmenter: Segmenter | None = None, **settings
) -> list[ImageResult]:
    sources, problems = find_images([str(folder)])
    assert problems == []
    return list(
        predict(segmenter or colour_segmenter(), sources, out, ReadingSettings(), **settings)
    )


def states(outcomes: list[ImageResult]) -> dict[str, str]:
    return {str(outcome.source.name): outcome.state for outcome in outcomes}


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def times(out: Path) -> dict[str, int]:
    return {name: (out / name).stat().st_mtime_ns for name in files(out)}


def test_every_image_gets_four_files_in_its_folder(photos, tmp_path):
    outcomes = run(photos, tmp_path / "new" / "out")
    assert states(outcomes) == dict.fromkeys(["a", "b", "sub/a", "sub/c"], "done")
    names = ["a", "b", "sub/a", "sub/c"]
    assert files(tmp_path / "new" / "out") == {name + end for name in names for end in ENDS}


@pytest.mark.parametrize("batch_size", [2, 3, 10])
def test_batches_change_nothing(batch_size, photos, tmp_path):
    run(photos, tmp_path / "single")
    outcomes = run(photos, tmp_path / "batch", batch_size=batch_size)
    assert [outcome.state for outcome in outcomes] == ["done"] * 4
    for name in files(tmp_path / "single"):
        single, batch = (tmp_path / kind / name for kind in ("single", "batch"))
        assert single.read_bytes() == batch.read_bytes()


def test_a_rerun_skips_what_is_finished(photos, tmp_path):
    run(photos, tmp_path / "out")
    (tmp_path / "out" / "sub" / "c.json").unlink()
    before = times(tmp_path / "out")
    segmenter = colour_segmenter()
    outcomes = run(photos, tmp_path / "out", segmenter)
    assert states(outcomes) == {"a": "skipped", "b": "skipped", "sub/a": "skipped", "sub/c": "done"}
    assert all(outcome.note == "" for outcome in outcomes)
    assert isinstance(segmenter.model, ColourModel)
    assert len(segmenter.model.batches) == 1
    after = times(tmp_path / "out")
    assert all((before[name] == after[name]) == ("sub/c" not in name) for name in before)
    outcomes = run(photos, tmp_path / "out", overwrite=True)
    assert set(states(outcomes).values()) == {"done"}
    assert all(times(tmp_path / "out")[name] > before[name] for name in before)


def test_results_made_otherwise_are_kept_and_told(photos, tmp_path):
    run(photos, tmp_path / "out")
    before = times(tmp_path / "out")
    sources, _ = find_images([str(photos)])
    changed = ReadingSettings(overlap=0.3)
    outcomes = list(predict(colour_segmenter(), sources, tmp_path / "out", changed))
    assert {outcome.state for outcome in outcomes} == {"skipped"}
    assert all("other settings" in outcome.note for outcome in outcomes)
    assert times(tmp_path / "out") == before


def test_results_of_another_image_are_not_taken_for_ours_nor_overwritten(photos, tmp_path):
    run(photos / "sub", tmp_path / "out")
    before = times(tmp_path / "out")
    outcomes = run(photos, tmp_path / "out")
    assert states(outcomes) == {"a": "failed", "b": "done", "sub/a": "done", "sub/c": "done"}
    assert "a.json belongs to another image" in outcomes[0].note
    assert str(photos / "a.png") in outcomes[0].note
    assert {name: times(tmp_path / "out")[name] for name in before} == before


def test_bad_images_are_named_and_the_rest_is_done(photos, tmp_path):
    (photos / "aa.jpg").write_text("no image")
    data = (photos / "sub" / "c.png").read_bytes()
    (photos / "sub" / "b.png").write_bytes(data[: len(data) // 2])
    for batch_size in (1, 2, 10):
        outcomes = run(photos, tmp_path / str(batch_size), batch_size=batch_size)
        failed = sorted(outcome.note for outcome in outcomes if outcome.state == "failed")
        assert len(outcomes) == 6
        assert len(failed) == 2
        assert f"{photos}/aa.jpg: is a text file, not an image" in failed[0]
        assert f"{photos}/sub/b.png: is truncated" in failed[1]
        assert len(files(tmp_path / str(batch_size))) == 16


def test_an_image_that_would_grow_too_large_spoils_no_batch(photos, tmp_path, monkeypatch):
    Image.new("RGB", (2000, 1)).save(photos / "thread.png")
    monkeypatch.setattr(triptych.image.preprocess, "MAX_PIXELS", 500_000)
    outcomes = run(photos, tmp_path / "out", colour_segmenter(shortest_edge=300), batch_size=9)
    found = states(outcomes)
    assert found == {"a": "done", "b": "done", "sub/a": "done", "sub/c": "done", "thread": "failed"}
    (note,) = (outcome.note for outcome in outcomes if outcome.note)
    assert note.startswith(f"{photos}/thread.png: an image of 2000 x 1 pixels would grow")


def test_what_does_not_fit_into_memory_together_is_tried_alone(photos, tmp_path):
    class Tight(ColourModel):
        def forward(self, pixels):
            if len(pixels) > 1 or pixels.shape[-1] > 60:
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
            return super().forward(pixels)

    Image.new("RGB", (80, 16)).save(photos / "wide.png")
    segmenter = colour_segmenter(model=Tight())
    outcomes = run(photos, tmp_path / "out", segmenter, batch_size=10)
    assert states(outcomes) == {
        "a": "done",
        "b": "done",
        "sub/a": "done",
        "sub/c": "done",
        "wide": "failed",
    }
    (note,) = (outcome.note for outcome in outcomes if outcome.note)
    assert "wide.png: not enough memory for a network input of 1 x 16 x 80" in note
    assert "\n" not in note


def test_a_fault_of_the_network_is_no_fault_of_the_user(photos, tmp_path):
    class Broken(ColourModel):
        def forward(self, pixels):
            raise RuntimeError("shapes do not match")

    segmenter = colour_segmenter(model=Broken())
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(photos, tmp_path / "out", segmenter)


def test_nonsense_from_the_network_is_told_for_each_image(photos, tmp_path):
    segmenter = colour_segmenter()
    assert isinstance(segmenter.model, ColourModel)
    segmenter.model.gain.data.fill_(float("nan"))
    outcomes = run(photos, tmp_path / "out", segmenter)
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert all(str(outcome.source.path) in outcome.note for outcome in outcomes)
    assert files(tmp_path / "out") == set()


class TestUnwritable:
    def test_a_file_in_its_place(self, photos, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(
            TriptychError, match=r"cannot write into .*out: .*; choose another --out"
        ):
            run(photos, tmp_path / "out")

    def test_it_is_found_before_anything_is_computed(self, photos, tmp_path):
        (tmp_path / "file").touch()
        segmenter = colour_segmenter()
        with pytest.raises(TriptychError, match="cannot write into"):
            run(photos, tmp_path / "file" / "out", segmenter)
        assert isinstance(segmenter.model, ColourModel)
        assert segmenter.model.batches == []

    def test_a_disk_that_fills_up_ends_the_run(self, photos, tmp_path, monkeypatch):
        sources, _ = find_images([str(photos)])
        outcomes = predict(colour_segmenter(), sources, tmp_path / "out", ReadingSettings())
        assert next(outcomes).state == "done"

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", full)
        monkeypatch.setattr("tempfile.TemporaryFile", full)
        failed = next(outcomes)
        assert failed.state == "failed"
        assert "No space left on device" in failed.note
        with pytest.raises(TriptychError, match="No space left on device"):
            next(outcomes)
        assert files(tmp_path / "out") == {"a" + end for end in ENDS}

    def test_a_name_that_is_too_long_fails_alone(self, photos, tmp_path):
        Image.new("RGB", (8, 8)).save(photos / ("a" * 240 + ".png"))
        outcomes = run(photos, tmp_path / "out")
        assert [outcome.state for outcome in outcomes].count("done") == 4
        assert [outcome.state for outcome in outcomes].count("failed") == 1

    def test_batch_size(self, photos, tmp_path):
        with pytest.raises(TriptychError, match="batch_size is 0"):
            run(photos, tmp_path / "out", batch_size=0)


def test_kill_9_loses_nothing_that_was_finished(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(80):
        pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{index:03}.png")
    tiny_segformer().save(tmp_path / "model")
    command = [sys.executable, "-m", "triptych", "predict", str(photos)]
    command += ["--model", str(tmp_path / "model"), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and len(list(out.glob("[!.]*.json"))) < 5:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = {path.name.removesuffix(".json") for path in out.glob("[!.]*.json")}
    assert 5 <= len(finished) < 80
    for name in finished:
        described = json.loads((out / f"{name}.json").read_text())
        size = (described["size"]["width"], described["size"]["height"])
        for end in ENDS[:2]:
            with Image.open(out / (name + end)) as picture:
                picture.load()
                assert picture.size == size
        with Image.open(out / f"{name}.overlay.png") as picture:
            picture.load()
    # A writer that is killed may leave its temporary file; the next run clears it away.
    (out / ".079.semantic.0123abcd.tmp.png").touch()
    before = times(out)
    outcomes = run(photos, out, load(tmp_path / "model"))
    assert {name for name, state in states(outcomes).items() if state == "skipped"} == finished
    assert set(states(outcomes).values()) == {"skipped", "done"}
    kept = {name + end for name in finished for end in ENDS}
    assert {name: times(out)[name] for name in kept} == {name: before[name] for name in kept}
    assert files(out) == {f"{index:03}{end}" for index in range(80) for end in ENDS}


def test_large_images_are_read_in_windows(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    pixels = np.zeros((90, 120, 3), np.uint8)
    pixels[10:50, 5:110, 0] = 255
    Image.fromarray(pixels).save(path)
    model = ColourModel()
    segmenter = colour_segmenter(model)
    source = ImageFile(path, PurePath("large"))
    monkeypatch.setattr(triptych.predict.run, "MAX_PIXELS", 5000)
    (whole,) = predict(segmenter, [source], tmp_path / "out", ReadingSettings())
    assert whole.state == "failed"
    assert "read it in windows (--window 1024)" in whole.note
    for _ in range(2):
        outcomes = predict(
            segmenter, [source], tmp_path / "out", ReadingSettings(), windows=Windows(48, 16)
        )
        states = [outcome.state for outcome in outcomes]
    assert states == ["skipped"]
    assert {shape[2:] for shape in model.batches} == {(48, 48)}
    found = json.loads((tmp_path / "out" / "large.json").read_text())
    assert found["settings"]["windows"] == {"size": 48, "overlap": 16}
    (red,) = [i for i in found["instances"] if i["class"] == "red"]
    assert red["bbox"] == pytest.approx([5, 10, 105, 40], abs=3)


class TestRegrouped:
    def test_void_is_255_in_the_class_map(self, photos, tmp_path):
        few = tiny_segformer().regroup({"way": ["road"], "car": []})
        assert set(states(run(photos / "sub", tmp_path / "out", few)).values()) == {"done"}
        base = tmp_path / "out" / "a"
        ids = np.asarray(Image.open(f"{base}.semantic.png"))
        assert set(np.unique(ids)) <= {0, 1, 255}
        whole = tiny_segformer()
        whole.model.load_state_dict(few.model.state_dict())
        found = few(photos / "sub" / "a.png").semantic().ids.numpy()
        np.testing.assert_array_equal(ids, found)
        contents = json.loads(Path(f"{base}.json").read_text())
        assert [entry["name"] for entry in contents["classes"]] == ["way", "car"]
        assert contents["settings"]["regroup"][0]["of"] == ["road"]

    def test_results_of_another_table_are_others(self, photos, tmp_path):
        out, first = tmp_path / "out", colour_segmenter()
        few = first.regroup({"any": ["red", "green"]})
        assert set(states(run(photos, out, few)).values()) == {"done"}
        again = run(photos, out, few)
        assert {(o.state, o.note) for o in again} == {("skipped", "")}
        for other in (first, first.regroup({"any": ["red"]})):
            assert all("other settings" in o.note for o in run(photos, out, other))
