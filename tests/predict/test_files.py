"""The four files: their contents, against pycocotools and plain arithmetic, and their order."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as reference
from tests.tiny_model import COLOURS, colour_segmenter

from triptych.atomic import atomic_write
from triptych.class_table import Merged
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.predict.files import Results, Standing, remove_leftovers
from triptych.readings.regroup import regrouped
from triptych.readings.settings import ReadingSettings

ENDS = (".semantic.png", ".panoptic.png", ".overlay.png", ".json")


@pytest.fixture
def image() -> torch.Tensor:
    """Two red squares as one mask, a green one, and blue all round."""
    image = torch.zeros(40, 60, 3, dtype=torch.uint8)
    image[..., 2] = 255
    for rows, columns, channel in (
        ((4, 16), (4, 20), 0),
        ((24, 36), (4, 20), 0),
        ((8, 28), (32, 52), 1),
    ):
        image[slice(*rows), slice(*columns)] = 0
        image[slice(*rows), slice(*columns), channel] = 255
    return image


@pytest.fixture
def photo(tmp_path, image) -> Path:
    path = tmp_path / "photos" / "a photo.png"
    path.parent.mkdir()
    Image.fromarray(image.numpy()).save(path)
    return path


@pytest.fixture
def results(tmp_path, photo) -> Results:
    return Results(tmp_path / "out" / "deep" / "a photo", photo, "colours", ReadingSettings())


def read(results: Results) -> dict:
    return json.loads(results.path(".json").read_text())


class TestContents:
    def test_pictures_hold_the_readings(self, results, image):
        masks = colour_segmenter()(image)
        results.write(image, masks)
        semantic = np.asarray(Image.open(results.path(".semantic.png")))
        assert semantic.dtype == np.uint8
        assert np.array_equal(semantic, masks.semantic().ids)
        assert set(np.unique(semantic)) == {0, 1, 2}
        rgb = np.asarray(Image.open(results.path(".panoptic.png"))).astype(int)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 256 * 256 * rgb[..., 2]
        assert np.array_equal(ids, masks.panoptic().ids)
        assert ids.max() == 3
        with Image.open(results.path(".overlay.png")) as overlay:
            assert overlay.width >= image.shape[1]

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
    def test_json_describes_segments_and_instances(self, results, image, tmp_path):
        masks = colour_segmenter()(image)
        results.write(image, masks)
        found = read(results)
        assert found["format"] == "triptych-prediction"
        assert (results.path(".json").parent / found["image"]).samefile(results.image)
        assert found["image"] == "../../photos/a photo.png"
        assert found["size"] == {"height": 40, "width": 60}
        assert found["model"] == "colours"
        assert found["settings"]["overlap"] == 0.8
        assert [c["name"] for c in found["classes"]] == list(COLOURS.names)
        assert [c["id"] for c in found["classes"]] == [0, 1, 2]
        ids = masks.panoptic().ids.numpy()
        assert len(found["segments"]) == 3
        for segment in found["segments"]:
            inside = ids == segment["id"]
            assert segment["area"] == inside.sum()
            box = reference.toBbox(reference.encode(np.asfortranarray(inside.view(np.uint8))))
            assert segment["bbox"] == box.tolist()
            assert segment["class"] == COLOURS.names[segment["class_id"]]
            assert segment["thing"] == COLOURS.is_thing[segment["class_id"]]
            assert segment["score"] > 0.99
        assert [i["class"] for i in found["instances"]] == ["green", "red"]
        assert found["instance_source"] == "queries"
        for entry, instance in zip(found["instances"], masks.instances(), strict=True):
            assert np.array_equal(reference.decode(entry["segmentation"]), instance.mask)
            assert entry["bbox"] == reference.toBbox(entry["segmentation"]).tolist()
            assert entry["score"] == pytest.approx(instance.score, abs=1e-6)

    @pytest.mark.parametrize(
        ("changes", "segments", "instances"),
        [
            ({}, 3, 2),
            ({"instance_threshold": 0.995}, 3, 1),
            ({"top": 2}, 3, 1),  # the best pair is blue, which is stuff
            ({"panoptic_threshold": 1.0}, 0, 2),
        ],
    )
    def test_settings_reach_the_readings(self, changes, segments, instances, results, image):
        settings = dataclasses.replace(results, readings=ReadingSettings(**changes))
        settings.write(image, colour_segmenter()(image))
        found = read(results)
        assert len(found["segments"]) == segments
        assert len(found["instances"]) == instances
        assert found["settings"] | changes == found["settings"]

    @pytest.mark.parametrize(("overlap", "names"), [(0.5, ["red", "blue"]), (0.8, ["blue"])])
    def test_overlap_reaches_the_panoptic_reading(self, overlap, names, results, image):
        # Blue takes 40 per cent of what is red as well.
        image[:] = 0
        image[..., 0] = 200
        image[:16, :, 2] = 255
        settings = dataclasses.replace(results, readings=ReadingSettings(overlap=overlap))
        settings.write(image, colour_segmenter()(image))
        assert [segment["class"] for segment in read(results)["segments"]] == names

    @pytest.mark.parametrize(
        ("count", "kind"), [(255, np.uint8), (256, np.uint16), (700, np.uint16)]
    )
    def test_many_classes_need_16_bits(self, count, kind, results, image):
        logits = torch.full((count, 10, 15), -5.0)
        logits[count - 1, :5] = 5
        logits[3, 5:] = 5
        classes = Classes.of([f"c{i}" for i in range(count)])
        masks = MaskSet(
            logits, None, classes, Geometry((40, 60), (40, 60), (40, 60)), competition="softmax"
        )
        results.write(image, masks)
        stored = np.asarray(Image.open(results.path(".semantic.png")))
        assert stored.dtype == kind
        assert stored[0, 0] == count - 1
        assert stored[-1, -1] == 3

    def test_nothing_found_is_a_result_too(self, results):
        black = torch.zeros(8, 8, 3, dtype=torch.uint8)
        results.write(black, colour_segmenter()(black))
        found = read(results)
        assert found["segments"] == found["instances"] == []
        assert results.standing() is Standing.SAME

    @pytest.mark.parametrize(
        "changes",
        [{"overlap": 1.5}, {"instance_threshold": -1}, {"panoptic_threshold": float("nan")}],
    )
    def test_shares_are_shares(self, changes):
        with pytest.raises(TriptychError, match="give a number from 0 to 1"):
            ReadingSettings(**changes)
        with pytest.raises(TriptychError, match="at least one instance"):
            ReadingSettings(top=0)


class TestStanding:
    def test_what_a_rerun_sees(self, results, image, photo):
        assert results.standing() is Standing.ABSENT
        results.write(image, colour_segmenter()(image))
        assert results.standing() is Standing.SAME
        changed = Results(results.base, photo, "colours", ReadingSettings(overlap=0.5))
        assert changed.standing() is Standing.CHANGED
        assert (
            Results(results.base, photo, "other", ReadingSettings()).standing() is Standing.CHANGED
        )
        other = Results(results.base, photo.with_name("b.png"), "colours", ReadingSettings())
        photo.with_name("b.png").touch()
        assert other.standing() is Standing.FOREIGN
        os.utime(photo, (2e9, 2e9))
        assert results.standing() is Standing.CHANGED

    def test_the_working_folder_does_not_matter(self, results, image, photo, tmp_path, monkeypatch):
        results.write(image, colour_segmenter()(image))
        monkeypatch.chdir(tmp_path)
        relative = Results(
            Path("out/deep/a photo"), Path("photos/a photo.png"), "colours", ReadingSettings()
        )
        assert relative.standing() is Standing.SAME

    @pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"'])
    def test_a_broken_json_counts_as_absent(self, results, image, content):
        results.write(image, colour_segmenter()(image))
        results.path(".json").write_text(content)
        assert results.standing() is Standing.ABSENT

    @pytest.mark.parametrize("survivors", range(4))
    def test_interrupted_anywhere_it_never_counts_as_finished(
        self, survivors, results, image, monkeypatch
    ):
        masks = colour_segmenter()(image)
        results.write(image, masks)  # an earlier run, with its JSON
        left = iter([True] * survivors)

        def interrupted(path):
            if not next(left, False):
                raise KeyboardInterrupt
            return atomic_write(path)

        monkeypatch.setattr("triptych.predict.files.atomic_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            results.write(image, masks)
        assert results.standing() is Standing.ABSENT
        monkeypatch.undo()
        results.write(image, masks)
        assert results.standing() is Standing.SAME
        assert sorted(p.name for p in results.base.parent.iterdir()) == sorted(
            results.base.name + end for end in ENDS
        )

    def test_leftovers_of_a_kill_are_removed_but_not_those_of_another_run(self, results, image):
        folder = results.base.parent
        folder.mkdir(parents=True)
        ours = [
            ".a photo.semantic.0123abcd.tmp.png",
            ".a photo.overlay.0123abcd.tmp.png",
            ".a photo.0123abcd.tmp.json",
        ]
        others = [
            ".b photo.0123abcd.tmp.json",
            "a photo.tmp.json",
            ".a photo.json",
            ".a photo.tmp.x",
        ]
        for name in ours + others:
            (folder / name).touch()
        remove_leftovers([results.base, folder / "gone" / "x"])
        assert sorted(p.name for p in folder.iterdir()) == sorted(others)


def test_void_among_many_classes_is_65535(tmp_path: Path) -> None:
    size = (2, 3)
    masks = torch.zeros(301, *size)
    masks[300, 0] = masks[7, 1] = 9.0
    names = [f"class {number}" for number in range(301)]
    whole = MaskSet(
        masks, None, Classes.of(names), Geometry(size, size, size), competition="softmax"
    )
    few = regrouped(whole, Merged(Classes.of(names[:300]), (*range(300), None)))
    assert few.semantic().ids.tolist() == [[65535] * 3, [7] * 3]
    results = Results(tmp_path / "a", tmp_path / "a.png", "m", ReadingSettings())
    results.write(torch.zeros(*size, 3, dtype=torch.uint8), few)
    with Image.open(tmp_path / "a.semantic.png") as picture:
        assert np.asarray(picture).tolist() == [[65535] * 3, [7] * 3]
