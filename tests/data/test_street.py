from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from tests.data.street import CAR, write_coco, write_frames, write_street

from triptych.data.composites import CompositeSet, panoptic_truth
from triptych.data.preview import draw_scene, main
from triptych.data.street import StreetDataset
from triptych.data.targets import Sample
from triptych.errors import TriptychError
from triptych.truth import IGNORE

SMALL: dict[str, Any] = {"crop": (96, 128), "paste": 4}


def same(one: Sample, other: Sample) -> bool:
    first, second = one.targets, other.targets
    return (
        one.name == other.name
        and torch.equal(one.pixels, other.pixels)
        and torch.equal(first.class_ids, second.class_ids)
        and torch.equal(first.masks, second.masks)
        and torch.equal(first.semantic, second.semantic)
        and torch.equal(first.ambiguous, second.ambiguous)
    )


def test_samples_have_their_shapes(street_root):
    views = StreetDataset(street_root, **SMALL)
    for index in range(6):
        sample = views[index]
        targets = sample.targets
        count = len(targets.class_ids)
        assert sample.pixels.shape == (3, 96, 128)
        assert sample.pixels.dtype == torch.uint8
        assert sample.pixels.is_contiguous()
        assert targets.masks.shape == (count, 96, 128)
        assert targets.semantic.shape == (96, 128)
        assert len(targets.ambiguous) == len(targets.ambiguous_class_ids)
        # Segments are disjoint and agree with the dense labels; what is left is unknown,
        # ambiguous or stuff too small to be a segment.
        assert targets.masks.sum(0).max() <= 1
        for class_id, mask in zip(targets.class_ids, targets.masks, strict=True):
            assert (targets.semantic[mask] == class_id).all()
            assert mask.sum() >= 16
        rest = ~targets.masks.any(0) & ~targets.ambiguous.any(0)
        assert targets.semantic[rest & (targets.semantic != IGNORE)].numel() < 16 * 11


def test_a_sample_depends_on_seed_and_index_alone(street_root):
    views, other = (StreetDataset(street_root, seed=3, **SMALL) for _ in range(2))
    expected = [views[index] for index in range(8)]
    for index in (5, 0, 7, 5):  # in any order, and whatever was drawn before
        assert same(other[index], expected[index])
    copy = pickle.loads(pickle.dumps(views))
    assert same(copy[6], expected[6])
    assert not same(StreetDataset(street_root, seed=4, **SMALL)[5], expected[5])
    assert not same(expected[5], expected[2])


def test_every_epoch_visits_each_frame_in_an_order_of_its_own(street_root):
    views = StreetDataset(street_root, **SMALL)
    orders = [
        tuple(views[index].name for index in range(epoch * 3, epoch * 3 + 3)) for epoch in range(6)
    ]
    assert all(sorted(order) == ["f0", "f1", "f2"] for order in orders)
    assert len(set(orders)) > 1


def test_the_global_random_state_is_neither_used_nor_changed(street_root):
    views = StreetDataset(street_root, **SMALL)
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    first = views[2]
    assert np.random.random() == expected
    np.random.seed(2)
    torch.manual_seed(5)
    assert same(views[2], first)


def test_pasting_can_be_switched_off(street_root):
    plain = StreetDataset(street_root, crop=(180, 240), scale=(1, 1), paste=0)
    assert all(len(plain.scene(index)[0].owners) == 2 for index in range(3))
    pasted = StreetDataset(street_root, crop=(180, 240), scale=(1, 1), paste=6)
    assert max(len(pasted.scene(index)[0].owners) for index in range(6)) > 2


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"paste": -1}, "paste"), ({"own": 2}, "own"), ({"crop": (0, 1)}, "crop")],
)
def test_arguments_out_of_range(street_root, wrong, told):
    with pytest.raises(TriptychError, match=told):
        StreetDataset(street_root, **wrong)


def test_unknown_light(street_root):
    with pytest.raises(TriptychError, match="shine"):
        StreetDataset(street_root, light={"shine": 1})


def test_missing_data(tmp_path, street_root):
    with pytest.raises(TriptychError, match="no folder"):
        StreetDataset(tmp_path)
    with pytest.raises(TriptychError, match=r"instances\.json"):
        StreetDataset(street_root, coco_split="test")


def test_damage_during_training_names_the_file(tmp_path):
    views = StreetDataset(write_street(tmp_path), **SMALL)
    (tmp_path / "camvid" / "train" / "labels" / "f1.png").write_bytes(b"")
    found = []
    for index in range(3):
        try:
            views[index]
        except TriptychError as error:
            found.append(str(error))
    assert found
    assert all("f1.png" in message for message in found)


