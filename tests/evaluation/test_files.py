"""Results on disk: what is written in each form comes back, and mistakes are named."""

from __future__ import annotations

import json
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
from triptych.masks import Geometry, MaskSet
from triptych.reading_settings import ReadingSettings
from triptych.results import Results

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
