from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.sets import disk

from triptych.classes import Classes
from triptych.data.augment import ViewWindow
from triptych.data.views import Views, part, view_targets
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.truth import IGNORE, Example, PanopticTruth, TrueSegment

STILL = dict.fromkeys(["brightness", "contrast", "saturation", "hue", "gamma", "degrade"], 0.0)
FOURFOLD = Preprocess(size=(4 * disk.HEIGHT, 4 * disk.WIDTH))


def whole(root, **arguments) -> Views:
    """Views of whole images, four times as large, as they are."""
    size = (4 * disk.HEIGHT, 4 * disk.WIDTH)
    plain: dict[str, Any] = {
        "crop": size,
        "scale": (1, 1),
        "mirror": 0,
        "light": STILL,
        "preprocess": FOURFOLD,
    }
    return Views(root, **(plain | arguments))


def areas(targets) -> list[tuple[int, int]]:
    """Class and pixels of each segment, in pixels of the image on disk."""
    pixels = targets.masks.sum((1, 2)).tolist()
    return sorted((k, n // 16) for k, n in zip(targets.class_ids.tolist(), pixels, strict=True))


def test_samples_depend_on_seed_and_index_alone(tmp_path):
    file = disk.plain(tmp_path, names=("a", "b", "c"))
    options: dict[str, Any] = {"crop": (8, 10), "seed": 3}
    first, again, other = (
        Views(file, **options),
        Views(file, **options),
        Views(file, **options | {"seed": 4}),
    )
    names = [first[index].name for index in range(6)]
    assert sorted(names[:3]) == sorted(names[3:]) == ["a", "b", "c"]
    for index in (5, 0, 2):
        one, two = first[index], again[index]
        assert one.name == two.name
        assert torch.equal(one.pixels, two.pixels)
        for field in dataclasses.fields(one.targets):
            values = [getattr(sample.targets, field.name) for sample in (one, two)]
            assert values == [None, None] or torch.equal(*values), field.name
    assert not torch.equal(first[0].pixels, first[3].pixels)
    assert not all(torch.equal(first[i].pixels, other[i].pixels) for i in range(3))


def test_a_partition_gives_stuff_objects_and_ambiguous_crowds(tmp_path):
    sample = whole(disk.coco_panoptic(tmp_path))[0]
    targets = sample.targets
    # sky 96 less 2 void and 12 of the cars above; grass 96 less 12; a car of 12, a crowd of 12
    assert areas(targets) == [(0, 96 - 2 - 12), (1, 96 - 12), (2, 12)]
    assert targets.ambiguous_class_ids.tolist() == [2]
    assert int(targets.ambiguous.sum()) == 12 * 16
    assert targets.void is None
    assert int((~targets.known).sum()) == 2 * 16
    assert not (targets.all_masks.sum(0) > 1).any()


def test_outlines_may_overlap_and_what_is_no_object_is_known(tmp_path):
    targets = whole(disk.coco_instances(tmp_path), things=0)
    sample = next(s for s in (targets[0], targets[1]) if s.name == "1")
    person, tie, car = 0, 1, 2
    assert areas(sample.targets) == [(person, 60), (tie, 6)]
    assert int((sample.targets.masks.sum(0) == 2).sum()) == 6 * 16, "the tie lies on the person"
    assert sample.targets.ambiguous_class_ids.tolist() == [car]
    assert sample.targets.known.all()
    assert (sample.targets.semantic == IGNORE).any()
    empty = next(s for s in (targets[0], targets[1]) if s.name == "2").targets
    assert len(empty.all_class_ids) == 0
    assert empty.known.all()


def test_what_lies_beyond_an_image_of_outlines_is_void(tmp_path):
    views = whole(disk.coco_instances(tmp_path), crop=(100, 100))
    assert int(views[0].targets.known.sum()) == 16 * disk.HEIGHT * disk.WIDTH


def test_things_that_nobody_told_apart_are_ambiguous(tmp_path):
    targets = whole(disk.plain(tmp_path))[0].targets
    assert areas(targets) == [(0, 96)]
    assert targets.ambiguous_class_ids.tolist() == [1]
    assert int(targets.ambiguous.sum()) == 96 * 16


def test_objects_of_a_few_pixels_are_no_targets(tmp_path):
    half = Preprocess(size=(disk.HEIGHT, disk.WIDTH))
    small = whole(disk.coco_panoptic(tmp_path), preprocess=half, crop=(disk.HEIGHT, disk.WIDTH))
    assert 2 not in small[0].targets.class_ids.tolist(), "a car of 12 pixels"


@pytest.mark.parametrize("mirror", [False, True])
def test_hundreds_of_objects_stay_apart_and_with_their_pixels(mirror):
    rows, columns = np.indices((120, 180)) // 6
    ids = (rows * 30 + columns + 1).astype(np.int32)
    image = np.stack([ids % 256, ids // 256, 0 * ids], -1).astype(np.uint8)
    segments = [TrueSegment(number, 0) for number in range(1, 601)]
    classes = Classes.of(["car"], things=["car"])
    example = Example(
        torch.from_numpy(image), np.zeros(ids.shape, np.uint8), PanopticTruth(ids, segments)
    )
    window = ViewWindow((150, 200), (30.0, 12.0, 130.0, 72.0), (120, 200), (10, 0), mirror)
    targets = view_targets(example, window, classes, dense=True)
    seen = window.look(image, Image.Resampling.NEAREST, (0, 0, 0)).astype(int)
    colours = torch.from_numpy(seen[..., 0] + 256 * seen[..., 1])
    assert len(targets.class_ids) > 150
    for mask in targets.masks:
        inside = colours[mask].unique()
        assert len(inside) == 1
        assert torch.equal(mask, colours == inside)


def test_the_split_for_training_is_found(tmp_path):
    disk.camvid(tmp_path, "val")
    disk.camvid(tmp_path, "train", frames=3)
    assert len(Views(tmp_path, crop=(8, 8))) == 3
    disk.camvid(tmp_path / "other", "val")
    disk.camvid(tmp_path / "other", "test")
    with pytest.raises(TriptychError, match=r"which split is for training\? There are: val, test"):
        Views(tmp_path / "other", crop=(8, 8))


def rare(root, **arguments) -> Views:
    """Views of whole images, one of six with a thing in it."""
    file = disk.plain(root, names=tuple("abcdef"))
    for name in "abcde":
        disk.numbers(root / "labels" / f"{name}.png", disk.halves(0, 0))
    return whole(file, **arguments)


@pytest.mark.parametrize(
    ("things", "share"),
    # As it comes; and with up to three more draws, each of which finds it in one case of six.
    [(0.0, 1 / 6), (1.0, 1 - (5 / 6) ** 4)],
)
def test_images_with_things_are_drawn_more_often(tmp_path, things, share):
    views = rare(tmp_path, things=things)
    samples = [views[index] for index in range(300)]
    shown = [sample.name == "f" for sample in samples]
    assert np.mean(shown) == pytest.approx(share, abs=0.07)
    thing = views.classes.thing_ids[0]
    assert shown == [thing in s.targets.all_class_ids.tolist() for s in samples]
    assert views[7].name == rare(tmp_path, things=things)[7].name


def test_where_all_views_show_things_nothing_is_drawn_again(tmp_path):
    file = disk.plain(tmp_path, names=("a", "b", "c"))
    for things in (0.0, 1.0):
        names = [whole(file, things=things)[index].name for index in range(6)]
        assert sorted(names[:3]) == sorted(names[3:]) == ["a", "b", "c"]


def test_held_out_images_and_the_others_are_all():
    assert part(7, 3, evaluation=True) == [2, 5]
    assert part(7, 3, evaluation=False) == [0, 1, 3, 4, 6]
    assert part(2, 0, evaluation=True) == part(2, 0, evaluation=False) == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"held_out": 1}, "held_out is 1"),
        ({"held_out": "x"}, "held_out is x"),
        ({"split": "tra"}, "no split 'tra'"),
        ({"light": {"bright": 1}}, "light has no 'bright'"),
        ({"crop": (0, 5)}, "crop"),
        ({"things": 1.5}, "things is 1.5; a chance"),
    ],
)
def test_mistakes_are_told(tmp_path, arguments, message):
    with pytest.raises(TriptychError, match=message):
        Views(disk.plain(tmp_path), **arguments)
