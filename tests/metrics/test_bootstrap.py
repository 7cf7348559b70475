"""Intervals by the bootstrap: each replicate against the metric on the images it holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.metrics.test_instance import CLASSES, Case, random_case

from triptych.classes import Classes
from triptych.metrics.bootstrap import Bootstrap, ImageCounts, resampled_precision
from triptych.metrics.instance import MaskAP
from triptych.metrics.panoptic import PanopticQuality
from triptych.metrics.semantic import ConfusionMatrix
from triptych.readings.panoptic import PanopticMap, Segment
from triptych.truth import PanopticTruth, TrueSegment

STREET = Classes.of(["road", "sky", "car"], things=["car"])


def repeated(cases: list[Case], times: np.ndarray) -> MaskAP:
    metric = MaskAP(CLASSES)
    for case, count in zip(cases, times.astype(int), strict=True):
        for _ in range(count):
            metric.update(*case)
    return metric


def separate_scores(cases: list[Case]) -> list[Case]:
    """No two scores alike: the order of ties differs between copies of an image."""
    import dataclasses

    number = iter(range(10**6))
    return [
        ([dataclasses.replace(d, score=d.score + 1e-6 * next(number)) for d in found], truth)
        for found, truth in cases
    ]


def test_weighted_precision_is_that_of_images_repeated_as_often() -> None:
    rng = np.random.default_rng(3)
    cases = separate_scores([random_case(rng) for _ in range(12)])
    metric = MaskAP(CLASSES, keep_matches=True)
    matches = [metric.update(*case) for case in cases]
    weights = rng.poisson(1.0, (6, len(cases))).astype(float)
    weights[0] = 1
    ours = resampled_precision([m for m in matches if m], weights, len(CLASSES))
    assert not np.isnan(ours[:, :3]).any()
    assert np.isnan(ours[:, 3]).all()
    for row, replicate in zip(weights, ours, strict=True):
        theirs = repeated(cases, row).compute()
        assert np.nanmean(replicate) == pytest.approx(theirs.ap, abs=1e-12)
        assert np.nanmean(replicate[:, 0]) == pytest.approx(theirs.ap50, abs=1e-12)
        assert np.nanmean(replicate[:, 5]) == pytest.approx(theirs.ap75, abs=1e-12)


def random_panoptic(rng: np.random.Generator) -> tuple[PanopticMap, PanopticTruth]:
    """Stripes of all classes, and a prediction that errs on half of them."""
    ids = np.repeat(np.arange(6), 4)[None].repeat(5, 0)
    kinds = rng.integers(0, 3, 6)
    guess = np.where(rng.random(6) < 0.5, kinds, rng.integers(0, 3, 6))
    truth = PanopticTruth(ids + 1, [TrueSegment(i + 1, int(k)) for i, k in enumerate(kinds)])
    segments = tuple(
        Segment(i + 1, int(k), STREET.names[k], bool(k == 2), 1.0, 20) for i, k in enumerate(guess)
    )
    return PanopticMap(torch.from_numpy(ids + 1), segments, STREET), truth


def test_replicates_are_the_metrics_of_weighted_images() -> None:
    rng = np.random.default_rng(1)
    bootstrap = Bootstrap(STREET, replicates=4, seed=7)
    whole = [(ConfusionMatrix(3), PanopticQuality(STREET)) for _ in range(4)]
    for number in range(9):
        predicted, truth = random_panoptic(rng)
        confusion, quality = ConfusionMatrix(3), PanopticQuality(STREET)
        confusion.update(rng.integers(0, 3, (5, 5)), rng.integers(0, 3, (5, 5)))
        quality.update(predicted, truth)
        bootstrap.add(ImageCounts(confusion, quality))
        for (matrix, panoptic), weight in zip(whole, bootstrap.weights(number), strict=True):
            matrix.matrix += int(weight) * confusion.matrix
            for _ in range(int(weight)):
                panoptic.update(predicted, truth)
    # The widest interval spans all four replicates.
    found = bootstrap.intervals(level=1.0)
    assert set(found) == {"miou", "pq", "pq_things", "pq_stuff"}
    for name, values in {
        "miou": [matrix.miou for matrix, _ in whole],
        "pq": [q.overall().pq for _, q in whole],
        "pq_things": [q.things().pq for _, q in whole],
        "pq_stuff": [q.stuff().pq for _, q in whole],
    }.items():
        assert found[name] == pytest.approx((min(values), max(values)))


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Images whose single class is right with a known chance: a coin, drawn 60 times."""
    rng = np.random.default_rng(0)
    chance, hits, runs = 0.6, 0, 150
    one = Classes.of(["a", "b"])
    for run in range(runs):
        bootstrap = Bootstrap(one, replicates=200, seed=run)
        for right in rng.random(60) < chance:
            confusion = ConfusionMatrix(2)
            # Right: a pixel in the intersection. Wrong: one in the union alone.
            confusion.matrix[0, 0 if right else 1] = 1
            bootstrap.add(ImageCounts(confusion))
        low, high = bootstrap.intervals(0.9)["miou"]
        # Class b is never right, so the mean is half the share.
        hits += low <= chance / 2 <= high
    assert 0.8 < hits / runs < 0.97


def test_equal_images_leave_no_doubt_and_no_truth_no_interval() -> None:
    bootstrap = Bootstrap(STREET, replicates=50)
    assert bootstrap.intervals() == {}
    for _ in range(40):
        confusion = ConfusionMatrix(3)
        confusion.matrix[:, :3] = [[5, 1, 0], [0, 4, 0], [0, 0, 3]]
        bootstrap.add(ImageCounts(confusion))
    expected = (5 / 6 + 4 / 5 + 1) / 3
    assert bootstrap.intervals() == {"miou": pytest.approx((expected, expected))}