def test_composites_are_fixed(street_root):
    one, other = CompositeSet(street_root, count=5), CompositeSet(street_root, count=5)
    assert len(one) == 5
    for index in (4, 0, 4):
        assert torch.equal(one[index].image, other[index].image)
        np.testing.assert_array_equal(one[index].semantic, other[index].semantic)
    different = CompositeSet(street_root, count=5, seed=1)
    assert not all(torch.equal(one[i].image, different[i].image) for i in range(5))
    with pytest.raises(IndexError):
        one[5]


def test_truth_of_composites(street_root):
    made = CompositeSet(street_root, count=6)
    objects = 0
    for index in range(6):
        example, scene = made[index], made.scene(index)
        truth = example.panoptic
        assert truth is not None
        np.testing.assert_array_equal(truth.semantic(IGNORE), example.semantic)
        np.testing.assert_array_equal(truth.ids == 0, scene.regions == IGNORE)
        by_class = [segment.class_id for segment in truth.segments if segment.crowd]
        # What CamVid calls cars and pedestrians is there once a class, as a crowd.
        assert len(by_class) == len(set(by_class))
        assert CAR in by_class
        assert all(CompositeSet.classes.is_thing[class_id] for class_id in by_class)
        single = [s for s in truth.segments if not s.crowd and s.class_id >= CAR]
        assert len(single) <= len(scene.owners)
        objects += len(single)
        for segment in single:
            assert scene.owners[segment.id - 12] == segment.class_id
    assert objects >= 6


def test_truth_of_a_frame_has_no_single_things(street_root):
    frame = CompositeSet(street_root, count=1).frames[0]
    truth = panoptic_truth(frame)
    assert all(segment.crowd == (segment.class_id >= CAR) for segment in truth.segments)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"objects": 0}])
def test_composites_out_of_range(street_root, wrong):
    with pytest.raises(TriptychError, match="must be positive"):
        CompositeSet(street_root, **wrong)


@pytest.mark.parametrize("options", [[], ["--composites", "--first", "2"]])
def test_preview_writes_a_sheet(street_root, tmp_path, options):
    from PIL import Image

    out = tmp_path / "sheet.png"
    assert main([str(out), "--root", str(street_root), "--count", "2", *options]) == 0
    with Image.open(out) as sheet:
        width, height = (240, 180) if options else (416, 320)
        assert sheet.size == (4 * 2 * width, 2 * height)
        assert len(np.unique(np.asarray(sheet))) > 100


def test_preview_outlines_objects_and_hatches_the_ambiguous(street_root):
    scene = CompositeSet(street_root, count=3).scene(0)
    drawn = draw_scene(scene, enlarge=1)
    assert (drawn[(scene.regions == CAR)] == 255).all(axis=1).mean() == pytest.approx(0.25, abs=0.1)
    assert (drawn != scene.pixels).any(axis=2)[scene.regions >= 11].any()


def test_preview_tells_what_is_missing(tmp_path, capsys):
    assert main([str(tmp_path / "x.png"), "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.data
def test_real_samples(shared_data):
    views = StreetDataset(shared_data)
    owners: list[int] = []
    for index in range(6):
        targets = views[index].targets
        assert targets.masks.shape[1:] == (320, 416)
        owners += targets.class_ids.tolist()
    assert {0, 1, 3, 8, 9} <= set(owners)


@pytest.mark.data
def test_real_composites(shared_data):
    made = CompositeSet(shared_data)
    assert len(made) == 101
    truth = made[50].panoptic
    assert truth is not None
    assert truth.ids.shape == (360, 480)
    assert any(not segment.crowd and segment.class_id >= CAR for segment in truth.segments)


def test_even_drives_visit_frames_of_short_drives_several_times(tmp_path):
    names = ["long_1", "long_2", "long_3", "long_4", "long_5", "short_1", "short_2"]
    write_frames(tmp_path / "camvid" / "train", names)
    write_coco(tmp_path / "coco" / "train")
    plain, even = (StreetDataset(tmp_path, even_drives=on, **SMALL) for on in (False, True))
    assert len(plain) == 7
    visited = Counter(even.scene(index)[1] for index in range(len(even)))
    assert [visited[number] for number in range(7)] == [1, 1, 1, 1, 1, 2, 2]
