"""Panoptic quality against the reference tool, panopticapi, run on the same maps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.metrics.panoptic import PanopticQuality, Quality
from triptych.readings.panoptic import PanopticMap, Segment
from triptych.truth import PanopticTruth, TrueSegment

CLASSES = Classes.of(["car", "person", "road", "sky", "never"], things=["car", "person", "never"])


def predicted_map(ids: np.ndarray, classes: Sequence[int]) -> PanopticMap:
    """Segments 1, 2, ... of the given classes; those without a pixel are left out."""
    segments = tuple(
        Segment(i, c, CLASSES.names[c], CLASSES.is_thing[c], 0.9, int((ids == i).sum()))
        for i, c in enumerate(classes, start=1)
        if (ids == i).any()
    )
    return PanopticMap(torch.from_numpy(ids.astype(np.int32)), segments, CLASSES)


def random_case(rng: np.random.Generator) -> tuple[PanopticMap, PanopticTruth]:
    """Blocks of segments, void and crowds; the prediction is a shifted, relabelled truth."""
    height, width = rng.integers(8, 60, 2)
    count = int(rng.integers(0, 9))
    coarse = rng.integers(0, count + 1, (height // 12 + 1, width // 12 + 1))
    truth = coarse.repeat(12, 0).repeat(12, 1)[:height, :width]
    guess = np.roll(truth, rng.integers(-2, 3, 2), (0, 1))
    noise = rng.random(guess.shape) < 0.05
    guess[noise] = rng.integers(0, count + 1, int(noise.sum()))
    true_classes = rng.integers(0, 4, count)
    guessed = np.where(rng.random(count) < 0.8, true_classes, rng.integers(0, 4, count))
    # Large ids as in COCO's coloured PNGs, where id = R + 256 G + 65536 B.
    true_ids = np.array([0, *rng.permutation(9)[:count] * 1_800_000 + 77])
    segments = [
        TrueSegment(int(true_ids[i]), int(true_classes[i - 1]), bool(rng.random() < 0.25))
        for i in range(1, count + 1)
        if (truth == i).any()
    ]
    return predicted_map(guess, guessed.tolist()), PanopticTruth(true_ids[truth], segments)


def reference(cases: list[tuple[PanopticMap, PanopticTruth]], folder: Path) -> dict:
    """What panopticapi says, through its files."""
    pytest.importorskip("panopticapi", reason="installed by `make install`")
    from panopticapi.evaluation import PQStat, pq_compute_single_core

    categories = {
        i: {"id": i, "name": name, "isthing": int(CLASSES.is_thing[i])}
        for i, name in enumerate(CLASSES.names)
    }
    pairs = []
    for index, (guess, truth) in enumerate(cases):
        name = f"{index}.png"
        annotations = []
        for side, ids in (("true", truth.ids), ("guess", np.asarray(guess.ids))):
            (folder / side).mkdir(exist_ok=True)
            colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
            Image.fromarray(colours).save(folder / side / name)
            segments = truth.segments if side == "true" else guess.segments
            listed = [
                {
                    "id": s.id,
                    "category_id": s.class_id,
                    "iscrowd": int(getattr(s, "crowd", False)),
                    "area": int((ids == s.id).sum()),
                }
                for s in segments
            ]
            annotations.append({"image_id": index, "file_name": name, "segments_info": listed})
        pairs.append(json.loads(json.dumps(annotations)))
    stat = PQStat()
    stat += pq_compute_single_core(
        0, pairs, str(folder / "true"), str(folder / "guess"), categories
    )
    results = {}
    for name, isthing in (("overall", None), ("things", True), ("stuff", False)):
        results[name], per_class = stat.pq_average(categories, isthing=isthing)
        if isthing is None:
            results["per_class"] = per_class
    results["counts"] = {i: stat[i] for i in categories}
    return results


@pytest.mark.parametrize("seed", range(6))
def test_equals_panopticapi(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    cases = [random_case(rng) for _ in range(25)]
    quality = PanopticQuality(CLASSES)
    for guess, truth in cases:
        quality.update(guess, truth)
    expected = reference(cases, tmp_path)

    for i, stat in expected["counts"].items():
        assert (quality.tp[i], quality.fp[i], quality.fn[i]) == (stat.tp, stat.fp, stat.fn)
    assert quality.tp.sum() > 10  # the cases do match now and then,
    assert quality.fp.sum() > 10  # and do miss
    for name in ("overall", "things", "stuff"):
        ours: Quality = getattr(quality, name)()
        theirs = expected[name]
        assert ours.classes == theirs["n"]
        for figure in ("pq", "sq", "rq"):
            assert getattr(ours, figure) == pytest.approx(theirs[figure], abs=1e-9)
    for i, ours in enumerate(quality.per_class()):
        if ours.classes:
            for figure, value in expected["per_class"][i].items():
                assert getattr(ours, figure) == pytest.approx(value, abs=1e-9)
        else:
            assert CLASSES.names[i] == "never"
            assert math.isnan(ours.pq)


def test_crowds_and_void_matter_in_the_random_cases() -> None:
    """The comparison above would prove little if these rules never came into play."""
    rng = np.random.default_rng(0)
    cases = [random_case(rng) for _ in range(150)]
    counts = []
    for forget in (lambda s: s.crowd, lambda s: False):
        quality = PanopticQuality(CLASSES)
        for guess, truth in cases:
            plain = [TrueSegment(s.id, s.class_id, forget(s)) for s in truth.segments]
            quality.update(guess, PanopticTruth(truth.ids, plain))
        counts.append((quality.tp.sum(), quality.fp.sum(), quality.fn.sum()))
    assert all(a != b for a, b in zip(*counts, strict=True))


def test_a_perfect_prediction_is_perfect() -> None:
    ids = np.array([[1, 1, 2], [3, 3, 0]])
    truth = PanopticTruth(ids, [TrueSegment(1, 0), TrueSegment(2, 0), TrueSegment(3, 2)])
    quality = PanopticQuality(CLASSES)
    quality.update(predicted_map(ids, [0, 0, 2]), truth)
    assert quality.overall() == Quality(1.0, 1.0, 1.0, 2)
    assert quality.things() == quality.stuff() == Quality(1.0, 1.0, 1.0, 1)


def test_void_leaves_the_union_and_forgives() -> None:
    truth = PanopticTruth(np.array([[7, 7, 0, 0, 0, 0]]), [TrueSegment(7, 0)])
    quality = PanopticQuality(CLASSES)
    # Half of it on void: without the rule its IoU would be 2/4 and no match.
    quality.update(predicted_map(np.array([[1, 1, 1, 1, 2, 2]]), [0, 1]), truth)
    assert quality.tp.tolist() == [1, 0, 0, 0, 0]
    assert quality.fp.sum() == 0
    assert quality.overall() == Quality(1.0, 1.0, 1.0, 1)


def test_exactly_half_an_iou_is_no_match_and_exactly_half_on_void_no_excuse() -> None:
    truth = PanopticTruth(np.array([[7, 7, 0]]), [TrueSegment(7, 0)])
    quality = PanopticQuality(CLASSES)
    quality.update(predicted_map(np.array([[0, 1, 1]]), [0]), truth)
    assert (quality.tp[0], quality.fp[0], quality.fn[0]) == (0, 1, 1)


def test_a_true_segment_without_pixels_is_missed() -> None:
    truth = PanopticTruth(np.zeros((2, 2), int), [TrueSegment(7, 0)])
    quality = PanopticQuality(CLASSES)
    quality.update(predicted_map(np.ones((2, 2)), [0]), truth)
    assert (quality.tp[0], quality.fp[0], quality.fn[0]) == (0, 0, 1)


def test_nothing_at_all_is_undefined() -> None:
    quality = PanopticQuality(CLASSES)
    quality.update(predicted_map(np.zeros((2, 2)), []), PanopticTruth(np.zeros((2, 2), int), []))
    assert quality.overall().classes == 0
    assert math.isnan(quality.overall().pq)


def _segment(number: int, class_id: int = 0) -> Segment:
    return Segment(number, class_id, "car", True, 0.9, 1)


@pytest.mark.parametrize(
    ("ids", "segments", "words"),
    [
        ([[1, 2]], [_segment(1)], "id 2 is in the map and not among its segments"),
        ([[1, -2]], [_segment(1)], "negative id -2"),
        ([[1, 1]], [_segment(1), _segment(2)], "segment 2 has no pixel"),
        ([[0, 0]], [_segment(0)], "ids start at 1"),
        ([[1, 1]], [_segment(1, 9)], "class 9; class ids go from 0 to 4"),
        ([[1], [1]], [_segment(1)], "resize the prediction"),
    ],
)
def test_mistakes_are_named(ids: list, segments: list[Segment], words: str) -> None:
    guess = PanopticMap(torch.tensor(ids), tuple(segments), CLASSES)
    truth = PanopticTruth(np.array([[5, 0]]), [TrueSegment(5, 0)])
    with pytest.raises(TriptychError, match=words):
        PanopticQuality(CLASSES).update(guess, truth)


def test_mistakes_in_the_truth_are_named() -> None:
    with pytest.raises(TriptychError, match="must differ"):
        PanopticTruth(np.zeros((1, 1), int), [TrueSegment(1, 0), TrueSegment(1, 1)])
    with pytest.raises(TriptychError, match="0 is void"):
        PanopticTruth(np.zeros((1, 1), int), [TrueSegment(0, 0)])
    stray = PanopticTruth(np.full((1, 1), 3), [])
    with pytest.raises(TriptychError, match="panoptic truth: id 3"):
        PanopticQuality(CLASSES).update(predicted_map(np.zeros((1, 1)), []), stray)


def test_other_views_of_a_panoptic_truth() -> None:
    ids = np.array([[900, 5, 0]])
    truth = PanopticTruth(ids, [TrueSegment(900, 2), TrueSegment(5, 0, crowd=True)])
    assert truth.semantic(255).tolist() == [[2, 0, 255]]
    (car,) = truth.instances(CLASSES.thing_ids)
    assert (car.class_id, car.crowd, car.mask.tolist()) == (0, True, [[False, True, False]])
