"""Masks without classes (promptable networks): whoever needs a class map refuses them at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.evaluation.answers import match_classes
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.predict.files import Results
from triptych.readings.settings import ReadingSettings
from triptych.stream.frames import Frame
from triptych.stream.scene import SourceScene
from triptych.truth import Example
from triptych.windows.layout import Window
from triptych.windows.mask_sets import WindowedMasks

OBJECT = Classes.of(["object"], things=["object"])
SIDE = 8


@pytest.fixture
def masks() -> MaskSet:
    """One sure object in the middle, of a network that has no classes."""
    logits = torch.full((1, SIDE, SIDE), -9.0)
    logits[:, 2:6, 2:6] = 9.0
    size = (SIDE, SIDE)
    geometry = Geometry(size, size, size)
    return MaskSet(logits, None, OBJECT, geometry, quality=torch.tensor([0.9]))


def windowed(masks: MaskSet) -> WindowedMasks:
    whole = (slice(0, SIDE), slice(0, SIDE))
    return WindowedMasks((Window(whole, whole),), (masks,), (SIDE, SIDE))


def written(masks: MaskSet, folder: Path) -> None:
    photo = torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8)
    Results(folder / "out" / "x", folder / "x.png", "clicks", ReadingSettings()).write(photo, masks)


def written_in_windows(masks: MaskSet, folder: Path) -> None:
    photo = torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8)
    results = Results(folder / "out" / "x", folder / "x.png", "clicks", ReadingSettings())
    results.write(photo, windowed(masks))


def observed(masks: MaskSet, folder: Path) -> None:
    frame = Frame(np.zeros((SIDE, SIDE, 3), np.uint8), 0, 0.0)
    SourceScene("street", ["object"]).observe(frame, masks, ReadingSettings(), {})


def measured(masks: MaskSet, folder: Path) -> None:
    match_classes(OBJECT, OBJECT).answer(masks)


@pytest.mark.parametrize("use", [written, written_in_windows, observed, measured])
def test_who_needs_all_readings_refuses_before_any_work(
    use: Callable[[MaskSet, Path], None],
    masks: MaskSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_work(*_: Any) -> None:
        raise AssertionError("a reading was made")

    monkeypatch.setattr("triptych.readings.instance.trace_instances", no_work)
    with pytest.raises(TriptychError, match=r"no semantic and no panoptic map .* use instances"):
        use(masks, tmp_path)
    assert not (tmp_path / "out").exists()


def test_only_readings_that_are_compared_are_needed(masks: MaskSet) -> None:
    picture = torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8)
    truth = Example(picture, np.zeros((SIDE, SIDE), np.uint8), instances=[])
    match = match_classes(OBJECT, OBJECT)
    answer = match.answer(masks, truth, semantic=False)
    assert answer.instances is not None
    assert len(answer.instances) == 1
    with pytest.raises(TriptychError, match=r"no semantic map of them"):
        match.answer(masks, truth)


def test_in_windows_there_is_as_much_as_in_each(masks: MaskSet) -> None:
    found = windowed(masks)
    assert found.offers == masks.offers == ("instances",)
    assert len(found.instances()) == 1
    picture = found.overlay(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert picture.size == masks.overlay(np.zeros((SIDE, SIDE, 3), np.uint8)).size
