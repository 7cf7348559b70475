"""The readings do not depend on how the numbers came: batches, types, autocast, strips."""

from __future__ import annotations

import dataclasses
import weakref

import pytest
import torch
import torch.nn.functional as F
from tests.readings.cases import classes
from torch.utils._python_dispatch import TorchDispatchMode

from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings import grid, semantic


def scene(seed: int = 0, queries: int = 30, geometry: Geometry | None = None) -> MaskSet:
    """Smooth blobs and decided classes on a grid large enough for several strips."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, queries, 4, 6, generator=generator)
    masks = 6 * F.interpolate(noise, (48, 64), mode="bicubic")[0] - 1
    logits = 3 * torch.randn(queries, 5, generator=generator)
    geometry = geometry or Geometry((192, 256), (180, 240), (135, 180))
    return MaskSet(masks, logits, classes(4), geometry)


def logits_of(masks: MaskSet) -> torch.Tensor:
    assert masks.class_logits is not None
    return masks.class_logits


def readings(masks: MaskSet) -> tuple:
    panoptic, instances = masks.panoptic(0.5, overlap=0.2), masks.instances(0.3)
    assert len(panoptic.segments) > 2
    assert len(instances) > 2
    return (
        masks.semantic().ids.tolist(),
        panoptic.ids.tolist(),
        panoptic.segments,
        [(i.class_id, i.score, i.box, i.mask.tolist()) for i in instances],
    )


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry((192, 256), (192, 256), (192, 256)),
        Geometry((192, 256), (180, 240), (135, 180)),
        Geometry((96, 128), (96, 120), (160, 200)),
        Geometry((48, 64), (48, 64), (20, 30)),
    ],
    ids=["one step", "padded, smaller", "enlarged twice", "below the grid"],
)
def test_equal_to_the_definition_in_plain_torch(geometry):
    masks = scene(geometry=geometry)
    (height, width), wide = geometry.valid_size, masks.mask_logits.double()[None]
    wide = F.interpolate(wide, geometry.input_size, mode="bilinear")[:, :, :height, :width]
    logits = F.interpolate(wide, geometry.image_size, mode="bilinear")[0]
    scores = logits_of(masks).double().softmax(1)

    totals = torch.einsum("nk,nyx->kyx", scores[:, :-1], logits.sigmoid())
    first, second = totals.topk(2, 0).values
    clear = first - second > 1e-5
    assert clear.float().mean() > 0.999
    assert torch.equal(masks.semantic().ids[clear], totals.argmax(0)[clear])

    score, label = scores.max(1)
    kept = ((label < 4) & (score > 0.5)).nonzero()[:, 0]
    winner = (score[kept, None, None] * logits[kept].sigmoid()).argmax(0)
    result = masks.panoptic(0.5, overlap=0.0)
    for place, query in enumerate(kept.tolist()):
        own = (winner == place) & (logits[query] >= 0)
        numbers = result.ids[own].unique().tolist()
        assert len(numbers) <= 1
        for number in numbers:
            assert result.segments[number - 1].class_id == label[query]

    for found in masks.instances(0.3):
        assert any(torch.equal(found.mask, logits[i] > 0) for i in range(len(masks)))


def test_an_element_of_a_batch_reads_as_the_image_alone():
    alone = [scene(seed) for seed in (1, 2, 3)]
    # As networks may leave them: queries first, the batch in the middle of the memory.
    masks = torch.stack([m.mask_logits for m in alone], dim=1)
    logits = torch.stack([logits_of(m) for m in alone], dim=1)
    for index, single in enumerate(alone):
        element = dataclasses.replace(
            single, mask_logits=masks[:, index], class_logits=logits[:, index]
        )
        assert not element.mask_logits.is_contiguous()
        assert readings(element) == readings(single)


def test_strips_leave_no_seams(monkeypatch):
    whole = scene()
    monkeypatch.setattr(grid, "STRIP_NUMBERS", 1 << 30)
    expected = readings(whole)
    monkeypatch.setattr(grid, "STRIP_NUMBERS", 1 << 12)
    pieces = grid.Grid.of(whole)
    assert len(pieces.areas()) > 5 * pieces.tiles_at_once
    assert readings(whole) == expected


@pytest.mark.parametrize("negligible", [0.01, 0.2, 2.0])
def test_queries_left_out_of_a_tile_change_nothing(monkeypatch, negligible):
    masks = scene()
    monkeypatch.setattr(semantic, "NEGLIGIBLE", 0.0)
    expected = masks.semantic().ids
    monkeypatch.setattr(semantic, "NEGLIGIBLE", negligible)
    assert torch.equal(masks.semantic().ids, expected)


def test_what_is_found_out_about_a_mask_set_is_shared_and_let_go(monkeypatch):
    masks = scene()
    made = []
    bounds = grid._bounds

    def counted(*arguments):
        made.append(1)
        return bounds(*arguments)

    monkeypatch.setattr(grid, "_bounds", counted)
    masks.semantic()
    masks.panoptic()
    masks.instances()
    assert made == [1]
    kept = weakref.ref(grid.Grid.of(masks))
    del masks
    assert kept() is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_and_double_precision_are_read_in_single(dtype):
    masks = scene()
    typed = dataclasses.replace(
        masks, mask_logits=masks.mask_logits.to(dtype), class_logits=logits_of(masks).to(dtype)
    )
    back = dataclasses.replace(
        masks, mask_logits=typed.mask_logits.float(), class_logits=logits_of(typed).float()
    )
    assert readings(typed) == readings(back)


def test_autocast_and_gradients_change_nothing():
    masks = scene()
    expected = readings(masks)
    with torch.autocast("cpu", torch.bfloat16):
        assert readings(masks) == expected
    learning = dataclasses.replace(masks, mask_logits=masks.mask_logits.clone().requires_grad_())
    assert readings(learning) == expected
    assert not learning.semantic().ids.requires_grad
    with torch.inference_mode():
        made_inside = dataclasses.replace(masks, mask_logits=masks.mask_logits * 1)
    assert readings(made_inside) == expected


def test_reading_leaves_the_mask_set_as_it_was():
    masks = scene()
    before = masks.mask_logits.clone(), logits_of(masks).clone()
    readings(masks)
    masks.explain()
    assert torch.equal(masks.mask_logits, before[0])
    assert torch.equal(logits_of(masks), before[1])


def test_memory_stays_far_below_all_masks_at_full_size():
    masks = scene(queries=60, geometry=Geometry((192, 256), (192, 256), (768, 1024)))
    everything = 60 * 768 * 1024 * 4
    with LargestTensor() as watch:
        masks.semantic()
        masks.panoptic(0.5)
        masks.instances()
    assert watch.size >= 768 * 1024  # it does see the results
    assert watch.size < everything / 20


class LargestTensor(TorchDispatchMode):
    """Remembers the size in bytes of the largest tensor that any operation returned."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.nbytes)
        return result
