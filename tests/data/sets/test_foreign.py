"""Data sets in forms that are not read are named, with the way."""

from __future__ import annotations

import json

import pytest
from tests.data.sets import disk

from triptych.data.sets.open import open_set
from triptych.errors import TriptychError

COCO: dict[str, list[object]] = {"images": [], "annotations": [], "categories": []}


def yolo(root):
    for split in ("train", "valid"):
        disk.photo(root / split / "images" / "0.jpg")
        (root / split / "labels").mkdir()
        (root / split / "labels" / "0.txt").write_text("0 0.1 0.1 0.4 0.1 0.4 0.5\n")


def put(root, name, content=""):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (yolo, "a YOLO data set .*export it as COCO"),
        (
            lambda root: put(root, "data.yaml", "train: x\nval: y\nnc: 1\nnames: ['car']\n"),
            "data.yaml belongs to a YOLO data set",
        ),
        (
            lambda root: put(root, "a.json", {"shapes": [], "imagePath": "a.jpg"}),
            "a data set of labelme .*labelme2coco",
        ),
        (lambda root: put(root, "via.json", {"_via_img_metadata": {}}), "VGG Image Annotator"),
        (lambda root: put(root, "annotations.xml", "<x/>"), "COCO 1.0"),
        (lambda root: put(root, "meta.json", {"classes": [], "tags": []}), "Supervisely"),
        (lambda root: put(root, "result.json", COCO), "result.json, an annotation file of COCO"),
        (lambda root: put(root, "a.tfrecord"), "TFRecords"),
        (lambda root: put(root, "a.txt"), "not a layout that is known. Looked for"),
        (lambda root: put(root, "a.json", "{"), "not a layout that is known. Looked for"),
        (lambda root: put(root, "a.json", "[1]"), "not a layout that is known. Looked for"),
    ],
)
def test_folders(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(TriptychError, match=words):
        open_set(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", {"shapes": [], "imagePath": "a.jpg"}, "a data set of labelme"),
        ("a.json", COCO, "an annotation file of COCO, whose images may be anywhere; name it in a"),
        ("a.zip", "PK", "an archive; unpack it"),
        ("a.yaml", "names: [car]\nnc: 1\n", "belongs to a YOLO data set"),
        ("a.yaml", "classes: [car]\n", "says no layout; choose from"),
    ],
)
def test_files(tmp_path, name, content, words):
    put(tmp_path, name, content)
    with pytest.raises(TriptychError, match=words):
        open_set(tmp_path / name)


def test_plain_folders_with_text_beside_are_no_yolo_set(tmp_path):
    disk.plain(tmp_path)
    put(tmp_path, "labels/readme.txt", "hello")
    with pytest.raises(TriptychError, match="looks like plain folders of images and labels"):
        open_set(tmp_path)
