from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.street import CAR, HEIGHT, PEDESTRIAN, VOID, WIDTH, frame, write_frames

from triptych.data.camvid import CLASSES, CamVidScenes, CamVidSet, read_labels, read_pixels
from triptych.errors import TriptychError
from triptych.truth import IGNORE


def test_scenes_give_pixels_and_single_objects(street_root):
    scenes = CamVidScenes(street_root / "camvid", "train")
    assert len(scenes) == 3
    scene = scenes[1]
    pixels, ids = frame(1)
    np.testing.assert_array_equal(scene.pixels, pixels)
    np.testing.assert_array_equal(scene.semantic(), np.where(ids == VOID, IGNORE, ids))
    assert sorted(scene.owners) == [CAR, PEDESTRIAN]  # the pair of cars is none
    assert (scene.regions[100:135, 170:215] == CAR).all()


def test_labels_are_looked_at_once(street_root, monkeypatch):
    scenes = CamVidScenes(street_root / "camvid", "train")
    first = scenes.labels(0)
    monkeypatch.setattr("triptych.data.camvid.read_labels", lambda path: pytest.fail("read twice"))
    assert scenes.labels(0) is first


def test_objects_may_be_left_together(street_root):
    scene = CamVidScenes(street_root / "camvid", "train", split_objects=False)[0]
    assert scene.owners == ()
    assert scene.regions.max() == IGNORE
    assert set(np.unique(scene.regions)) <= {*range(len(CLASSES)), IGNORE}


def test_plain_set_has_void_as_ignore(street_root):
    frames = CamVidSet(street_root / "camvid", "val")
    image, ids = frames[0]
    assert len(frames) == 3
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == torch.uint8
    assert ids.dtype == torch.int64
    assert (ids[0, :5] == IGNORE).all()
    assert ids[ids != IGNORE].max() == PEDESTRIAN


def test_missing_folder_and_empty_folder(tmp_path):
    with pytest.raises(TriptychError, match=r"no folder .*images"):
        CamVidSet(tmp_path, "val")
    (tmp_path / "val" / "images").mkdir(parents=True)
    with pytest.raises(TriptychError, match=r"no images in .*images"):
        CamVidScenes(tmp_path, "val")


@pytest.mark.parametrize("kind", [CamVidSet, CamVidScenes])
def test_damage_names_the_file(tmp_path, kind):
    write_frames(tmp_path / "val", ["a", "b", "c", "d", "e"])
    images, labels = tmp_path / "val" / "images", tmp_path / "val" / "labels"
    (images / "a.png").write_bytes((images / "a.png").read_bytes()[:900])
    (labels / "b.png").unlink()
    Image.new("RGB", (WIDTH, HEIGHT)).save(labels / "c.png")
    Image.fromarray(np.full((HEIGHT, WIDTH), 30, np.uint8)).save(labels / "d.png")
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(labels / "e.png")
    frames = kind(tmp_path, "val")
    told = ["images/a.png", "labels/b.png", "labels/c.png", "labels/d.png", "images/e.png"]
    for index, name in enumerate(told):
        with pytest.raises(TriptychError, match=name) as caught:
            frames[index]
        assert "\n" not in str(caught.value)


def test_not_an_image(tmp_path):
    file = tmp_path / "x.png"
    file.write_text("no image")
    for read in (read_pixels, read_labels):
        with pytest.raises(TriptychError, match=r"x\.png"):
            read(file)


@pytest.mark.data
def test_real_frames(shared_data):
    scenes = CamVidScenes(shared_data / "camvid", "train")
    assert len(scenes) == 367
    owners = [owner for index in range(0, 367, 12) for owner in scenes.labels(index).owners]
    found = {CLASSES.names[thing]: owners.count(thing) for thing in CLASSES.thing_ids}
    assert min(found.values()) > 8, found
    assert [len(CamVidSet(shared_data / "camvid", s)) for s in ("val", "test")] == [101, 62]
