"""Overlays: the right colours in the right places, and pictures of the right size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tests.readings.cases import classes, flat

from triptych.class_table import Merged
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.mask_set import MaskSet
from triptych.readings.regroup import regrouped
from triptych.render.paint import LAYERS, layer, paint
from triptych.render.palette import ink, object_colour, shade
from triptych.render.panels import instance_panel, panoptic_panel, semantic_panel

SIDE = 64
GREY = 100
ROAD, CAR, SKY, PERSON = range(4)


def squares(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    masks = torch.full((len(boxes), SIDE, SIDE), -9.0)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 9.0
    return masks


def scene() -> MaskSet:
    """Road below, two cars of which the first is surer and covers part of the second; sky void."""
    scores = [[0.004] * 5 for _ in range(3)]
    scores[0][ROAD], scores[1][CAR], scores[2][CAR] = 0.9, 0.99, 0.95
    return flat(squares((0, 32, 64, 64), (4, 34, 30, 60), (28, 34, 60, 60)), scores)


def photo(height: int = SIDE, width: int = SIDE) -> Image.Image:
    return Image.new("RGB", (width, height), (GREY, GREY, GREY))


def tinted(colour: tuple[int, int, int], alpha: float) -> np.ndarray:
    return np.array([GREY + alpha * (channel - GREY) for channel in colour])


def test_semantic_panel_tints_every_pixel_with_its_class():
    masks = scene()
    pixels = np.asarray(semantic_panel(photo(), masks.semantic())).astype(float)
    ids = masks.semantic().ids.numpy()
    for label in np.unique(ids):
        differences = pixels[ids == label] - tinted(masks.classes.colours[label], 0.6)
        assert np.abs(differences).max() < 1.5


def test_panoptic_panel_shades_things_and_leaves_void_alone():
    masks = scene()
    panel = np.asarray(panoptic_panel(photo(), masks.panoptic(overlap=0.3))).astype(float)
    assert (panel[:30] == GREY).all()
    colour = masks.classes.colours[CAR]
    np.testing.assert_allclose(panel[45, 15], tinted(shade(colour, 0), 0.6), atol=1.5)
    np.testing.assert_allclose(panel[45, 45], tinted(shade(colour, 1), 0.6), atol=1.5)
    # Where segments meet there is a line, firmer and brighter than the segment it belongs to.
    assert (panel[45, 29] - panel[45, 15]).min() > 40


def test_instance_panel_puts_the_best_on_top():
    instances = scene().instances()
    panel = np.asarray(instance_panel(photo(), instances)).astype(float)
    np.testing.assert_allclose(panel[50, 15], tinted(object_colour(0), 0.5), atol=1.5)
    np.testing.assert_allclose(panel[50, 45], tinted(object_colour(1), 0.5), atol=1.5)
    assert instances[0].mask[50, 28]
    assert instances[1].mask[50, 28]
    inside_overlap = panel[50, 28]
    assert np.abs(inside_overlap - tinted(object_colour(1), 0.5)).max() > 20


def test_instance_labels_do_not_cover_each_other():
    scores = [[0.002] * 5 for _ in range(2)]
    scores[0][CAR] = scores[1][PERSON] = 0.99
    side = 400
    masks = torch.full((2, side, side), -9.0)
    masks[:, 150:250, 100:300] = 9.0
    instances = flat(masks, scores).instances()
    panel = np.asarray(instance_panel(photo(side, side), instances))
    places = []
    for index in range(2):
        found = (panel == object_colour(index)).all(2)
        assert found.sum() > 200
        places.append(np.nonzero(found))
    (rows, _), (other_rows, _) = places
    assert rows.max() < other_rows.min() or other_rows.max() < rows.min()


@pytest.mark.parametrize(("height", "width"), [(360, 640), (37, 211), (1, 1), (10, 500)])
def test_overlay_is_three_panels_with_titles_and_legend(height, width):
    masks = torch.full((2, height, width), 5.0)
    masks[1, :, : width // 2] = -5
    scores = [[0.9, 0.02, 0.02, 0.02, 0.04], [0.01, 0.96, 0.01, 0.01, 0.01]]
    image = torch.full((height, width, 3), GREY, dtype=torch.uint8)
    overlay = flat(masks, scores).overlay(image)
    assert overlay.mode == "RGB"
    assert overlay.width >= 3 * width
    assert overlay.height > height
    assert overlay.width < 3 * width + 120
    again = flat(masks, scores).overlay(image)
    assert overlay.tobytes() == again.tobytes()
    assert (image == GREY).all()


def test_legend_names_the_classes_in_sight_and_no_others():
    overlay = np.asarray(scene().overlay(np.full((SIDE, SIDE, 3), GREY, np.uint8)))
    legend = overlay[SIDE + 24 :].reshape(-1, 3).tolist()
    table = classes(4).colours
    assert list(table[ROAD]) in legend
    assert list(table[CAR]) in legend
    assert list(table[PERSON]) not in legend


def test_overlay_of_promptable_masks_shows_the_objects():
    thing = Classes.of(["object"], things=["object"])
    masks = flat(squares((5, 5, 50, 50)), classes=thing, quality=torch.tensor([0.9]))
    overlay = masks.overlay(np.full((SIDE, SIDE, 3), GREY, np.uint8))
    assert SIDE < overlay.width < 2 * SIDE
    with pytest.raises(TriptychError, match=r"the image is 10x20 pixels, but .* one of 64x64"):
        masks.overlay(np.zeros((20, 10, 3), np.uint8))


def test_overlay_needs_the_image_of_the_masks():
    with pytest.raises(TriptychError, match=r"the image is 10x20 pixels, but .* one of 64x64"):
        scene().overlay(np.zeros((20, 10, 3), np.uint8))


def test_more_layers_than_numbers_take_turns():
    assert layer(0) == layer(LAYERS)
    assert {layer(i) for i in range(3 * LAYERS)} == set(range(1, LAYERS + 1))
    colours = [object_colour(i) for i in range(LAYERS + 5)]
    layers = np.full((4, 4), layer(LAYERS + 2), np.uint8)
    pixel = np.asarray(paint(photo(4, 4), layers, colours, alpha=1.0, outline=0))[0, 0]
    assert tuple(pixel) == object_colour(2)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_outlines_are_as_wide_as_asked(width):
    layers = np.zeros((20, 20), np.uint8)
    layers[:, :10], layers[:, 10:] = layer(0), layer(1)
    panel = np.asarray(paint(photo(20, 20), layers, [(200, 0, 0), (0, 200, 0)], 0.5, width))
    plain = np.asarray(paint(photo(20, 20), layers, [(200, 0, 0), (0, 200, 0)], 0.5, 0))
    changed = (panel != plain).any(2)
    assert (changed.sum(1) == width).all()
    assert changed[:, 8:12].sum() == changed.sum()


def test_ink_reads_on_its_background():
    assert ink((255, 255, 0)) != ink((0, 0, 142))


def test_void_of_a_regrouped_labeller_stays_as_in_the_photo() -> None:
    masks = flat(squares((0, 0, 20, 64), (20, 0, 40, 64), (40, 0, 64, 64)), competition="softmax")
    few = regrouped(masks, Merged(Classes.of(["way"]), (0, None, 0)))
    panel = np.asarray(semantic_panel(photo(), few.semantic()))
    plain = np.asarray(photo())
    changed = (panel != plain).any(2)
    assert changed[:, :20].all()
    assert changed[:, 40:].all()
    assert not changed[:, 20:40].any()
    everything = few.overlay(plain.copy())
    alone = regrouped(masks, Merged(Classes.of(["way"]), (0, 0, 0))).overlay(plain.copy())
    assert everything.size == alone.size, "void is not in the legend"
