"""Mask AP against the reference tool, pycocotools, run on the same masks."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math

import hotcoco.mask
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as rle

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.metrics.instance import FIGURES, MaskAP, turned_run_lengths
from triptych.readings.instance import Instance
from triptych.truth import TrueInstance

CLASSES = Classes.of(["car", "person", "bicyclist", "never"])

Case = tuple[list[Instance], list[TrueInstance]]


def instance(mask: np.ndarray, class_id: int, score: float) -> Instance:
    return Instance(
        torch.from_numpy(mask), class_id, CLASSES.names[class_id], score, (0.0, 0.0, 0.0, 0.0)
    )


def random_case(rng: np.random.Generator) -> Case:
    """Rectangles of all three sizes; detections are ragged, shifted, doubled, mislabelled."""
    height, width = int(rng.integers(40, 150)), int(rng.integers(40, 200))
    truth, detections = [], []
    for _ in range(rng.integers(0, 7)):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        mask = np.zeros((height, width), bool)
        mask[top : top + rng.integers(3, height), left : left + rng.integers(3, width)] = True
        class_id = int(rng.integers(0, 3))
        # COCO gives polygon areas, which differ a little from the number of pixels.
        area = float(mask.sum()) * 0.97 if rng.random() < 0.5 else None
        truth.append(TrueInstance(mask, class_id, bool(rng.random() < 0.2), area))
        for _ in range(rng.integers(0, 4)):
            ragged = np.roll(mask, rng.integers(-4, 5, 2), (0, 1)) & (rng.random(mask.shape) < 0.95)
            guess = class_id if rng.random() < 0.8 else int(rng.integers(0, 3))
            # Rounded, so that equal scores are common and their order matters.
            detections.append(instance(ragged, guess, round(float(rng.random()), 1)))
    if rng.random() < 0.2:
        detections = []
    return detections, truth


def reference(cases: list[Case]) -> tuple[list[float], list[float]]:
    """The twelve figures and AP by class, as pycocotools has them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def encode(mask: object) -> dict:
        return rle.encode(np.asfortranarray(mask, dtype=np.uint8))

    images: list[dict] = []
    annotations: list[dict] = []
    results: list[dict] = []
    for number, (detections, truth) in enumerate(cases):
        height, width = truth[0].mask.shape if truth else (1, 1)
        images.append({"id": number, "height": height, "width": width})
        for true in truth:
            code = encode(true.mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": true.class_id,
                    "iscrowd": int(true.crowd),
                    "area": true.area or float(rle.area(code)),
                    "segmentation": code,
                }
            )
        results += [
            {
                "image_id": number,
                "category_id": d.class_id,
                "score": d.score,
                "segmentation": encode(d.mask),
            }
            for d in detections
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES.names)]
        coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    per_class = [float(precision[:, :, k].mean()) for k in range(len(CLASSES))]
    return evaluation.stats.tolist(), per_class


def undefined_as_minus_one(figures: list[float]) -> list[float]:
    return [-1.0 if math.isnan(f) else f for f in figures]


