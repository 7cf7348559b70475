"""Results on disk: what is written in each form comes back, and mistakes are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hotcoco import mask as rle
from PIL import Image
from tests.data.sets import disk

from triptych.data.sets.base import DiskSet
from triptych.data.sets.open import open_set
from triptych.errors import TriptychError
from triptych.evaluation.evaluate import Report, measure
from triptych.evaluation.files import open_answers
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.predict.files import Results
from triptych.readings.settings import ReadingSettings

SIZE = (disk.HEIGHT, disk.WIDTH)


@pytest.fixture
def data(tmp_path: Path) -> DiskSet:
    return open_set(disk.coco_panoptic(tmp_path / "data"))


def measured(folder: Path, data: DiskSet) -> Report:
    answers = open_answers(folder, data)
    return measure(
        ((data[i], answers.answer(i, data[i].semantic.shape)) for i in range(len(data))),
        data.classes,
    )


def write_truth(folder: Path, data: DiskSet) -> Path:
    """The truth of ``data`` itself, as if a tool had found it, in all three forms."""
    folder.mkdir()
    annotations, instances = [], []
    for index in range(len(data)):
        example, name = data[index], data.name(index)
        assert example.panoptic is not None
        disk.numbers(folder / "semantic" / f"{name}.png", example.semantic)
        ids = example.panoptic.ids
        disk.coloured(folder / "panoptic" / f"{name}.png", ids)
        segments = [
            {"id": s.id, "category_id": data.classes.names[s.class_id]}
            for s in example.panoptic.segments
            if (ids == s.id).any()
        ]
        entry = {"image_id": name, "file_name": f"{name}.png", "segments_info": segments}
        annotations.append(entry)
        for object_ in example.panoptic.instances(data.classes.thing_ids):
            code = rle.encode(np.asfortranarray(object_.mask))
            instances.append(
                {
                    "image_id": name,
                    "category_id": data.classes.names[object_.class_id],
                    "score": 0.9,
                    "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
                }
            )
    (folder / "panoptic.json").write_text(json.dumps({"annotations": annotations}))
    (folder / "instances.json").write_text(json.dumps(instances))
    return folder


def test_the_truth_as_a_tools_results_is_perfect(tmp_path: Path, data: DiskSet) -> None:
    report = measured(write_truth(tmp_path / "found", data), data)
    assert report.figures["miou"] == report.figures["pq"] == 1.0
    assert report.figures["ap"] == pytest.approx(1.0)


def test_a_part_that_is_missing_is_not_measured(tmp_path: Path, data: DiskSet) -> None:
    folder = write_truth(tmp_path / "found", data)
    (folder / "panoptic.json").unlink()
    (folder / "instances.json").unlink()
    assert set(measured(folder, data).per_class) == {"iou"}


def test_what_predict_writes_is_read_back(tmp_path: Path) -> None:
    data = open_set(disk.camvid(tmp_path / "data"))
    classes = data.classes
    torch.manual_seed(0)
    logits = torch.randn(11, 3, 4).repeat_interleave(4, 1).repeat_interleave(4, 2) * 9
    labels = torch.full((11, 12), -9.0)
    labels[range(11), range(11)] = 9
    masks = MaskSet(logits, labels, classes, Geometry(SIZE, SIZE, SIZE))
    pixels = torch.zeros(*SIZE, 3, dtype=torch.uint8)
    for index in range(len(data)):
        base = tmp_path / "found" / data.name(index)
        Results(base, data.image(index), "model", ReadingSettings()).write(pixels, masks)
    answer = open_answers(tmp_path / "found", data).answer(1, SIZE)
    assert answer.semantic is not None
    np.testing.assert_array_equal(answer.semantic, masks.semantic().ids.numpy())
    wanted = masks.panoptic()
    assert answer.panoptic is not None
    assert torch.equal(answer.panoptic.ids, wanted.ids.to(answer.panoptic.ids.dtype))
    assert [s.class_id for s in answer.panoptic.segments] == [s.class_id for s in wanted.segments]
    found = masks.instances()
    assert answer.instances is not None
    assert len(answer.instances) == len(found) > 0
    for ours, theirs in zip(answer.instances, found, strict=True):
        assert torch.equal(ours.mask, theirs.mask)
        assert ours.name == theirs.name
        assert ours.score == pytest.approx(theirs.score, abs=1e-6)


def broken(folder: Path, what: str) -> None:
    """Damage results in one way."""
    instances, panoptic = folder / "instances.json", folder / "panoptic.json"
    entries = json.loads(instances.read_text())
    match what:
        case "category":
            entries[0]["category_id"] = "unicorn"
        case "image":
            entries[0]["image_id"] = 99
        case "lacks":
            del entries[0]["score"]
        case "size":
            code = rle.encode(np.asfortranarray(np.ones((3, 3), bool)))
            entries[0]["segmentation"] = {"size": [3, 3], "counts": code["counts"].decode()}
        case "code":
            entries[0]["segmentation"] = {"size": list(SIZE)}
        case "list":
            entries = {}
        case "json":
            instances.write_text("{")
            return
        case "entry":
            panoptic.write_text("[]")
        case "map":
            Image.new("L", (4, 4)).save(next((folder / "panoptic").iterdir()))
            return
    instances.write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("category", "the data have no category 'unicorn'"),
        ("image", "the data have no image 99"),
        ("lacks", "result 0 lacks one of category_id, image_id, score, segmentation"),
        ("size", r"result 0: its run lengths are for size \[3, 3\], the image has \[12, 16\]"),
        ("code", "result 0: its run lengths cannot be read: counts is None"),
        ("list", "expected a list of results"),
        ("json", "instances.json: cannot be read"),
        ("entry", "panoptic.json: has no entry for image"),
        ("map", "expected RGB"),
    ],
)
def test_broken_results_are_named(tmp_path: Path, data: DiskSet, what: str, words: str) -> None:
    folder = write_truth(tmp_path / "found", data)
    broken(folder, what)
    with pytest.raises(TriptychError, match=words):
        measured(folder, data)


def test_folders_without_results(tmp_path: Path, data: DiskSet) -> None:
    with pytest.raises(TriptychError, match="no folder of results"):
        open_answers(tmp_path / "nowhere", data)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TriptychError, match=r"holds no results: neither .*\.json of triptych pred"):
        open_answers(tmp_path / "empty", data)


def test_foreign_json_beside_an_image_is_no_prediction(tmp_path: Path, data: DiskSet) -> None:
    (tmp_path / f"{data.name(0)}.json").write_text("{}")
    with pytest.raises(TriptychError, match="was not written by triptych predict"):
        open_answers(tmp_path, data).answer(0, SIZE)


RUNS = {"size": list(SIZE), "counts": [10, 5, 177]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score": None}, "score is None; give a finite number"),
        ({"score": "0.9"}, "score is '0.9'; give a finite number"),
        ({"score": float("nan")}, "score is nan"),
        ({"score": True}, "score is True"),
        ({"score": 10**400}, "score is 1000"),
        ({"image_id": [1]}, r"image_id is \[1\]; give a number or a name"),
        ({"image_id": None}, "image_id is None"),
        ({"image_id": 7.5}, "image_id is 7.5"),
        ({"category_id": [1]}, r"the data have no category \[1\]"),
        ({"category_id": True}, "the data have no category True"),
        ({"category_id": None}, "the data have no category None"),
        ({"segmentation": []}, "it has no outline"),
        ({"segmentation": None}, "it has no outline"),
        ({"segmentation": [[float("nan"), 5, 25, 5, 25, 25]]}, "it holds nan"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "7 numbers, x without y"),
        ({"segmentation": [[10**400, 1, 5, 1, 5, 5]]}, "it holds 1000"),
        ({"segmentation": [[-1e8, 1, 5, 1, 5, 5]]}, "reaches 100000000 pixels out"),
        ({"segmentation": RUNS | {"counts": [10, 5]}}, "add up to 15 pixels, not 192"),
        ({"segmentation": RUNS | {"counts": "Q5"}}, "add up to 161 pixels, not 192"),
        ({"segmentation": RUNS | {"counts": None}}, "counts is None"),
        ({"segmentation": RUNS | {"counts": ["x"]}}, "'x' is none"),
        ({"segmentation": "RLE"}, "neither polygons nor run lengths"),
    ],
)
def test_entries_that_mean_nothing_are_named(
    tmp_path: Path, data: DiskSet, changes: dict, words: str
) -> None:
    good = {"image_id": "a", "category_id": 4, "score": 0.5, "segmentation": RUNS}
    (tmp_path / "instances.json").write_text(json.dumps([good, good | changes]))
    with pytest.raises(TriptychError, match=f"instances.json: result 1: .*{words}"):
        open_answers(tmp_path, data).answer(0, SIZE)


def test_ids_of_results_match_however_they_are_written(tmp_path: Path) -> None:
    data = open_set(disk.coco_instances(tmp_path / "data"))
    good = {"score": 0.5, "segmentation": RUNS}
    spellings = [(1, 3), ("1", 3.0), (1.0, "person"), ("1", "3")]
    entries = [good | {"image_id": i, "category_id": c} for i, c in spellings]
    (tmp_path / "instances.json").write_text(json.dumps(entries))
    answer = open_answers(tmp_path, data).answer(0, SIZE)
    assert answer.instances is not None
    assert [one.class_id for one in answer.instances] == [0, 0, 0, 0]
    assert int(answer.instances[0].mask.sum()) == 5


def test_results_of_classes_that_nobody_asks_for_are_left_out(tmp_path: Path) -> None:
    disk.coco_instances(tmp_path / "data")
    table = tmp_path / "data" / "own.yaml"
    table.write_text(
        "layout: coco-instances\nimages: val/images\nannotations: val/instances.json\n"
        "classes: [car]\n"
    )
    good = {"image_id": 1, "score": 0.5, "segmentation": RUNS}
    entries = [good | {"category_id": 3}, good | {"category_id": 5}]
    (tmp_path / "instances.json").write_text(json.dumps(entries))
    answer = open_answers(tmp_path, open_set(table)).answer(0, SIZE)
    assert answer.instances is not None
    assert [one.name for one in answer.instances] == ["car"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e.update(segments_info=[7]), "an id is a whole number"),
        (lambda e: e.update(segments_info={}), "segments_info no list"),
        (lambda e: e.update(file_name=3.5), "file_name is no text"),
        (lambda e: e["segments_info"].append(e["segments_info"][0]), "is listed twice"),
        (lambda e: e["segments_info"].pop(), "which no segment has"),
        (lambda e: e["segments_info"].append({"id": 99, "category_id": 4}), "99 has no pixel in"),
        (lambda e: e["segments_info"][0].update(category_id=[]), "no category"),
        (lambda e: e.update(image_id={}), "image_id is {}"),
    ],
)
def test_panoptic_entries_that_mean_nothing_are_named(
    tmp_path: Path, data: DiskSet, change: Callable, words: str
) -> None:
    folder = write_truth(tmp_path / "found", data)
    contents = json.loads((folder / "panoptic.json").read_text())
    change(contents["annotations"][0])
    (folder / "panoptic.json").write_text(json.dumps(contents))
    with pytest.raises(TriptychError, match=words):
        open_answers(folder, data).answer(0, SIZE)


def test_an_image_with_two_panoptic_results(tmp_path: Path, data: DiskSet) -> None:
    folder = write_truth(tmp_path / "found", data)
    contents = json.loads((folder / "panoptic.json").read_text())
    contents["annotations"] *= 2
    (folder / "panoptic.json").write_text(json.dumps(contents))
    with pytest.raises(TriptychError, match="result 1: image 'a' has a result before; keep one"):
        open_answers(folder, data)


@pytest.mark.parametrize("part", ["semantic", "panoptic"])
def test_maps_of_another_size(tmp_path: Path, data: DiskSet, part: str) -> None:
    folder = write_truth(tmp_path / "found", data)
    with Image.open(folder / part / "a.png") as picture:
        picture.resize((4, 4)).save(folder / part / "a.png")
    with pytest.raises(TriptychError, match=r"a\.png: is 4x4, its image 16x12; resize it"):
        open_answers(folder, data).answer(0, SIZE)


def test_class_ids_that_are_none(tmp_path: Path, data: DiskSet) -> None:
    disk.numbers(tmp_path / "semantic" / "a.png", disk.halves(0, 9))
    with pytest.raises(TriptychError, match=r"holds the class id 9; ids go from 0 to 2, and 255"):
        open_answers(tmp_path, data).answer(0, SIZE)
