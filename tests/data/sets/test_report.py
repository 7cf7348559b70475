"""What evaluation and training are told of a set before they use it."""

from __future__ import annotations

import re
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from tests.data.sets import disk

from triptych.data.sets.base import DataError, FaultKind
from triptych.data.sets.check import check
from triptych.data.sets.open import open_set
from triptych.data.sets.report import Collector, before_use, crowded
from triptych.data.views import Views
from triptych.errors import TriptychError
from triptych.metrics.instance import MaskAP

USES = ("measure", "learn")


def every(content, **changes):
    for entry in content["annotations"]:
        entry |= changes


@pytest.mark.parametrize("use", USES)
def test_a_sound_set_needs_no_word(tmp_path, use):
    for make in (disk.coco_instances, disk.coco_panoptic, disk.camvid):
        assert before_use(open_set(make(tmp_path / make.__name__)), use) == []


@pytest.mark.parametrize("use", USES)
def test_faults_of_the_whole_are_one_line(tmp_path, use):
    file = disk.plain(tmp_path, names=("a", "b", "c"))
    (tmp_path / "labels" / "a.png").unlink()
    (tmp_path / "labels" / "b.png").rename(tmp_path / "labels" / "x.png")
    (line,) = before_use(open_set(file), use)
    assert "3 faults (image without labels: 2, labels without image: 1), such as: image" in line
    assert line.endswith("triptych data check lists all")


@pytest.mark.parametrize("use", USES)
def test_what_makes_the_truth_wrong_stops(tmp_path, use):
    disk.coco_instances(tmp_path, lambda content: content["annotations"].append({"id": 9}))
    with pytest.raises(
        DataError, match=r"annotations\[3\] has no image_id \(None\): some image la"
    ):
        before_use(open_set(tmp_path), use)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iscrowd": "maybe"}, r"annotation 1 of 1\.png: iscrowd is 'maybe'.* \(and 2 more"),
        ({"segmentation": [[1, 2, 3]]}, r"annotation 1 of 1\.png: a polygon has 3 numbers"),
        ({"category_id": "x"}, r"annotation 1 of 1\.png: category 'x' is not listed"),
    ],
)
def test_broken_annotations_stop_before_the_first_image(tmp_path, use, changes, words):
    disk.coco_instances(tmp_path, lambda content: every(content, **changes))
    with pytest.raises(DataError, match=words):
        before_use(open_set(tmp_path), use)


@pytest.mark.parametrize("use", USES)
def test_only_crowds(tmp_path, use):
    disk.coco_instances(tmp_path, lambda content: every(content, iscrowd=1))
    (line,) = before_use(open_set(tmp_path), use)
    assert "all 3 objects are crowds (iscrowd: 1): none is told apart, so AP is undefined" in line


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: every(c, segmentation=[]), "none of the 3 objects has an outline"),
        (lambda c: every(c, segmentation=None), "none of the 3 objects has an outline"),
        (lambda c: c["annotations"].clear(), "no image has an object; there is nothing to"),
        (lambda c: every(c, image_id=99), r"no image has an object: .*about image 99, which is no"),
    ],
)
def test_nothing_to_find(tmp_path, use, change, words):
    disk.coco_instances(tmp_path, change)
    assert FaultKind.NO_OBJECTS in {f.kind for each in check(open_set(tmp_path), {}) for f in each}
    with pytest.raises(TriptychError, match=words):
        before_use(open_set(tmp_path), use)


def test_a_rest_can_be_learnt_without_objects_unless_they_were_lost(tmp_path):
    table = "layout: coco-instances\nimages: val/images\nannotations: val/instances.json\n"
    disk.coco_instances(tmp_path, lambda content: content["annotations"].clear())
    file = tmp_path / "own.yaml"
    file.write_text(table + "classes: [car]\nrest: other\n")
    (line,) = before_use(open_set(file), "learn")
    assert "no image has an object" in line
    disk.coco_instances(tmp_path, lambda content: every(content, image_id=99))
    with pytest.raises(TriptychError, match="about image 99"):
        before_use(open_set(file), "learn")


def test_more_objects_than_queries_or_than_ap_counts(tmp_path):
    def change(content):
        for number in range(120):
            outline = disk.box(number % 12, number // 12, 2, 2)
            content["annotations"].append(disk.annotation(2, 3, outline, id=100 + number))

    data = open_set(disk.coco_instances(tmp_path, change))
    (line,) = crowded(data.census(), 60)
    assert line.startswith("2.png has 120 segments to find, and the model has 60 queries")
    assert crowded(data.census(), 120) == crowded(data.census(), None) == []
    (line,) = before_use(data, "measure")
    assert "120 objects of one class, and AP counts the best 100 answers" in line
    assert before_use(data, "learn") == []


def test_a_collector_keeps_what_is_not_grave(tmp_path):
    disk.coco_instances(tmp_path, lambda c: c["annotations"][0].update(segmentation=[]))
    note = Collector()
    open_set(tmp_path).read(0, note)
    assert [fault.kind for fault in note.faults] == [FaultKind.EMPTY_OUTLINE]


def test_segments_are_counted_too(tmp_path):
    data = open_set(disk.coco_panoptic(tmp_path))
    census = data.census()
    assert census is not None
    assert (census.objects, census.crowds, census.most, census.densest) == (1, 1, 3, 1)


def test_many_small_objects_of_a_large_image_cost_what_they_cover(tmp_path):
    """Masks of their full size would take 4 GB and minutes here."""
    height, width, count = 2000, 3000, 700

    def change(content):
        content["images"] = [{"id": 1, "file_name": "1.png", "height": height, "width": width}]
        at = np.random.default_rng(0).integers(0, (width - 20, height - 20), (count, 2))
        content["annotations"] = [
            disk.annotation(1, 3, disk.box(x, y, 10, 10), id=number)
            for number, (x, y) in enumerate(at.tolist())
        ]

    disk.coco_instances(tmp_path, change)
    Image.new("RGB", (width, height)).save(tmp_path / "val" / "images" / "1.png")
    data = open_set(tmp_path)
    began = time.process_time()
    tracemalloc.start()
    assert [fault for each in check(data, {}) for fault in each] == []
    example = data[0]
    precision = MaskAP(data.classes)
    precision.update([], disk.objects(example))
    view = Views(tmp_path, crop=(256, 256), scale=(1.0, 1.0))[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert view.targets.masks.shape[1:] == (256, 256)
    assert len(disk.objects(example)) == count
    assert peak < 12 * height * width, "an image and a few maps of it"
    assert time.process_time() - began < 20


def test_every_fault_is_one_line(tmp_path):
    disk.coco_instances(tmp_path, lambda c: c["images"][0].update(file_name="a\nb.png"))
    with pytest.raises(TriptychError) as error:
        before_use(open_set(tmp_path), "learn")
    assert "\n" not in str(error.value)
    assert re.search(r"annotations\[0\] is about image 1, which is left out", str(error.value))
