"""Every result of their ``post_process_*`` functions, value for value, type for type."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    Mask2FormerImageProcessorPil,
    MaskFormerImageProcessorPil,
    OneFormerImageProcessorPil,
    SegformerImageProcessorPil,
)
from transformers.models.mask2former.image_processing_pil_mask2former import (
    convert_segmentation_to_rle,
)

from triptych.interop.accelerate import bilinear
from triptych.interop.accelerate.bilinear import Resized, resize
from triptych.interop.accelerate.instances import instances
from triptych.interop.accelerate.panoptic import panoptic
from triptych.interop.accelerate.semantic import class_maps, label_maps
from triptych.interop.accelerate.uncovered import Uncovered

PROCESSORS = {
    "mask2former": (Mask2FormerImageProcessorPil(), 384),
    "maskformer": (MaskFormerImageProcessorPil(), None),
}
KINDS = ["noise", "smooth", "faint", "sure", "empty", "ties"]
SIZES = [(375, 500), (90, 61), (333, 257), None]


def smooth(count: int, grid: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, count, 5, 6, generator=generator)
    return F.interpolate(coarse, size=grid, mode="bicubic")[0]


def outputs(
    kind: str, queries: int = 12, classes: int = 5, grid: tuple[int, int] = (24, 36), batch: int = 1
) -> SimpleNamespace:
    """Class and mask logits of a kind: what networks say of photographs, and what is awkward."""
    generator = torch.Generator().manual_seed(queries + classes)
    labels = 3 * torch.randn(batch, queries, classes + 1, generator=generator)
    masks = torch.stack([smooth(queries, grid, seed) for seed in range(batch)]) * 8
    if kind == "noise":
        masks = 4 * torch.randn(batch, queries, *grid, generator=generator)
    elif kind == "faint":
        masks = masks - 18
    elif kind == "sure":
        masks, labels = masks * 40, labels * 6  # sigmoid gives exactly 0 and 1
    elif kind == "empty":
        labels[..., -1] += 50
    elif kind == "ties":
        masks, labels = (masks / 4).round() * 4, labels.round()
        masks[:, 1::2] = masks[:, ::2][:, : masks[:, 1::2].shape[1]]
        labels[:, 1::2] = labels[:, ::2][:, : labels[:, 1::2].shape[1]]
    return SimpleNamespace(
        class_queries_logits=labels, masks_queries_logits=masks.contiguous(), logits=masks
    )


def same(ours: Any, theirs: Any) -> None:
    """Equal to the last bit, in structure and types too."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, Tensor):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert torch.equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            same(ours[name], value)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    else:
        assert ours == theirs


def targets(size: tuple[int, int] | None, batch: int) -> list[tuple[int, int]] | None:
    return None if size is None else [(size[0] + 7 * n, size[1]) for n in range(batch)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_panoptic_maps(name: str, kind: str, size: tuple[int, int] | None):
    theirs, square = PROCESSORS[name]
    given = outputs(kind, batch=2)
    found = 0
    for threshold, mask, overlap, fused in (
        (0.5, 0.5, 0.8, {0, 3}),
        (0.0, 0.2, 0.0, set()),
        (0.8, 0.0, 0.5, {1, 2, 3, 4}),
    ):
        settings: dict[str, Any] = {
            "threshold": threshold,
            "mask_threshold": mask,
            "overlap_mask_area_threshold": overlap,
            "label_ids_to_fuse": fused,
            "target_sizes": targets(size, 2),
        }
        wanted = theirs.post_process_panoptic_segmentation(given, **settings)
        same(panoptic(given, square=square, **settings), wanted)
        found += sum(len(one["segments_info"]) for one in wanted)
    assert (found == 0) == (kind == "empty")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_instances(name: str, kind: str, size: tuple[int, int] | None):
    theirs, square = PROCESSORS[name]
    given = outputs(kind, batch=2)
    for threshold in (0.0, 0.5):
        for form in ({}, {"return_binary_maps": True}, {"return_coco_annotation": True}):
            settings: dict[str, Any] = {
                "threshold": threshold,
                "target_sizes": targets(size, 2),
            } | form
            wanted = theirs.post_process_instance_segmentation(given, **settings)
            ours = instances(
                given, square=square, run_lengths=convert_segmentation_to_rle, **settings
            )
            same(ours, wanted)


@pytest.mark.parametrize("size", SIZES[:-1])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*PROCESSORS, "oneformer", "segformer"])
def test_class_maps(name: str, kind: str, size: tuple[int, int]):
    given, sizes = outputs(kind, batch=2), targets(size, 2)
    if name == "segformer":
        wanted = SegformerImageProcessorPil().post_process_semantic_segmentation(given, sizes)
        same(label_maps(given, sizes), wanted)
        return
    theirs, square = PROCESSORS.get(name) or (OneFormerImageProcessorPil(), None)
    same(
        class_maps(given, sizes, square=square),
        theirs.post_process_semantic_segmentation(given, sizes),
    )


