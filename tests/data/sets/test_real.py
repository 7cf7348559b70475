"""The published data sets themselves, where the folder of data is there."""

from __future__ import annotations

import json

import numpy as np
import pytest
from panopticapi.utils import rgb2id
from PIL import Image
from pycocotools.coco import COCO
from tests.data.sets import disk

from triptych.data.sets.base import UNKNOWN
from triptych.data.sets.check import check
from triptych.data.sets.coco_instances import CocoInstances
from triptych.data.sets.open import open_set

pytestmark = [
    pytest.mark.data,
    # pycocotools 2.0.11 with numpy 2.4.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["coco", "camvid", "coco-panoptic-examples"])
def test_nothing_is_wrong_with_them(shared_data, folder):
    assert [fault for found in check(open_set(shared_data / folder), {}) for fault in found] == []


def test_masks_are_those_of_pycocotools(shared_data, capsys):
    data = open_set(shared_data / "coco", "val")
    assert isinstance(data, CocoInstances)
    theirs = COCO(str(shared_data / "coco" / "val" / "instances.json"))
    capsys.readouterr()
    compared = 0
    for index, picture in enumerate(data.file.pictures[:12]):
        annotations = theirs.loadAnns(theirs.getAnnIds(imgIds=[picture.id]))
        for true, annotation in zip(disk.objects(data[index]), annotations, strict=True):
            np.testing.assert_array_equal(true.mask, theirs.annToMask(annotation))
            name = theirs.cats[annotation["category_id"]]["name"]
            assert data.classes.names[true.class_id] == name
            assert (true.crowd, true.area) == (bool(annotation["iscrowd"]), annotation["area"])
            compared += 1
    assert compared > 50


def test_segments_are_those_of_panopticapi(shared_data):
    root = shared_data / "coco-panoptic-examples"
    data = open_set(root)
    assert (len(data), len(data.classes), len(data.classes.thing_ids)) == (2, 133, 80)
    content = json.loads((root / "panoptic_examples.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    for index, annotation in enumerate(content["annotations"]):
        with Image.open(root / "panoptic_examples" / annotation["file_name"]) as picture:
            ids = rgb2id(np.array(picture))
        example = data[index]
        expected = np.full(ids.shape, "", object)
        for segment in annotation["segments_info"]:
            expected[ids == segment["id"]] = names[segment["category_id"]]
        ours = np.array([*data.classes.names, *[""] * (UNKNOWN + 1 - 133)], object)
        np.testing.assert_array_equal(ours[example.semantic], expected)
        assert example.panoptic is not None
        things = [s for s in example.panoptic.segments if data.classes.is_thing[s.class_id]]
        single = {s["id"]: s["area"] for s in annotation["segments_info"]}
        areas = [int((example.panoptic.ids == s.id).sum()) for s in things]
        assert set(areas) <= set(single.values())
        assert len(example.panoptic.segments) == len(single)


def test_camvid_is_as_its_readme_says(shared_data):
    data = open_set(shared_data / "camvid", "test")
    assert len(data) == 62
    example = data[0]
    assert example.image.shape == (360, 480, 3)
    sky, road = data.classes.index("sky"), data.classes.index("road")
    assert (example.semantic[:40] == sky).mean() > 0.1
    assert (example.semantic[-40:] == road).mean() > 0.4
