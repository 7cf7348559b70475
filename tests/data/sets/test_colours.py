"""Label maps in colour: CVAT's table, or colours in a YAML file; and other names of label files."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from tests.data.sets import disk

from triptych.data.sets.base import EmptySetError, FaultKind
from triptych.data.sets.check import check
from triptych.data.sets.open import open_set
from triptych.errors import TriptychError

BLACK, RED, BLUE = (0, 0, 0), (250, 50, 83), (10, 20, 200)
TABLE = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\nroad: 10,20,200 ::\n"


def painted(path, left, right, mode="RGB"):
    """A map of two colours, side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.empty((disk.HEIGHT, disk.WIDTH, 3), np.uint8)
    values[:, : disk.WIDTH // 2], values[:, disk.WIDTH // 2 :] = left, right
    image = Image.fromarray(values)
    (image.quantize(8) if mode == "P" else image.convert(mode)).save(path)
    return path


def cvat(root, mode="RGB", objects=(BLACK, (7, 7, 200))):
    disk.photo(root / "JPEGImages" / "a.png")
    painted(root / "SegmentationClass" / "a.png", BLACK, RED, mode)
    if objects:
        painted(root / "SegmentationObject" / "a.png", *objects)
    listed = root / "ImageSets" / "Segmentation"
    listed.mkdir(parents=True)
    (listed / "default.txt").write_text("a\n")
    (root / "labelmap.txt").write_text(TABLE)
    return root


def faults(source):
    return [fault for each in check(open_set(source), {}) for fault in each]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_the_table_of_cvat(tmp_path, mode):
    data = open_set(cvat(tmp_path, mode))
    assert data.classes.names == ("background", "car", "road")
    assert data.classes.is_thing == (False, True, True)
    assert data.classes.colours[1] == RED
    np.testing.assert_array_equal(data[0].semantic, disk.halves(0, 1))
    assert disk.segments(data[0]) == [(0, False, 96), (1, False, 96)]
    assert faults(tmp_path) == []


def test_classes_of_ones_own_over_the_table(tmp_path):
    cvat(tmp_path)
    file = tmp_path / "data.yaml"
    file.write_text("layout: cvat\nclasses: [{name: vehicle, of: [car]}]\nrest: other\n")
    data = open_set(tmp_path)
    assert data.classes.names == ("vehicle", "other")
    np.testing.assert_array_equal(data[0].semantic, disk.halves(1, 0))


def test_colours_that_mean_nothing(tmp_path):
    cvat(tmp_path, objects=None)
    painted(tmp_path / "SegmentationClass" / "a.png", BLACK, (250, 50, 84))
    (fault,) = faults(tmp_path)
    assert fault.kind is FaultKind.UNKNOWN_ID
    assert "hold colour [250, 50, 84] (96 pixels): neither a class nor void" in fault.text


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("car\n", "line 1: expected 'name:red,green,blue:parts:actions', not 'car'"),
        ("car:1,2:::\n", "line 1: expected"),
        ("car:1,2,999::\n", "line 1: expected"),
        ("car:1,2,3::\nbus:1,2,3::\n", "line 2: 'bus' has the colour of 'car'"),
        ("car:1,2,3::\ncar:1,2,4::\n", "labelmap.txt: classes: 'car' appears twice"),
        ("", "labelmap.txt: classes: the list is empty"),
    ],
)
def test_tables_that_say_nothing(tmp_path, table, words):
    cvat(tmp_path)
    (tmp_path / "labelmap.txt").write_text(table)
    with pytest.raises(TriptychError, match=re.escape(words)):
        open_set(tmp_path)


