"""Two checkpoints on the same images: differences against figures of the images drawn again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.evaluation.answers import Answer
from triptych.evaluation.evaluate import Report, measure
from triptych.evaluation.paired import MEAN, compare
from triptych.metrics.bootstrap import Bootstrap
from triptych.readings.instance import Instance
from triptych.readings.panoptic import PanopticMap, Segment
from triptych.truth import Example, PanopticTruth, TrueSegment

CLASSES = Classes.of(["road", "sky", "car"], things=["car"])
REPLICATES = 40
Case = tuple[Example, Answer]


def case(seed: int, right: float) -> Case:
    """An image of stripes, of which a share is found as what it is."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, 6).tolist()
    found = [k if rng.random() < right else int(rng.integers(3)) for k in kinds]
    ids = np.repeat(np.arange(1, 7), 4)[None].repeat(8, 0)
    true = [TrueSegment(i, k) for i, k in enumerate(kinds, start=1)]
    planes = torch.from_numpy(ids)
    segments = tuple(
        Segment(i, k, CLASSES.names[k], k == 2, 0.9, 32) for i, k in enumerate(found, start=1)
    )
    box = (0.0, 0.0, 0.0, 0.0)
    objects = [
        Instance(planes == i, 2, "car", float(rng.random()), box)
        for i, k in enumerate(found, start=1)
        if k == 2
    ]
    semantic = np.array(kinds)[ids - 1]
    guess = np.array(found)[ids - 1]
    example = Example(torch.zeros(8, 24, 3, dtype=torch.uint8), semantic, PanopticTruth(ids, true))
    return example, Answer(guess, objects, PanopticMap(planes, segments, CLASSES))


def cases(right: float) -> list[Case]:
    return [case(seed, right) for seed in range(9)]


def report(chosen: Sequence[Case], replicates: int = REPLICATES) -> Report:
    return measure(chosen, CLASSES, replicates=replicates)


def test_differences_are_those_of_images_drawn_again() -> None:
    poor, good = cases(0.3), cases(0.9)
    rows = {row.name: row for row in compare(report(poor), report(good), ["sky", "car"])}
    weights = np.stack([Bootstrap(CLASSES, REPLICATES).weights(i) for i in range(9)], axis=1)
    drawn: dict[str, list[float]] = {"miou": [], "pq": [], "pq/car": [], f"iou/{MEAN}": []}
    for times in weights.astype(int):
        pair = []
        for side in (poor, good):
            again = [one for one, count in zip(side, times, strict=True) for _ in range(count)]
            figures = measure(again, CLASSES)
            by_class = figures.per_class
            pair.append(
                {
                    "miou": figures.figures["miou"],
                    "pq": figures.figures["pq"],
                    "pq/car": by_class["pq"]["car"],
                    f"iou/{MEAN}": (by_class["iou"]["sky"] + by_class["iou"]["car"]) / 2,
                }
            )
        for name, values in drawn.items():
            values.append(pair[1][name] - pair[0][name])
    for name, values in drawn.items():
        expected = np.percentile(values, (2.5, 97.5))
        assert rows[name].interval == pytest.approx(expected, abs=1e-9), name
    assert rows["pq"].difference > 0.2
    assert rows["ap50/car"].first < rows["ap50/car"].second


def test_a_checkpoint_does_not_differ_from_itself() -> None:
    one = report(cases(0.5))
    for row in compare(one, one, CLASSES.names):
        assert row.difference == 0
        assert row.interval == (0, 0)


def test_classes_without_truth_are_left_out() -> None:
    names = [row.name for row in compare(report(cases(0.5)), report(cases(0.6)), ["sky", "car"])]
    assert "ap/car" in names
    assert "ap/sky" not in names  # stuff is no object
    assert f"ap/{MEAN}" not in names  # of one class


def test_what_cannot_be_compared() -> None:
    one = report(cases(0.5))
    with pytest.raises(TriptychError, match="measure both with the bootstrap"):
        compare(one, report(cases(0.5), replicates=0))
    with pytest.raises(TriptychError, match="measured on different images"):
        compare(one, report(cases(0.5)[:4]))
    with pytest.raises(TriptychError, match="no class 'bus'; there are: road, sky, car"):
        compare(one, one, ["bus"])


def test_a_replicate_without_a_class_does_not_count() -> None:
    one = report(cases(0.5))
    values = one.samples["pq/car"].copy()
    values[::2] = math.nan
    other = dataclasses.replace(one, samples={**one.samples, "pq/car": values})
    (row,) = (row for row in compare(one, other, ["car"]) if row.name == "pq/car")
    assert row.interval == (0, 0)
