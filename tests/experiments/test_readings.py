"""The three readings of one mask set, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from experiments import readings
from triptych.classes import Classes
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet

CLASSES = Classes.of(["road", "car"], things=["car"])


def mask_set(boxes: list[tuple[slice, int, float]]) -> MaskSet:
    """A picture of 4 x 12 pixels; queries by their columns, class and class logit."""
    masks = torch.full((len(boxes), 4, 12), -9.0)
    classes = torch.full((len(boxes), 3), -9.0)
    for number, (columns, class_id, logit) in enumerate(boxes):
        masks[number, :, columns] = 9.0
        classes[number, class_id], classes[number, 2] = logit, 0.0
    return MaskSet(masks, classes, CLASSES, Geometry((4, 12), (4, 12), (4, 12)))


def test_what_differs_is_counted() -> None:
    road, first, second = (slice(0, 12), 0, 2.5), (slice(2, 6), 1, 6.0), (slice(3, 7), 1, 1.0)
    figures = readings.compare(mask_set([road, first, second]), [0.5, 0.95])
    instances = figures["instances"]
    assert instances["objects"] == {"car": 2}
    assert instances["pixels in several"] == pytest.approx(100 * 3 / 12, abs=1e-3)
    assert instances["pixels in one"] == pytest.approx(100 * 2 / 12, abs=1e-3)

    low, high = figures["panoptic"]
    # The second car is three quarters covered, the road by a third: neither keeps its 80 %.
    assert (low["segments"], low["objects"]) == (1, 1)
    assert low["instances gone"] == {"car": 1}
    assert low["void"] == pytest.approx(100 * 8 / 12, abs=1e-3)
    assert high["partition"]
    assert low["partition"]
    surest, other = figures["each"]
    assert (surest["own class"], surest["void"]) == (100.0, 0.0)
    assert (other["own class"], other["void"]) == (75.0, 25.0)


def test_an_object_that_keeps_its_pixels_is_kept_and_nothing_is_a_finding_too() -> None:
    figures = readings.compare(mask_set([(slice(0, 12), 1, 0.2)]), [0.3])
    (one,) = figures["panoptic"]
    assert figures["instances"]["objects"] == {"car": 1}
    assert (one["instances kept"], one["objects that are no instance"]) == (1, {})
    figures = readings.compare(mask_set([(slice(0, 12), 1, -0.3)]), [0.3])
    assert figures["instances"]["objects"] == {}
    # Its best class is "no object", so it is no segment either.
    assert figures["panoptic"][0]["segments"] == 0


def test_the_command_keeps_figures_and_panels(tmp_path: Path, capsys) -> None:
    Image.radial_gradient("L").resize((96, 64)).convert("RGB").save(tmp_path / "photo.png")
    out = tmp_path / "r" / "readings.json"
    readings.main(["--image", str(tmp_path / "photo.png"), "--results", str(out)])
    assert json.loads(out.read_text())["panoptic"][0]["threshold"] == 0.3
    with Image.open(out.with_suffix(".jpg")) as panels:
        assert panels.width > 3 * 96
    assert "| threshold |" in capsys.readouterr().out
