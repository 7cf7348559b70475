from __future__ import annotations

import colorsys
import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.data.augment import (
    PADDING,
    Light,
    View,
    colour_matrix,
    random_light,
    random_view,
    turned_camera,
)
from triptych.data.scene import Scene
from triptych.errors import TriptychError
from triptych.truth import IGNORE

STILL = Light(brightness=0, contrast=0, saturation=0, hue=0, gamma=0, degrade=0)


def checkers(height: int = 60, width: int = 80) -> Scene:
    """Regions in blocks of ten; each pixel's colour tells its region."""
    rows, columns = np.indices((height, width))
    regions = ((rows // 10 + columns // 10) % 8 + columns // 10 % 2 * 8).astype(np.uint8)
    regions[0:5, 0:5] = IGNORE
    pixels = np.stack([regions, regions, regions], axis=2)
    return Scene(pixels, regions, (8, 9, 10, 8, 8), 11)


def view(scene: Scene, seed: int = 0, **options: Any) -> Scene:
    return random_view(scene, View(**options), np.random.default_rng(seed))


@given(
    st.tuples(st.integers(8, 90), st.integers(8, 120)),
    st.floats(0.3, 3),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_size_labels_and_padding(crop, scale, mirror, seed):
    source = checkers()
    seen = view(source, seed, crop=crop, scale=(scale, scale), mirror=float(mirror))
    assert seen.pixels.shape == (*crop, 3)
    assert seen.regions.shape == crop
    assert seen.owners == source.owners
    assert set(np.unique(seen.regions)) <= set(np.unique(source.regions)) | {IGNORE}
    rows, columns = (min(crop[axis], max(1, round((60, 80)[axis] * scale))) for axis in (0, 1))
    padded = (seen.pixels == PADDING).all(axis=2)
    assert np.count_nonzero(padded) == crop[0] * crop[1] - rows * columns
    assert (seen.regions[padded] == IGNORE).all()


def test_whole_frame_at_its_own_size_is_unchanged():
    source = checkers()
    seen = view(source, crop=(60, 80), scale=(1, 1), mirror=0)
    np.testing.assert_array_equal(seen.pixels, source.pixels)
    np.testing.assert_array_equal(seen.regions, source.regions)
    flipped = view(source, crop=(60, 80), scale=(1, 1), mirror=1)
    np.testing.assert_array_equal(flipped.pixels, source.pixels[:, ::-1])
    np.testing.assert_array_equal(flipped.regions, source.regions[:, ::-1])


@pytest.mark.parametrize("seed", range(5))
def test_pixels_and_labels_stay_together(seed):
    """Colours equal regions, so away from block edges they must agree after any view."""
    seen = view(checkers(240, 320), seed, crop=(100, 120), scale=(0.7, 2.5))
    known = seen.regions != IGNORE
    agree = np.abs(seen.pixels[..., 0].astype(int) - seen.regions) <= 1
    assert np.count_nonzero(agree & known) > 0.7 * np.count_nonzero(known)
    # Against a shift by two pixels, far fewer agree: the test would see one.
    shifted = np.abs(np.roll(seen.pixels[..., 0], 3, 1).astype(int) - seen.regions) <= 1
    assert np.count_nonzero(shifted & known) < np.count_nonzero(agree & known)


def test_crops_of_one_class_are_drawn_again():
    regions = np.zeros((100, 400), np.uint8)
    regions[:, 280:] = np.arange(100)[:, None] // 10
    scene = Scene(np.zeros((100, 400, 3), np.uint8), regions, (), 11)
    varied = [
        len(np.unique(view(scene, seed, crop=(80, 80), scale=(1, 1)).regions)) > 1
        for seed in range(200)
    ]
    # A single draw sees the varied strip in (320 - 200) / 320 of the cases.
    assert np.mean(varied) > 0.6


def test_scales_are_even_in_the_logarithm():
    scene = Scene(np.ones((40, 40, 3), np.uint8), np.ones((40, 40), np.uint8), (), 11)
    lengths = [
        np.count_nonzero((view(scene, s, crop=(90, 90), scale=(0.5, 2)).regions == 1).any(0))
        for s in range(300)
    ]
    assert min(lengths) in range(20, 23)
    assert max(lengths) in range(77, 81)
    assert np.median(lengths) == pytest.approx(40, abs=4)


@pytest.mark.parametrize(
    "wrong",
    [{"crop": (0, 10)}, {"crop": (3,)}, {"scale": (2, 1)}, {"scale": (0, 1)}, {"mirror": 1.5}],
)
def test_views_out_of_range(wrong):
    with pytest.raises(TriptychError, match=next(iter(wrong))):
        View(**wrong)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Light)])