class TestYaml:
    CLASSES = (
        "classes:\n  - {name: road, colour: [0, 0, 0]}\n"
        "  - {name: car, thing: true, colour: [250, 50, 83]}\n"
    )

    def test_colours_of_the_classes(self, tmp_path):
        file = disk.plain(tmp_path, self.CLASSES)
        painted(tmp_path / "labels" / "a.png", BLACK, RED)
        data = open_set(file)
        np.testing.assert_array_equal(data[0].semantic, disk.halves(0, 1))
        np.testing.assert_array_equal(data[1].semantic, disk.halves(0, 1))  # numbers still count

    def test_colours_of_void(self, tmp_path):
        file = disk.plain(tmp_path, self.CLASSES + "void: [[10, 20, 200], 9]\n")
        painted(tmp_path / "labels" / "a.png", BLUE, RED)
        np.testing.assert_array_equal(open_set(file)[0].semantic, disk.halves(255, 1))

    @pytest.mark.parametrize(
        ("void", "words"),
        [
            ("[[250, 50, 83]]", r"void: \[250, 50, 83\] is the colour of a class as well"),
            ("[[250, 50, 830]]", r"void: \[250, 50, 830\] is no colour"),
            ("[[1, 2]]", "void must be|void.0 must be"),
        ],
    )
    def test_mistakes(self, tmp_path, void, words):
        with pytest.raises(TriptychError, match=words):
            open_set(disk.plain(tmp_path, self.CLASSES + f"void: {void}\n"))

    def test_without_colours_the_way_is_told(self, tmp_path):
        file = disk.plain(tmp_path)
        painted(tmp_path / "labels" / "a.png", BLACK, RED)
        with pytest.raises(TriptychError, match="give each class its colour in a YAML file"):
            open_set(file)[0]


class TestSuffixes:
    def rename(self, root):
        for label in list((root / "labels").iterdir()):
            label.rename(label.with_name(f"{label.stem}_mask.png"))

    def test_the_message_names_the_first_pair_and_the_way(self, tmp_path):
        file = disk.plain(tmp_path)
        self.rename(tmp_path)
        with pytest.raises(EmptySetError) as error:
            open_set(file)
        assert "images/a.png has no labels" in str(error.value)
        assert "labels/a.png; it is left out (there is a_mask.png: in a YAML" in str(error.value)
        assert "say 'label_suffix: _mask')" in str(error.value)

    @pytest.mark.parametrize("suffix", ["_mask", "_mask.png"])
    def test_a_suffix_that_is_named(self, tmp_path, suffix):
        file = disk.plain(tmp_path)
        self.rename(tmp_path)
        file.write_text(file.read_text() + f"label_suffix: {suffix}\n")
        assert [open_set(file).name(index) for index in range(2)] == ["a", "b"]
        assert faults(file) == []

    def test_suffixes_of_images(self, tmp_path):
        file = disk.plain(tmp_path, names=("a", "b_photo"))
        (tmp_path / "labels" / "b_photo.png").rename(tmp_path / "labels" / "b.png")
        file.write_text(file.read_text() + "image_suffix: _photo\n")
        assert [open_set(file).name(index) for index in range(len(open_set(file)))] == ["b"]
        assert "has no '_photo' at the end of its name" in faults(file)[0].text


class TestVocsShape:
    def test_classes_that_a_file_beside_names(self, tmp_path):
        cvat(tmp_path, objects=None)
        (tmp_path / "labelmap.txt").unlink()
        disk.numbers(tmp_path / "SegmentationClass" / "a.png", disk.halves(0, 2))
        (tmp_path / "class_names.txt").write_text("_background_\nscratch\ndent\n")
        data = open_set(tmp_path)
        assert data.classes.names == ("_background_", "scratch", "dent")
        assert data.classes.is_thing == (False, True, True)
        (remark,) = faults(tmp_path)
        assert remark.kind is FaultKind.REMARK
        assert "names the classes: 0 _background_, 1 scratch, 2 dent" in remark.text

    def test_without_one_the_guess_is_told(self, tmp_path):
        cvat(tmp_path, objects=None)
        (tmp_path / "labelmap.txt").unlink()
        disk.numbers(tmp_path / "SegmentationClass" / "a.png", disk.halves(0, 2))
        (fault,) = faults(tmp_path)
        assert fault.kind is FaultKind.GUESSED
        assert "numbers are read as those of PASCAL VOC (1 aeroplane, 2 bicycle" in fault.text
