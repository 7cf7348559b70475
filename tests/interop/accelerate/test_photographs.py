"""Masks of real photographs, and random ones of any shape: every result to the bit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interop.accelerate.test_readings_as_theirs import KINDS, outputs, same
from transformers import Mask2FormerImageProcessorPil, MaskFormerImageProcessorPil

import triptych
from triptych.interop.accelerate.processors import give, their_readings

KINDS_OF_PROCESSORS = (Mask2FormerImageProcessorPil, MaskFormerImageProcessorPil)


def compare(kind: Any, outputs: Any, sizes: list[tuple[int, int]], fused: set[int]) -> None:
    theirs, ours = kind(), kind()
    give(ours, their_readings(ours))
    for threshold in (0.3, 0.8):
        options = {"threshold": threshold, "target_sizes": sizes}
        for name, more in (
            ("instance", {}),
            ("instance", {"return_binary_maps": True}),
            ("panoptic", {"label_ids_to_fuse": fused}),
            ("panoptic", {"overlap_mask_area_threshold": 0.1, "mask_threshold": 0.2}),
        ):
            call = f"post_process_{name}_segmentation"
            wanted = getattr(theirs, call)(outputs, **options, **more)
            same(getattr(ours, call)(outputs, **options, **more), wanted)
    wanted = theirs.post_process_semantic_segmentation(outputs, sizes)
    same(ours.post_process_semantic_segmentation(outputs, sizes), wanted)


@pytest.fixture(scope="module")
def street() -> triptych.Segmenter:
    return triptych.load("street", device="cpu")


@pytest.mark.parametrize("folder", ["camvid/val/images", "coco/val/images"])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_photographs(street: triptych.Segmenter, shared_data: Path, folder: str, index: int):
    file = sorted((shared_data / folder).iterdir())[index]
    masks = street(file)
    assert masks.class_logits is not None
    found = SimpleNamespace(
        class_queries_logits=masks.class_logits[None].clone(),
        masks_queries_logits=masks.mask_logits[None].clone(),
    )
    fused = set(masks.classes.stuff_ids)
    for kind in KINDS_OF_PROCESSORS:
        compare(kind, found, [masks.geometry.image_size], fused)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    processor=st.sampled_from(KINDS_OF_PROCESSORS),
    queries=st.integers(1, 9),
    classes=st.integers(1, 6),
    grid=st.tuples(st.integers(6, 50), st.integers(6, 50)),
    size=st.tuples(st.integers(20, 500), st.integers(20, 500)),
)
def test_any_shape(
    kind: str,
    processor: Any,
    queries: int,
    classes: int,
    grid: tuple[int, int],
    size: tuple[int, int],
):
    compare(processor, outputs(kind, queries, classes, grid), [size], {0})


@pytest.mark.parametrize("threads", [2, 3])
def test_several_threads(threads: int):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for kind in KINDS_OF_PROCESSORS:
            compare(kind, outputs("smooth", queries=6), [(200, 260)], {0})
    finally:
        torch.set_num_threads(before)
