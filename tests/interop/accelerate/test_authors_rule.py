"""rule="authors": the readings of this library, in the form of transformers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.interop.accelerate.small import make
from tests.interop.accelerate.test_readings_as_theirs import outputs
from tests.interop.accelerate.test_switch import confident, picture, small

import triptych
from triptych.errors import TriptychError
from triptych.interop.accelerate.place import recall, remember


@pytest.fixture(params=["segformer", "mask2former-swin", "maskformer-resnet"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An accelerated processor, and of two pictures: outputs, our mask set, size."""
    model, processor = make(request.param)
    model, processor = confident(model), small(processor)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    segmenter = triptych.load(str(tmp_path))
    triptych.accelerate(model, processor, rule="authors")
    cases = []
    for each in (picture(), picture(120, 140)):
        with torch.inference_mode():
            given = model(**processor(each, return_tensors="pt"))
        cases.append((given, segmenter(np.asarray(each)), (each.height, each.width)))
    return processor, cases


def test_class_maps(read: Any):
    processor, cases = read
    for given, masks, size in cases:
        (found,) = processor.post_process_semantic_segmentation(given, [size])
        assert found.dtype == torch.int64
        assert found.shape == size
        assert (found == masks.semantic().ids).float().mean() > 0.999


def test_panoptic_maps_and_instances(read: Any):
    processor, cases = read
    if not hasattr(processor, "post_process_panoptic_segmentation"):
        pytest.skip("SegFormer has one reading")
    for given, masks, size in cases:
        settings = {"threshold": 0.2, "target_sizes": [size]}
        (found,) = processor.post_process_panoptic_segmentation(
            given, overlap_mask_area_threshold=0.1, **settings
        )
        wanted = masks.panoptic(threshold=0.2, overlap=0.1)
        assert found["segmentation"].dtype == torch.int32
        assert (found["segmentation"] == wanted.ids).float().mean() > 0.999
        assert [
            (one["id"], one["label_id"], one["was_fused"]) for one in found["segments_info"]
        ] == [(one.id, one.class_id, not one.is_thing) for one in wanted.segments]
        (listed,) = processor.post_process_instance_segmentation(
            given, return_binary_maps=True, **settings
        )
        objects = masks.instances(threshold=0.2)
        assert len(objects) > 0
        for segment, mask, other in zip(
            listed["segments_info"], listed["segmentation"], objects, strict=True
        ):
            assert segment["label_id"] == other.class_id
            assert segment["score"] == pytest.approx(other.score, abs=1e-4)
            assert ((mask == 1) == other.mask).float().mean() > 0.999


def test_stuff_that_is_named():
    model, processor = make("mask2former-swin")
    triptych.accelerate(model, processor, rule="authors")
    given = outputs("smooth", queries=30)
    settings = {"threshold": 0.0, "overlap_mask_area_threshold": 0.0, "target_sizes": [(50, 70)]}
    (found,) = processor.post_process_panoptic_segmentation(
        given, label_ids_to_fuse={0, 3}, **settings
    )
    fused = [one["label_id"] for one in found["segments_info"] if one["was_fused"]]
    assert fused
    assert len(fused) == len(set(fused))  # each once
    others = [one["label_id"] for one in found["segments_info"] if not one["was_fused"]]
    assert not {0, 3} & set(others)


def test_ids_and_run_lengths():
    model, processor = make("mask2former-swin")
    triptych.accelerate(model, processor, rule="authors")
    given = outputs("smooth")
    settings = {"threshold": 0.2, "target_sizes": [(50, 70)]}
    (plain,) = processor.post_process_instance_segmentation(given, **settings)
    (maps,) = processor.post_process_instance_segmentation(
        given, return_binary_maps=True, **settings
    )
    (runs,) = processor.post_process_instance_segmentation(
        given, return_coco_annotation=True, **settings
    )
    assert plain["segments_info"] == maps["segments_info"] == runs["segments_info"]
    best = maps["segmentation"][0] == 1
    assert (plain["segmentation"][best] == 0).all()
    assert len(runs["segmentation"]) == len(plain["segmentation"].unique())


def test_what_it_does_not_have():
    model, processor = make("mask2former-swin")
    triptych.accelerate(model, processor, rule="authors")
    given = outputs("smooth")
    with pytest.raises(TriptychError, match="return_segmentation_scores"):
        processor.post_process_semantic_segmentation(
            given, [(9, 9)], return_segmentation_scores=True
        )
    with pytest.raises(TriptychError, match="give \\(height, width\\)"):
        processor.post_process_semantic_segmentation(given, [(9, 9)] * 3)


def test_rules_replace_each_other():
    model, processor = make("mask2former-swin")
    given = outputs("smooth")
    given.masks_queries_logits -= 100
    settings = {"threshold": 0.0, "overlap_mask_area_threshold": 0.0, "target_sizes": [(50, 70)]}
    theirs = processor.post_process_semantic_segmentation(given, [(50, 70)])[0]
    triptych.accelerate(model, processor, rule="authors")
    authors = processor.post_process_panoptic_segmentation(given, **settings)[0]
    assert authors["segments_info"] == []  # a faint mask has no pixel of its own
    with triptych.accelerated(model, processor):
        inside = processor.post_process_semantic_segmentation(given, [(50, 70)])[0]
        assert torch.equal(inside, theirs)
    again = processor.post_process_panoptic_segmentation(given, **settings)[0]
    assert again["segments_info"] == []
    triptych.accelerate(model, processor)
    assert torch.equal(processor.post_process_semantic_segmentation(given, [(50, 70)])[0], theirs)


def test_where_pictures_lie():
    masks = torch.zeros(2, 3, 16, 24)
    given = SimpleNamespace(masks_queries_logits=masks)
    whole = recall(given, [None, (5, 6)])
    assert [(one.input_size, one.valid_size, one.image_size) for one in whole] == [
        ((64, 96), (64, 96), (64, 96)),
        ((64, 96), (64, 96), (5, 6)),
    ]
    seen = torch.zeros(2, 63, 95, dtype=torch.long)
    seen[0, :40, :95] = 1
    seen[1, :63, :50] = 1
    remember(given, torch.zeros(2, 3, 63, 95), seen)
    noted = recall(given, [(80, 190), None])
    assert [(one.input_size, one.valid_size, one.image_size) for one in noted] == [
        ((63, 95), (40, 95), (80, 190)),
        ((63, 95), (63, 50), (63, 50)),
    ]