@pytest.mark.parametrize("seed", range(6))
def test_equals_pycocotools_on_all_twelve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cases = [random_case(rng) for _ in range(20)]
    precision = MaskAP(CLASSES)
    for detections, truth in cases:
        precision.update(detections, truth)
    ours = dataclasses.asdict(precision.compute())
    figures, per_class = reference(cases)
    assert len(FIGURES) == 12
    assert 0.05 < figures[0] < 0.95
    assert undefined_as_minus_one([ours[f] for f in FIGURES]) == pytest.approx(figures, abs=1e-9)
    assert undefined_as_minus_one(list(ours["per_class"])) == pytest.approx(per_class, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_ignored_is_a_crowd_of_every_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cases = [case for case in (random_case(rng) for _ in range(24)) if case[1]]
    precision, expected = MaskAP(CLASSES, keep_matches=True), []
    for detections, truth in cases:
        ignored = np.zeros(truth[0].mask.shape, bool)
        ignored[: rng.integers(60, 120), : rng.integers(60, 160)] = True
        matches = precision.update(detections, truth, ignored)
        assert matches is not None
        crowds = [TrueInstance(ignored, class_id, crowd=True) for class_id in range(len(CLASSES))]
        expected.append((detections, [*truth, *crowds]))
    ours = dataclasses.asdict(precision.compute())
    figures, _ = reference(expected)
    without, _ = reference(cases)
    assert undefined_as_minus_one([ours[f] for f in FIGURES]) == pytest.approx(figures, abs=1e-9)
    assert figures[0] > without[0]


def test_what_is_ignored_has_the_size_of_the_masks() -> None:
    with pytest.raises(TriptychError, match="have sizes"):
        MaskAP(CLASSES).update([instance(square(0), 0, 0.5)], [], np.zeros((3, 3), bool))


def test_more_images_may_follow_a_look_at_the_figures() -> None:
    rng = np.random.default_rng(7)
    first, second = ([random_case(rng) for _ in range(8)] for _ in range(2))
    watched, plain = MaskAP(CLASSES), MaskAP(CLASSES)
    for detections, truth in first:
        watched.update(detections, truth)
    early = watched.compute()
    for detections, truth in second:
        watched.update(detections, truth)
    for detections, truth in first + second:
        plain.update(detections, truth)
    late, expected = watched.compute(), plain.compute()
    for figure in FIGURES:
        assert getattr(late, figure) == pytest.approx(getattr(expected, figure), nan_ok=True)
    assert early.ap != late.ap


def square(at: int, side: int = 10, size: int = 64) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[at : at + side, at : at + side] = True
    return mask


def test_perfect_missed_and_undefined() -> None:
    precision = MaskAP(CLASSES)
    precision.update(
        [instance(square(0), 0, 0.9), instance(square(30), 0, 0.8)],
        [TrueInstance(square(0), 0), TrueInstance(square(30), 0), TrueInstance(square(5), 1)],
    )
    found = precision.compute()
    assert found.per_class[:2] == (1.0, 0.0)
    assert math.isnan(found.per_class[2])
    assert found.ap == found.ap50 == found.ap_small == 0.5
    assert math.isnan(found.ap_large)
    assert found.ar1 == 0.25


def test_a_false_alarm_without_any_truth_is_no_figure_but_beside_truth_it_costs() -> None:
    alone = MaskAP(CLASSES)
    alone.update([instance(square(0), 0, 0.9)], [])
    assert math.isnan(alone.compute().ap)
    alone.update([], [TrueInstance(square(0), 0)])
    alone.update([instance(square(0), 0, 0.5)], [TrueInstance(square(0), 0)])
    assert 0 < alone.compute().ap < 0.5


def test_finding_a_crowd_is_neither_right_nor_wrong() -> None:
    figures = []
    for extra in ([], [instance(square(40), 0, 0.99)]):
        precision = MaskAP(CLASSES)
        precision.update(
            [*extra, instance(square(0), 0, 0.9)],
            [TrueInstance(square(0), 0), TrueInstance(square(38, 20), 0, crowd=True)],
        )
        figures.append(precision.compute().ap)
    assert figures == pytest.approx([1.0, 1.0])


def test_the_given_area_decides_the_size_class() -> None:
    precision = MaskAP(CLASSES)
    precision.update([], [TrueInstance(square(0), 0, area=2000.0)])
    found = precision.compute()
    assert math.isnan(found.ap_small)
    assert found.ap_medium == 0.0


def test_nothing_at_all() -> None:
    precision = MaskAP(CLASSES)
    precision.update([], [])
    assert math.isnan(precision.compute().ap)


def test_mistakes_are_named() -> None:
    precision = MaskAP(CLASSES)
    with pytest.raises(TriptychError, match="resize the predicted ones"):
        precision.update([instance(square(0, size=32), 0, 0.9)], [TrueInstance(square(0), 0)])
    with pytest.raises(TriptychError, match="class 4; class ids go from 0 to 3"):
        precision.update([], [TrueInstance(square(0), 4)])


@given(
    arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 90))),
    st.integers(0, 3),
    st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_turned_run_lengths_are_those_of_the_mask_turned(mask, above, boxed):
    mask = np.pad(mask, ((100 * above, above), (0, 0)))  # first runs of one digit and of several
    rows = np.flatnonzero(mask.any(1))
    box = (0.0, float(rows[0]), 0.0, rows[-1] + 1.0) if boxed and rows.size else None
    ours = turned_run_lengths(mask, box)
    theirs = rle.encode(np.asfortranarray(mask.T, np.uint8))
    assert ours["size"] == theirs["size"]
    assert hotcoco.mask.area(ours) == mask.sum()
    overlap = hotcoco.mask.iou([ours], [theirs], [False]).item()
    assert overlap == (1 if mask.any() else 0)


def test_only_the_rows_of_its_box_are_looked_at():
    mask = np.ones((6, 5), bool)
    cut = np.zeros_like(mask)
    cut[2:4] = True
    box = (1.0, 2.0, 3.0, 4.0)
    assert turned_run_lengths(mask, box)["counts"] == turned_run_lengths(cut, box)["counts"]
