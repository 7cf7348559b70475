"""More classes than a byte can tell apart: maps have 16 bits then, and void is 65535."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.data.sets import disk

from triptych.classes import Classes
from triptych.data.sets.check import check
from triptych.data.sets.open import open_set
from triptych.data.sets.sheet import sheet
from triptych.data.views import Views
from triptych.evaluation.answers import match_classes
from triptych.evaluation.evaluate import measure
from triptych.evaluation.files import open_answers
from triptych.metrics.semantic import ConfusionMatrix
from triptych.networks.contract import Prediction
from triptych.train.labelling import LabellingCriterion
from triptych.truth import IGNORE, WIDE_IGNORE, ignored_id

COUNT = 300


@pytest.fixture
def data(tmp_path):
    """Classes 255 (a number of void, elsewhere) and 299, and void, in stripes."""
    listed = "".join(
        f"  - {{name: class {i}, thing: {str(i == 299).lower()}}}\n" for i in range(COUNT)
    )
    file = disk.plain(tmp_path, f"classes:\n{listed}void: [65535]\n", names=("a",))
    values = disk.halves(255, 299)
    values[:3] = 65535
    disk.numbers(tmp_path / "labels" / "a.png", values, wide=True)
    return open_set(file)


def test_void_is_no_class():
    assert (ignored_id(255), ignored_id(256)) == (IGNORE, WIDE_IGNORE)


def test_class_maps(data):
    semantic = data[0].semantic
    assert semantic.dtype == np.uint16
    assert set(np.unique(semantic).tolist()) == {255, 299, WIDE_IGNORE}
    assert [fault for each in check(data, {}) for fault in each] == []
    assert sheet(data, [0]).width > 400


def test_figures(data, tmp_path):
    disk.numbers(tmp_path / "found" / "semantic" / "a.png", disk.halves(255, 7), wide=True)
    answers = open_answers(tmp_path / "found", data)
    example = data[0]
    report = measure([(example, answers.answer(0, example.semantic.shape))], data.classes)
    assert report.per_class["iou"]["class 255"] == 1.0
    assert report.per_class["iou"]["class 299"] == 0.0
    assert report.figures["pixel_accuracy"] == 0.5


def test_a_model_of_fewer_classes(data):
    match = match_classes(Classes.of(["class 255", "other"]), data.classes)
    found = match.semantic(torch.tensor([[0, 1]]))
    assert found.tolist() == [[255, WIDE_IGNORE]]
    matrix = ConfusionMatrix(COUNT)
    matrix.update(found, np.array([[255, 299]]))
    assert matrix.matrix[255, 255] == matrix.matrix[299, COUNT] == 1


def test_training(data):
    source = str(data.title)
    targets = Views(source, crop=(12, 16), scale=(1.0, 1.0), mirror=0.0)[0].targets
    assert set(targets.semantic.unique().tolist()) == {255, 299, WIDE_IGNORE}
    assert targets.known.sum() == 9 * 16
    assert targets.class_ids.tolist() == [255], "stuff; the thing is told apart by nobody"
    assert targets.ambiguous_class_ids.tolist() == [299]
    logits = torch.zeros(1, COUNT, 12, 16)
    logits[:, 255, :, :8] = logits[:, 299, :, 8:] = 50.0
    loss = LabellingCriterion()(Prediction.from_logits(logits, None), [targets])["pixel"]
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_objects_of_many_classes(tmp_path):
    def change(content):
        content["categories"] = [{"id": n, "name": f"class {n}"} for n in range(1203)]
        content["annotations"] = [disk.annotation(1, 1202, disk.box(0, 0, 5, 5))]

    data = open_set(disk.coco_instances(tmp_path, change))
    example = data[0]
    assert example.semantic[0, 0] == 1202
    assert example.semantic[-1, -1] == WIDE_IGNORE