def test_each_light_does_something_and_negatives_are_told(field):
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    light = dataclasses.replace(STILL, **{field: 1.0 if field == "degrade" else 0.5})
    changed = [not np.array_equal(random_light(pixels, light, random), pixels) for _ in range(12)]
    assert any(changed)
    assert all(changed) or field == "gamma"  # which comes now and then only
    with pytest.raises(TriptychError, match=field):
        Light(**{field: -0.1})


def test_no_light_changes_nothing():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(random_light(pixels, STILL, random), pixels)
    with pytest.raises(TriptychError, match="degrade"):
        Light(degrade=1.2)


@given(st.floats(0, 2), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_greys_stay_grey(saturation, turn):
    np.testing.assert_allclose(colour_matrix(saturation, turn) @ [90, 90, 90], 90, atol=1e-9)


def test_saturation_and_hue():
    red = np.array([200.0, 50.0, 50.0])
    np.testing.assert_allclose(colour_matrix(1, 0) @ red, red)
    grey = colour_matrix(0, 0) @ red
    np.testing.assert_allclose(grey, 0.299 * 200 + 0.701 * 50)
    turned = colour_matrix(1, 2 * np.pi / 3) @ red  # a third of the circle: red becomes green
    np.testing.assert_allclose(turned, [50, 200, 50], atol=1e-9)
    small = colour_matrix(1, 0.1) @ red
    assert colorsys.rgb_to_hsv(*small / 255)[0] == pytest.approx(0.1 / (2 * np.pi), abs=0.005)


def test_brightness_is_generous():
    pixels = np.full((16, 16, 3), 100, np.uint8)
    means = [
        random_light(pixels, Light(degrade=0), np.random.default_rng(seed)).mean()
        for seed in range(200)
    ]
    assert np.percentile(means, 5) < 65
    assert np.percentile(means, 95) > 145


class TestTurnedCamera:
    def test_no_turn_changes_nothing(self):
        coefficients = turned_camera((60, 80), 0.0, 0.0, 0.0)
        assert coefficients == pytest.approx((1, 0, 0, 0, 1, 0, 0, 0), abs=1e-12)

    @given(st.tuples(*[st.floats(-0.3, 0.3)] * 3), st.floats(-3, 3), st.floats(-3, 3))
    @settings(max_examples=60, deadline=None)
    def test_points_go_where_a_pinhole_camera_puts_them(self, angles, x, y):
        """A point of the world in the old picture and in the new one."""
        height, width = 60, 80
        focal, centre = 80.0, np.array([40.0, 30.0])
        point = np.array([x, y, 10.0])  # right, down, ahead
        pitch, yaw, roll = angles
        # The camera's own axes after it turned right, then down, then clockwise about its axis.
        right, down, ahead = np.eye(3)
        ahead, right = (
            np.cos(yaw) * ahead + np.sin(yaw) * right,
            np.cos(yaw) * right - np.sin(yaw) * ahead,
        )
        ahead, down = (
            np.cos(pitch) * ahead + np.sin(pitch) * down,
            np.cos(pitch) * down - np.sin(pitch) * ahead,
        )
        right, down = (
            np.cos(roll) * right + np.sin(roll) * down,
            np.cos(roll) * down - np.sin(roll) * right,
        )
        seen = np.array([right @ point, down @ point]) / (ahead @ point) * focal + centre
        before = point[:2] / point[2] * focal + centre
        a, b, c, d, e, f, g, h = turned_camera((height, width), pitch, yaw, roll)
        scale = g * seen[0] + h * seen[1] + 1
        old = ((a * seen[0] + b * seen[1] + c) / scale, (d * seen[0] + e * seen[1] + f) / scale)
        assert old == pytest.approx(before, abs=1e-6)

    def test_pixels_and_labels_turn_alike(self):
        source = checkers()
        seen = view(source, 3, crop=(60, 80), scale=(1, 1), mirror=0, tilt=8.0)
        padded = (seen.pixels == PADDING).all(axis=2)
        assert padded.any()
        assert (seen.regions[padded] == IGNORE).all()
        inside = (seen.regions != IGNORE) & ~padded
        same = seen.pixels[..., 0][inside] == seen.regions[inside]
        assert same.mean() > 0.7  # all but the edges, which are smooth in the picture
        assert (seen.regions != source.regions).any()

    def test_padding_is_what_lies_beyond_the_source(self):
        for seed in range(8):
            seen = view(checkers(), seed, crop=(60, 80), scale=(0.5, 2), tilt=5.0)
            assert seen.padding is not None
            # Along the border pixels are smooth, labels are not.
            assert (seen.pixels[seen.padding] == PADDING).mean() > 0.95
            assert (seen.regions[seen.padding] == IGNORE).all()
            assert (seen.pixels != PADDING).any(axis=2)[~seen.padding].mean() > 0.95

    def test_a_view_without_padding_says_so(self):
        assert view(checkers(), crop=(60, 80), scale=(1, 2)).padding is None