@pytest.mark.parametrize("queries", [1, 2, 3, 4, 40])
@pytest.mark.parametrize("name", PROCESSORS)
def test_any_number_of_queries(name: str, queries: int):
    theirs, square = PROCESSORS[name]
    given = outputs("smooth", queries=queries, classes=2, grid=(40, 31))
    settings: dict[str, Any] = {"threshold": 0.1, "target_sizes": [(300, 431)]}
    same(
        panoptic(given, square=square, label_ids_to_fuse={1}, **settings),
        theirs.post_process_panoptic_segmentation(given, label_ids_to_fuse={1}, **settings),
    )
    same(
        instances(given, square=square, run_lengths=convert_segmentation_to_rle, **settings),
        theirs.post_process_instance_segmentation(given, **settings),
    )


def test_masks_that_are_no_longer_seen_in_a_small_image():
    given = outputs("smooth")
    given.masks_queries_logits -= 100
    given.masks_queries_logits[:, :, 11, 17] = 100  # a spot, between the pixels that are taken
    theirs, _ = PROCESSORS["maskformer"]
    settings: dict[str, Any] = {"threshold": 0.0, "target_sizes": [(5, 4)]}
    ours = instances(given, run_lengths=convert_segmentation_to_rle, **settings)
    same(ours, theirs.post_process_instance_segmentation(given, **settings))
    assert ours[0]["segments_info"] == []


def test_layouts_other_than_rows_of_planes():
    given = outputs("smooth")
    masks = given.masks_queries_logits.to(memory_format=torch.channels_last)
    given.masks_queries_logits = given.logits = masks
    sizes = [(480, 640)]
    for name, (theirs, square) in PROCESSORS.items():
        assert name
        same(
            panoptic(given, square=square, target_sizes=sizes),
            theirs.post_process_panoptic_segmentation(given, target_sizes=sizes),
        )
    same(
        label_maps(given, sizes),
        SegformerImageProcessorPil().post_process_semantic_segmentation(given, sizes),
    )


@pytest.mark.parametrize("outer", [(97, 640), (384, 384), (701, 1025), (200, 1920)])
@pytest.mark.parametrize("inner", [(384, 384), (64, 64), (31, 77)])
def test_tiles_are_the_whole(inner: tuple[int, int], outer: tuple[int, int]):
    generator = torch.Generator().manual_seed(1)
    planes = torch.rand(6, *inner, generator=generator)
    factors = torch.rand(6, generator=generator) + 0.1
    tiled = Resized(planes, outer, factors)
    whole = resize(planes, outer) * factors.view(-1, 1, 1)
    assert torch.equal(tiled.argmax(), whole.argmax(0))
    counts = tiled.count_at_least(0.4, [0, 2, 5])
    assert torch.equal(counts, (whole[[0, 2, 5]] >= 0.4).sum((1, 2)))


def test_tiles_are_used_where_they_are_meant_to_be():
    assert bilinear._is_fused() is not None, (
        "no tile is ever used on this processor: all is as slow as theirs"
    )
    assert Resized(torch.rand(6, 384, 384), (480, 640))._whole is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"target_sizes": None}, "resized"),
        ({"target_sizes": [(9, 9)] * 2}, "one for each"),
        ({"target_sizes": [(9.0, 9)]}, "whole numbers"),
        ({"target_sizes": torch.tensor([[9, 9]])}, "tensor"),
        ({"target_sizes": [(9, 9)], "return_segmentation_scores": True}, "scores"),
    ],
)
def test_what_is_left_to_them(settings: dict[str, Any], reason: str):
    with pytest.raises(Uncovered, match=reason):
        class_maps(outputs("smooth"), **settings)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda masks: masks.half(), "float32"),
        (lambda masks: masks.to("meta"), "CPU"),
        (lambda masks: masks * np.inf, "finite"),
        (lambda masks: masks.requires_grad_(), "gradients"),
    ],
)
def test_tensors_that_are_left_to_them(change: Any, reason: str):
    given = outputs("smooth")
    given.masks_queries_logits = change(given.masks_queries_logits)
    with pytest.raises(Uncovered, match=reason):
        panoptic(given, target_sizes=[(9, 9)])
