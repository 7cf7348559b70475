"""Contact sheets, and the commands that draw and check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.sets import disk

from triptych.commands.cli import main
from triptych.data.sets.base import read_image
from triptych.data.sets.open import open_set
from triptych.data.sets.sheet import TILE, VOID_LIGHT, sheet, truth_map
from triptych.truth import Example


def test_a_tile_holds_the_photo_small_and_the_numbers_whole(tmp_path):
    data = open_set(disk.coco_instances(tmp_path))
    photo, truth = truth_map(data[1], data.classes)
    assert photo.size == (disk.WIDTH, disk.HEIGHT)  # never enlarged
    assert truth.segments == ()
    large = torch.zeros(1200, 1600, 3, dtype=torch.uint8)
    whole = Example(large, np.full((1200, 1600), 2, np.uint8))
    photo, truth = truth_map(whole, data.classes)
    assert photo.size == TILE
    assert [(s.name, s.area) for s in truth.segments] == [("car", 1200 * 1600)]
    assert (truth.ids == 1).all()


def test_smaller_objects_are_drawn_on_larger_ones(tmp_path):
    data = open_set(disk.coco_instances(tmp_path))
    _, truth = truth_map(data[0], data.classes)
    names = [segment.name for segment in truth.segments]
    assert names == ["person", "car", "tie"]
    assert truth.ids[3, 2] == names.index("tie") + 1
    assert truth.ids[0, 0] == names.index("person") + 1
    assert truth.ids[11, 0] == 0


def test_segments_keep_their_classes(tmp_path):
    data = open_set(disk.coco_panoptic(tmp_path))
    _, truth = truth_map(data[0], data.classes)
    by_id = {segment.id: segment.name for segment in truth.segments}
    assert [by_id.get(int(truth.ids[y, x])) for y, x in ((0, 0), (1, 1), (11, 0), (5, 3))] == [
        None,
        "sky",
        "grass",
        "car",
    ]


def test_void_is_dark_and_classes_are_in_the_legend(tmp_path):
    file = disk.plain(tmp_path, "classes: [{name: a, colour: [250, 0, 0]}]\nvoid: [1]\n")
    for name in ("a", "b"):
        Image.new("RGB", (400, 300), (200, 200, 200)).save(tmp_path / "images" / f"{name}.png")
        values = np.zeros((300, 400))
        values[:, 200:] = 1
        disk.numbers(tmp_path / "labels" / f"{name}.png", values)
    picture = np.asarray(sheet(open_set(file), [0, 1], columns=2))
    dark = round(VOID_LIGHT * 200)
    assert (picture == dark).all(-1).sum() == 2 * 300 * 200
    reddish = (picture[..., 0] > 200) & (picture[..., 1] < 110) & (picture[..., 1] > 0)
    assert reddish.sum() >= 2 * 300 * 190
    legend = (picture == (250, 0, 0)).all(-1)
    assert legend.sum() > 50
    assert not legend[:320].any()


def test_show_writes_a_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    disk.camvid(tmp_path / "data", "val", 5)
    command = ["data", "show", "data", "--count", "4", "--columns", "3"]
    assert main([*command, "--out", "new/sheet.png"]) == 0
    told = capsys.readouterr().out
    assert told == "CamVid in data, split val: 4 of 5 images in new/sheet.png\n"
    with Image.open("new/sheet.png") as picture:
        assert picture.width > 3 * TILE[0]
        assert picture.height > 2 * TILE[1]
    assert main([*command, "--out", "sheet.jpg"]) == 0
    with Image.open("sheet.jpg") as picture:
        assert picture.format == "JPEG"
    capsys.readouterr()
    assert main(["data", "show", "data", "--count", "400", "--columns", "30"]) == 0
    assert "5 of 5 images in out/data.png" in capsys.readouterr().out
    assert Path("out/data.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data"], "Expected one of {check, show}; see triptych"),
        (["data", "check"], "DATA; see triptych data check --help"),
        (["data", "check", "gone"], "no data set gone: give a folder or a YAML file that exists"),
        (["data", "check", "here"], "here: not a layout that is known. Looked for CamVid:"),
        (["data", "show", "set", "--count", "0"], "--count and --columns must be 1 or more"),
        (["data", "show", "set", "--out", "x.bmp"], "x.bmp: pictures are written as .png or .jpg"),
        (["data", "show", "set", "--split", "x"], "set: no split 'x'; there are: val"),
        (["data", "show", "broken"], "images/0016E5_00000.jpg: is empty (0 bytes)"),
    ],
)
def test_mistakes_end_in_one_line(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    disk.camvid(Path("set"))
    disk.camvid(Path("broken"), frames=1)
    Path("broken/val/images/0016E5_00000.jpg").write_bytes(b"")
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert words in told.err


def test_check_counts_faults_by_kind(tmp_path, capsys):
    disk.camvid(tmp_path, frames=4)
    for number in (1, 2):
        (tmp_path / "val" / "labels" / f"0016E5_0000{number}.png").write_bytes(b"")
    (tmp_path / "val" / "images" / "0016E5_00003.jpg").unlink()
    assert main(["data", "check", str(tmp_path), "--split", "val"]) == 2
    told = capsys.readouterr()
    assert told.err == ""
    lines = told.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == [
        "labels without image",
        "unreadable file",
        "unreadable file",
    ]
    assert ": 3 images, 11 classes, 3 faults, " in lines[3]
    assert lines[4:] == ["       2  unreadable file", "       1  labels without image"]


def test_check_of_a_sound_set(tmp_path, capsys):
    assert main(["data", "check", str(disk.camvid(tmp_path))]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_an_interrupted_check_tells_what_it_found(tmp_path, capsys, monkeypatch):
    disk.camvid(tmp_path, frames=3)
    (tmp_path / "val" / "labels" / "0016E5_00000.png").write_bytes(b"")

    def interrupted(path):
        if "00002" in path.name:
            raise KeyboardInterrupt
        return read_image(path)

    monkeypatch.setattr("triptych.data.sets.check.read_image", interrupted)
    assert main(["data", "check", str(tmp_path)]) == 130
    told = capsys.readouterr()
    assert told.out.startswith("unreadable file: ")
    assert told.out.count("\n") == 1
    assert told.err.splitlines()[-1] == "triptych: interrupted"
