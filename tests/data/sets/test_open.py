"""Which layout is recognised, what a description may say, and what each layout means."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.sets import disk

from triptych.data.sets.base import UNKNOWN
from triptych.data.sets.open import LAYOUTS, open_set, open_splits
from triptych.errors import TriptychError


def test_camvid(tmp_path):
    data = open_set(disk.camvid(tmp_path))
    assert data.title == f"CamVid in {tmp_path}, split val"
    assert (data.semantic, data.instances, data.panoptic) == (True, False, False)
    assert [data.name(i) for i in range(len(data))] == ["0016E5_00000", "0016E5_00001"]
    example = data[1]
    assert example.image.dtype == torch.uint8
    assert example.image.shape == (disk.HEIGHT, disk.WIDTH, 3)
    np.testing.assert_array_equal(example.semantic, disk.halves(0, UNKNOWN))
    assert example.panoptic is None
    assert example.instances is None


def test_there_is_no_image_beyond_the_last(tmp_path):
    data = open_set(disk.camvid(tmp_path))
    for index in (2, -1):
        with pytest.raises(IndexError):
            data[index]
    assert len(list(data)) == 2


def test_splits(tmp_path):
    disk.camvid(tmp_path, "train", 3)
    assert len(open_set(tmp_path)) == 3
    disk.camvid(tmp_path, "test", 1)
    with pytest.raises(TriptychError, match=r"which split\? There are: train, test$"):
        open_set(tmp_path)
    disk.camvid(tmp_path, "val", 2)
    assert len(open_set(tmp_path)) == 2
    assert len(open_set(tmp_path, "test")) == 1
    with pytest.raises(TriptychError, match=r"no split 'dev'; there are: train, val, test$"):
        open_set(tmp_path, "dev")
    assert list(open_splits(tmp_path)) == ["train", "val", "test"]


class TestCocoInstances:
    def test_objects_overlap_and_pixels_of_none_are_unknown(self, tmp_path):
        data = open_set(disk.coco_instances(tmp_path))
        assert (data.semantic, data.instances, data.panoptic) == (False, True, False)
        assert data.classes.names == ("person", "tie", "car")
        example, empty = data[0], data[1]
        assert example.panoptic is None
        tie, person, cars = disk.objects(example)
        assert [(t.class_id, t.crowd, t.area) for t in (tie, person, cars)] == [
            (1, False, 6.0),
            (0, False, 60.0),
            (2, True, 48.0),
        ]
        assert (person.mask & tie.mask).sum() == tie.mask.sum() == 6
        assert cars.mask[:, 12:].all()
        assert cars.mask.sum() == 48
        expected = np.full((disk.HEIGHT, disk.WIDTH), UNKNOWN)
        expected[:10, :6] = 0
        expected[2:5, 2:4] = 1
        expected[:, 12:] = 2
        np.testing.assert_array_equal(example.semantic, expected)
        assert list(disk.objects(empty)) == []
        assert (empty.semantic == UNKNOWN).all()

    def test_own_classes_and_a_class_for_the_rest(self, tmp_path):
        disk.coco_instances(tmp_path)
        file = tmp_path / "mine.yaml"
        file.write_text(
            "layout: coco-instances\nimages: '{split}/images'\n"
            "annotations: '{split}/instances.json'\nsplits: [val]\n"
            "classes:\n  - {name: human, of: [person]}\n  - {name: car, thing: false}\n"
            "rest: background\n"
        )
        data = open_set(file)
        assert data.classes.names == ("human", "car", "background")
        assert data.classes.is_thing == (True, False, False)
        assert (data.semantic, data.instances, data.panoptic) == (True, True, True)
        example = data[0]
        # The tie was not chosen: it stays a part of the person it lies on.
        assert [(true.class_id, true.area) for true in disk.objects(example)] == [(0, 60.0)]
        assert disk.segments(example) == [(0, False, 60), (1, False, 48), (2, False, 84)]
        assert example.panoptic is not None
        np.testing.assert_array_equal(example.panoptic.semantic(UNKNOWN), example.semantic)
        assert disk.segments(data[1]) == [(2, False, disk.HEIGHT * disk.WIDTH)]

    def test_the_smaller_object_lies_on_top_and_crowds_below(self, tmp_path):
        def change(content):
            content["annotations"] += [
                disk.annotation(2, 5, disk.box(0, 0, 3, 3), iscrowd=1),
                disk.annotation(2, 5, disk.box(0, 0, 8, 8), iscrowd=0),
                disk.annotation(2, 5, disk.box(0, 0, 4, 4), iscrowd=0),
                disk.annotation(2, 5, disk.box(6, 6, 8, 4), iscrowd=1),
            ]

        disk.coco_instances(tmp_path, change)
        file = tmp_path / "mine.yaml"
        file.write_text(
            "layout: coco-instances\nimages: val/images\nannotations: val/instances.json\n"
            "classes: [car]\nrest: other\n"
        )
        example = open_set(file)[1]
        assert disk.segments(example) == [
            (0, False, 16),
            (0, False, 48),
            (0, True, 28),  # both crowds, less what lies on them
            (1, False, disk.HEIGHT * disk.WIDTH - 64 - 28),
        ]
        assert len(disk.objects(example)) == 4

    @pytest.mark.parametrize(
        "place", ["annotations/instances_val.json", "val/_annotations.coco.json"]
    )
    def test_other_places(self, tmp_path, place):
        disk.coco_instances(tmp_path / "packed")
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / "packed" / "val" / "instances.json").rename(tmp_path / place)
        images = tmp_path / "packed" / "val" / "images"
        for image in sorted(images.iterdir()):
            (tmp_path / "val").mkdir(exist_ok=True)
            image.rename(tmp_path / "val" / image.name)
        data = open_set(tmp_path)
        assert len(disk.objects(data[0])) == 3


class TestCocoPanoptic:
    def test_segments(self, tmp_path):
        data = open_set(disk.coco_panoptic(tmp_path))
        assert (data.semantic, data.instances, data.panoptic) == (True, True, True)
        assert data.classes.colours == ((0, 0, 255), (0, 255, 0), (255, 0, 0))
        example = data[0]
        assert disk.segments(example) == [
            (0, False, 96 - 12 - 2),
            (1, False, 96 - 12),
            (2, False, 12),
            (2, True, 12),
        ]
        assert (example.semantic[0, :2] == UNKNOWN).all()
        assert example.panoptic is not None
        np.testing.assert_array_equal(example.panoptic.semantic(UNKNOWN), example.semantic)

    def test_own_classes_merge_stuff_and_leave_void_void(self, tmp_path):
        disk.coco_panoptic(tmp_path)
        file = tmp_path / "mine.yaml"
        file.write_text(
            "layout: coco-panoptic\nimages: val2017\nmaps: annotations/panoptic_val2017\n"
            "annotations: annotations/panoptic_val2017.json\n"
            "classes: [{name: car}]\nrest: else\n"
        )
        example = open_set(file)[0]
        assert disk.segments(example) == [(0, False, 12), (0, True, 12), (1, False, 166)]
        assert (example.semantic == UNKNOWN).sum() == 2
        file.write_text(file.read_text().replace("rest: else\n", ""))
        assert (open_set(file)[0].semantic == UNKNOWN).sum() == 168


def cityscapes(root, marks=None):
    place = "val/ulm/ulm_000000_000001"
    disk.photo(root / "leftImg8bit" / f"{place}_leftImg8bit.png")
    labels = disk.halves(7, 26)
    labels[0] = 4
    disk.numbers(root / "gtFine" / f"{place}_gtFine_labelIds.png", labels)
    single = labels.copy()
    single[1:, 8:10] = 26000
    single[1:, 10:12] = 26001
    single = single if marks is None else marks(single)
    disk.numbers(root / "gtFine" / f"{place}_gtFine_instanceIds.png", single, wide=True)
    return root


def test_cityscapes(tmp_path):
    data = open_set(cityscapes(tmp_path))
    assert data.classes.names[0] == "road"
    assert data.classes.names[13] == "car"
    assert data.name(0) == "ulm_000000_000001"
    example = data[0]
    assert (example.semantic[0] == UNKNOWN).all()
    # The cars without a number of their own are a group that nobody told apart.
    assert disk.segments(example) == [
        (0, False, 88),
        (13, False, 22),
        (13, False, 22),
        (13, True, 44),
    ]


def test_cityscapes_without_instances_is_for_miou_only(tmp_path):
    cityscapes(tmp_path)
    next(tmp_path.rglob("*_instanceIds.png")).unlink()
    data = open_set(tmp_path)
    assert not data.panoptic
    assert data[0].panoptic is None


def test_ade20k_has_void_at_zero_and_class_0_at_one(tmp_path):
    disk.photo(tmp_path / "images" / "validation" / "ADE_val_00000001.jpg")
    disk.numbers(
        tmp_path / "annotations" / "validation" / "ADE_val_00000001.png", disk.halves(0, 150)
    )
    data = open_set(tmp_path)
    assert len(data.classes) == 150
    assert data.classes.names[0] == "wall"
    np.testing.assert_array_equal(data[0].semantic, disk.halves(UNKNOWN, 149))


def test_ade20k_converted_to_panoptic(tmp_path):
    disk.coco_panoptic(tmp_path)
    (tmp_path / "annotations" / "panoptic_val2017").rename(tmp_path / "ade20k_panoptic_val")
    (tmp_path / "annotations" / "panoptic_val2017.json").rename(
        tmp_path / "ade20k_panoptic_val.json"
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "val2017").rename(tmp_path / "images" / "validation")
    assert list(open_splits(tmp_path)) == ["val"]
    assert len(disk.segments(open_set(tmp_path)[0])) == 4


LABELS = [
    {"readable": "Bird", "instances": True, "evaluate": True, "color": [1, 2, 3]},
    {"readable": "Unlabeled", "instances": False, "evaluate": False, "color": [0, 0, 0]},
    {"readable": "Road", "instances": False, "evaluate": True, "color": [4, 5, 6]},
]


def mapillary(root, config="config.json", version="."):
    root.mkdir(exist_ok=True)
    (root / config).write_text(json.dumps({"labels": LABELS}))
    disk.photo(root / "validation" / "images" / "x.jpg")
    labels = disk.halves(0, 2)
    labels[0] = 1
    disk.numbers(root / "validation" / version / "labels" / "x.png", labels)
    marks = labels * 256
    marks[6:, :8] += 1
    disk.numbers(root / "validation" / version / "instances" / "x.png", marks, wide=True)
    return root


def test_mapillary(tmp_path):
    data = open_set(mapillary(tmp_path))
    assert data.classes.names == ("Bird", "Road")
    assert data.classes.colours == ((1, 2, 3), (4, 5, 6))
    # The first bird has number 0 and is an object all the same.
    assert disk.segments(data[0]) == [(0, False, 40), (0, False, 48), (1, False, 88)]
    assert (data[0].semantic[0] == UNKNOWN).all()


def test_mapillary_in_two_versions(tmp_path):
    mapillary(tmp_path, "config_v1.2.json", "v1.2")
    assert list(open_splits(tmp_path)) == ["validation"]
    mapillary(tmp_path, "config_v2.0.json", "v2.0")
    assert list(open_splits(tmp_path)) == ["validation v1.2", "validation v2.0"]
    assert len(disk.segments(open_set(tmp_path, "validation v2.0")[0])) == 3


def test_mapillary_with_panoptic_maps_only(tmp_path):
    disk.coco_panoptic(tmp_path / "other")
    (tmp_path / "config.json").write_text(json.dumps({"labels": LABELS}))
    (tmp_path / "validation" / "panoptic").mkdir(parents=True)
    (tmp_path / "other" / "val2017").rename(tmp_path / "validation" / "images")
    packed = tmp_path / "other" / "annotations"
    (packed / "panoptic_val2017" / "a.png").rename(tmp_path / "validation" / "panoptic" / "a.png")
    (packed / "panoptic_val2017.json").rename(
        tmp_path / "validation" / "panoptic" / "panoptic_2018.json"
    )
    assert len(disk.segments(open_set(tmp_path)[0])) == 4


def test_a_config_that_is_none(tmp_path):
    mapillary(tmp_path)
    (tmp_path / "config.json").write_text('{"labels": [{}]}')
    with pytest.raises(TriptychError, match=r"config\.json is no config file of Mapillary"):
        open_set(tmp_path)


def voc(root, labels, objects=None, names=("2007_000001",)):
    listed = root / "VOC2012" / "ImageSets" / "Segmentation"
    listed.mkdir(parents=True)
    (listed / "val.txt").write_text("\n".join(names))
    folder = root / "VOC2012"
    disk.photo(folder / "JPEGImages" / f"{names[0]}.jpg")
    disk.numbers(folder / "SegmentationClass" / f"{names[0]}.png", labels)
    if objects is not None:
        disk.numbers(folder / "SegmentationObject" / f"{names[0]}.png", objects)
    return root


def test_voc_has_a_background_and_a_void_beside_it(tmp_path):
    labels, objects = disk.halves(0, 15), disk.halves(0, 1)
    labels[:, 12:], objects[:, 12:] = 255, 255
    objects[:, 10:12] = 2
    data = open_set(voc(tmp_path, labels, objects))
    assert data.classes.names[0] == "background"
    assert not data.classes.is_thing[0]
    example = data[0]
    assert disk.segments(example) == [(0, False, 96), (15, False, 24), (15, False, 24)]
    assert (example.semantic[:, 12:] == UNKNOWN).all()


def test_voc_without_objects_is_for_miou_only(tmp_path):
    data = open_set(voc(tmp_path, disk.halves(0, 15)))
    assert not data.panoptic
    assert data[0].panoptic is None


class TestFolders:
    def test_numbers_are_places_in_the_list(self, tmp_path):
        data = open_set(disk.plain(tmp_path))
        assert data.classes.names == ("road", "car")
        assert data.classes.is_thing == (False, True)
        np.testing.assert_array_equal(data[0].semantic, disk.halves(0, 1))

    def test_one_set_has_no_splits(self, tmp_path):
        with pytest.raises(TriptychError, match="no split 'val', it is one set; leave --split out"):
            open_set(disk.plain(tmp_path), "val")

    def test_reduce_zero_label_says_that_0_is_void(self, tmp_path):
        file = disk.plain(tmp_path, "classes: [road]\nreduce_zero_label: true\n")
        np.testing.assert_array_equal(open_set(file)[0].semantic, disk.halves(UNKNOWN, 0))

    def test_numbers_may_be_given(self, tmp_path):
        file = disk.plain(tmp_path, "classes: [{name: road, id: 1}]\nvoid: [0]\n")
        np.testing.assert_array_equal(open_set(file)[0].semantic, disk.halves(UNKNOWN, 0))

    def test_objects(self, tmp_path):
        for name in ("a", "b"):
            marks = disk.halves(4, 40000)  # stuff takes no part in it
            marks[:4, 8:] = 0
            disk.numbers(tmp_path / "objects" / f"{name}.png", marks, wide=True)
        usual = "classes: [{name: road}, {name: car, thing: true}]\nobjects: objects\n"
        data = open_set(disk.plain(tmp_path, usual))
        assert data.panoptic
        assert disk.segments(data[0]) == [(0, False, 96), (1, False, 64), (1, True, 32)]

    def test_splits_and_folders_below(self, tmp_path):
        disk.plain(tmp_path / "dev", names=("x/a", "y/a"))
        file = tmp_path / "all.yaml"
        file.write_text(
            "layout: folders\nimages: '{split}/images'\nlabels: '{split}/labels'\n"
            "classes: [{name: a}, {name: b}]\nsplits: [dev]\n"
        )
        data = open_set(file)
        assert data.title == f"{file}, split dev"
        assert [data.name(i) for i in range(2)] == ["x/a", "y/a"]

    @pytest.mark.parametrize("bits", [1, 2, 4])
    def test_narrow_numbers_stay_what_they_are(self, tmp_path, bits):
        """Pillow stretches grey of 2 and 4 bits to 255 when it reads it."""
        file = disk.plain(tmp_path, names=("a",))
        path = disk.narrow(tmp_path / "labels" / "a.png", disk.halves(0, 1), bits)
        with Image.open(path) as read:
            assert np.array(read).max() == (1 if bits == 1 else 255 // (2**bits - 1))
        np.testing.assert_array_equal(open_set(file)[0].semantic, disk.halves(0, 1))

    def test_a_folder_with_data_yaml_is_what_the_file_says(self, tmp_path):
        disk.plain(tmp_path).rename(tmp_path / "data.yaml")
        assert len(open_set(tmp_path)) == 2


class TestDescriptions:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("classes: [{name: a}]", r"says no layout; choose from camvid, cityscapes,"),
            ("layout: folder", r"line 1: 'folder' is no layout \(did you mean 'folders'\?\)"),
            ("layout: camvid\nrot: x", r"line 2: unknown key 'rot' .*did you mean 'root'"),
            ("layout: folders\nimages: x\nlabels: y", r"needs the key 'classes'"),
            ("layout: camvid\nroot: x", r"root: .*x holds no CamVid; expected \{train,val,test\}"),
            ("layout: camvid\nclasses: [{nam: car}]", r"line 2: unknown key 'nam' .*'name'"),
            ("layout: camvid\nclasses: [3]", r"line 2: classes must be a mapping or text, not 3"),
            ("layout: voc\nrest: x", r"line 2: rest: list the other classes"),
            (
                "layout: folders\nimages: x\nlabels: y\nclasses: [{name: a}, {name: b, id: 1}]",
                r"line 4: classes: give an id to each class, or to none",
            ),
            (
                "layout: folders\nimages: x\nlabels: y\nclasses: [{name: a}]\nvoid: [0]",
                r"line 5: void: the number 0 is class 'a' as well",
            ),
            (
                "layout: folders\nimages: x\nlabels: y\nclasses: [{name: a}]\nvoid: [3, 3]",
                r"line 5: void: the number 3 stands twice",
            ),
            (
                "layout: folders\nimages: x\nlabels: y\nclasses: [{name: a, id: 65536}]",
                r"line 4: classes: 65536 is no number of a label map",
            ),
            (
                "layout: folders\nimages: x\nlabels: y\nclasses: [{name: a, id: 3}]\n"
                "reduce_zero_label: true",
                r"line 5: reduce_zero_label: the classes have ids",
            ),
            (
                "layout: folders\nimages: x\nlabels: y\nclasses: [{name: a}]\nsplits: [val]",
                r"splits: no path has \{split\} in it",
            ),
            (
                "layout: folders\nimages: 'x{split}'\nlabels: y\nclasses: [{name: a}]",
                r"images: has \{split\} in it; list them under 'splits'",
            ),
            (
                "layout: folders\nimages: x\nlabels: y\nclasses: [{name: a}]",
                r"no folder .*y; check the path",
            ),
            (
                "layout: coco-instances\nimages: x\nannotations: y",
                r"no folder of images .*x; check the path",
            ),
            (
                "layout: coco-panoptic\nimages: x\nmaps: z\nannotations: y",
                r"no folder .*x; check the path",
            ),
        ],
    )
    def test_mistakes(self, tmp_path, text, words):
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        with pytest.raises(TriptychError, match=words):
            open_set(file)

    @pytest.mark.parametrize(
        ("classes", "words"),
        [
            (
                "[{name: cart}]",
                r"no class 'cart' \(did you mean 'car'\?\); there are: sky, building",
            ),
            ("[{name: a, of: [car]}, {name: car}]", "'car' is taken twice"),
            ("[{name: a, of: [car, sky]}]", "'a' is made of things and stuff; say 'thing: false'"),
            ("[{name: sky, thing: true}]", "'sky' cannot be a thing"),
            ("[{name: a, of: [car]}, {name: a, of: [sky]}]", "'a' appears twice"),
        ],
    )
    def test_mistakes_in_own_classes(self, tmp_path, classes, words):
        disk.camvid(tmp_path)
        (tmp_path / "data.yaml").write_text(f"layout: camvid\nclasses: {classes}\n")
        with pytest.raises(TriptychError, match=words):
            open_set(tmp_path)

    def test_own_classes_of_a_packed_set(self, tmp_path):
        disk.camvid(tmp_path / "packed")
        file = tmp_path / "mine.yaml"
        file.write_text("layout: camvid\nroot: packed\nclasses: [{name: car}]\nrest: else\n")
        # Sky is the rest; void stays void.
        np.testing.assert_array_equal(open_set(file)[0].semantic, disk.halves(1, UNKNOWN))


class TestNothingKnown:
    def test_an_unknown_folder_is_told_what_was_looked_for(self, tmp_path):
        with pytest.raises(TriptychError, match="not a layout that is known") as told:
            open_set(tmp_path)
        assert "\n" not in str(told.value)
        for layout in LAYOUTS:
            assert layout.title in str(told.value)

    def test_plain_folders_need_a_description(self, tmp_path):
        disk.plain(tmp_path)
        with pytest.raises(TriptychError, match=r"name the classes in a YAML file"):
            open_set(tmp_path)

    def test_no_such_thing(self, tmp_path):
        with pytest.raises(TriptychError, match=r"no data set .*gone"):
            open_set(tmp_path / "gone")
