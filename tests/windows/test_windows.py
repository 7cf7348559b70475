"""Large images: windows, seams, and what is the same as without them."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.mask_set import MaskSet
from triptych.metrics.instance import MaskAP
from triptych.networks.contract import Prediction
from triptych.segmenter import Segmenter
from triptych.truth import TrueInstance
from triptych.windows.join import Match, join
from triptych.windows.layout import Windows
from triptych.windows.mask_sets import WindowedMasks

CLASSES = Classes.of(["road", "car", "person"], things=["car", "person"])
ROAD, CAR, PERSON = range(3)
KINDS = [ROAD, CAR, CAR, CAR, PERSON, ROAD]
"""Class of the object with each number; 0 and 5 are stuff."""


class NumberModel(nn.Module):
    """Each grey level is an object: query ``i`` sees the pixels with the value ``i``, and no other.

    Where an object is painted says all about the masks, so that every answer is known.
    """

    competition = "independent"
    size_divisor = 1

    def __init__(self) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.arange(len(KINDS)).float()[:, None, None])
        self.seen: list[tuple[int, ...]] = []

    def forward(self, pixels: Tensor) -> Prediction:
        self.seen.append(tuple(pixels.shape))
        masks = 40 * (0.5 - (255 * pixels[:, :1] - self.numbers).abs())
        # The first query is surest, the second a little less: scores tell windows apart.
        sure = 12 - torch.arange(len(KINDS)).float()
        logits = torch.zeros(len(KINDS), len(CLASSES) + 1)
        logits[torch.arange(len(KINDS)), torch.tensor(KINDS)] = sure
        return Prediction.from_logits(masks, logits.expand(len(pixels), -1, -1))


def segmenter() -> Segmenter:
    plain = Preprocess(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), pad=False)
    return Segmenter(NumberModel(), plain, CLASSES, name="numbers")


def picture(height: int, width: int, *objects: tuple[int, int, int, int, int]) -> Tensor:
    """Grey ``(H, W, 3)``: 0, with rectangles ``(number, top, left, bottom, right)``."""
    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    for number, top, left, bottom, right in objects:
        image[top:bottom, left:right] = number
    return image


def shapes(masks: MaskSet | WindowedMasks) -> set[tuple[str, tuple[float, ...], int]]:
    return {(i.name, i.box, int(i.mask.sum())) for i in masks.instances()}


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 20), st.data())
@settings(max_examples=100, deadline=None)
def test_cores_share_the_image_and_lie_in_their_windows(height, width, size, data):
    overlap = data.draw(st.integers(0, size // 2))
    covered = torch.zeros(height, width, dtype=torch.int32)
    windows = Windows(size, overlap).over((height, width))
    for window in windows:
        covered[window.core] += 1
        whole = torch.arange(height * width).view(height, width)
        assert torch.equal(whole[window.area][window.inner], whole[window.core])
        assert whole[window.area].shape == (min(size, height), min(size, width))
    assert bool((covered == 1).all())
    starts = sorted({window.area[0].start for window in windows})
    assert all(b - a <= size - overlap for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize(
    ("objects", "windows"),
    [
        ([(1, 4, 10, 12, 50)], 2),
        ([(1, 20, 20, 45, 44)], 4),
        ([(1, 2, 2, 62, 62)], 9),
    ],
    ids=["across two windows", "across four", "larger than a window"],
)
def test_an_object_cut_by_seams_comes_back_as_one(objects, windows):
    image = picture(64, 64, *objects)
    masks = segmenter()(image, windows=Windows(28, 8))
    _, top, left, bottom, right = objects[0]
    touched = [w for w in masks.windows if (image[w.area] == 1).any()]
    assert len(touched) >= windows
    (car,) = masks.instances()
    expected = (image == 1).all(-1)
    assert torch.equal(car.mask, expected)
    assert car.box == (left, top, right, bottom)
    panoptic = masks.panoptic()
    (segment,) = [s for s in panoptic.segments if s.name == "car"]
    assert torch.equal(panoptic.ids == segment.id, expected)
    assert segment.area == int(expected.sum())
    assert segment.score == pytest.approx(car.score, abs=1e-3)


def test_touching_objects_of_one_class_stay_apart():
    # Three cars bumper to bumper, each cut by a seam, and a person among them.
    image = picture(
        48, 96, (1, 8, 4, 24, 30), (2, 8, 30, 24, 60), (3, 24, 4, 40, 60), (4, 8, 60, 40, 90)
    )
    masks = segmenter()(image, windows=Windows(32, 12))
    assert len(masks.windows) > 6
    expected = {(CLASSES.names[KINDS[n]], int((image[..., 0] == n).sum())) for n in (1, 2, 3, 4)}
    assert {(name, area) for name, _, area in shapes(masks)} == expected
    things = [(s.name, s.area) for s in masks.panoptic().segments if s.is_thing]
    assert sorted(things) == sorted(expected)


def test_an_object_on_one_side_of_a_seam_is_not_doubled_by_what_both_windows_show():
    image = picture(32, 60, (1, 8, 26, 20, 34))  # wholly in what the two windows share
    masks = segmenter()(image, windows=Windows(36, 12))
    assert [w.area[1] for w in masks.windows] == [slice(0, 36), slice(24, 60)]
    assert shapes(masks) == {("car", (26.0, 8.0, 34.0, 20.0), 96)}


def test_the_maps_have_no_seams():
    image = picture(70, 90, (5, 30, 0, 70, 90), (1, 10, 20, 40, 70), (4, 35, 60, 60, 80))
    whole, cut = segmenter()(image), segmenter()(image, windows=Windows(32, 10))
    assert torch.equal(cut.semantic().ids, whole.semantic().ids)
    assert cut.semantic().ids.dtype == torch.int64
    a, b = whole.panoptic(), cut.panoptic()
    names = [["void", *(s.name for s in p.segments)] for p in (a, b)]
    for name in {*names[0], *names[1]}:
        masks = [
            torch.isin(p.ids, torch.tensor([i for i, n in enumerate(known) if n == name]).int())
            for p, known in zip((a, b), names, strict=True)
        ]
        assert torch.equal(*masks), name
    assert b.ids.dtype == torch.int32
    assert [s.id for s in b.segments] == list(range(1, len(b.segments) + 1))
    areas = b.ids.flatten().long().bincount(minlength=len(b.segments) + 1)
    assert [s.area for s in b.segments] == areas[1:].tolist()
    assert sum(s.name == "road" for s in b.segments) == 1  # stuff merges over the whole image


def test_one_window_is_the_image_itself():
    image = picture(40, 50, (5, 20, 0, 40, 50), (1, 5, 5, 30, 30), (2, 5, 30, 30, 45))
    whole, cut = segmenter()(image), segmenter()(image, windows=Windows(64, 16))
    assert len(cut.parts) == 1
    assert torch.equal(whole.semantic().ids, cut.semantic().ids)
    a, b = whole.panoptic(), cut.panoptic()
    assert torch.equal(a.ids, b.ids)
    assert a.segments == b.segments
    c, d = whole.instances(0.2, 5), cut.instances(0.2, 5)
    assert [(i.box, i.score, i.class_id) for i in c] == [(i.box, i.score, i.class_id) for i in d]
    assert all(torch.equal(i.mask, j.mask) for i, j in zip(c, d, strict=True))
    assert c.source == d.source


def test_every_window_goes_through_the_network_in_batches():
    found = segmenter()
    image = picture(64, 64)
    masks = found([image, image], windows=Windows(32, 8), batch_size=4)
    assert [len(m.parts) for m in masks] == [9, 9]
    assert found.model.seen == 2 * [(4, 3, 32, 32), (4, 3, 32, 32), (1, 3, 32, 32)]
    assert repr(masks[0]) == "WindowedMasks(9 windows, image 64x64)"


def test_thresholds_hold_in_each_window():
    image = picture(32, 60, (1, 8, 20, 20, 40))
    masks = segmenter()(image, windows=Windows(36, 12))
    assert len(masks.instances(threshold=1.0)) == 0
    assert [s for s in masks.panoptic(threshold=1.0).segments if s.is_thing] == []
    assert len(masks.instances(top=1)) == 0  # the surest pair of each window is stuff


def test_parts_of_one_window_are_never_joined():
    # Part 1, of another window, resembles both 0 and 2.
    matches = [Match(0.3, 0.6, 0, 1), Match(0.4, 0.6, 1, 2), Match(0.5, 0.5, 3, 1)]
    assert join([0, 1, 0, 2], matches) == [[0], [1, 2], [3]]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (64, 33), (64, -1)])
def test_windows_out_of_range_are_refused(size, overlap):
    with pytest.raises(TriptychError, match="windows of"):
        Windows(size, overlap)


def test_the_overlay_of_a_large_image_is_thinned(monkeypatch):
    from triptych.render import panels

    monkeypatch.setattr(panels, "LARGEST_EDGE", 100)
    image = picture(150, 210, (1, 10, 20, 140, 130))
    drawn = segmenter()(image, windows=Windows(64, 16)).overlay(image)
    assert 3 * 70 <= drawn.width < 3 * 100


def test_metrics_take_instances_that_make_their_masks_when_asked():
    image = picture(48, 96, (1, 8, 4, 24, 30), (2, 8, 30, 24, 60), (4, 8, 60, 40, 90))
    found = segmenter()(image, windows=Windows(32, 12)).instances()
    truth = [TrueInstance(i.mask.numpy(), i.class_id) for i in found]
    metric = MaskAP(CLASSES)
    metric.update(found, truth)
    assert metric.compute().ap == pytest.approx(1.0)
    assert all(torch.equal(i.mask[i.area], i.cut) for i in found)
    assert {tuple(i.mask.shape) for i in found} == {(48, 96)}
