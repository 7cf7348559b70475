from __future__ import annotations

import pytest
import torch
from tests.train.tiny import TinyCriterion, TinyData, TinyModel, collate

from triptych.errors import TriptychError
from triptych.train.step import (
    LossModule,
    autocast_type,
    check_finite,
    prepare_mode,
    to_device,
)

CPU = torch.device("cpu")


def module(autocast: torch.dtype | None = None, model=None) -> LossModule:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    model = model or TinyModel(dropout=0.0)
    return LossModule(model, TinyCriterion(), mean=mean, std=std, autocast=autocast)


def test_pixels_are_normalised_and_channels_last():
    seen = []
    model = TinyModel()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels, targets, _ = collate([TinyData()[0], TinyData()[1]])
    module(model=model)(pixels, targets)
    mean = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)
    std = torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    torch.testing.assert_close(seen[0], (pixels / 255 - mean) / std)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_network_computes_in_bf16_and_losses_in_fp32():
    seen = []
    model = TinyModel(dropout=0.0)
    model.head.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    pixels, targets, _ = collate([TinyData()[0]])
    losses = module(torch.bfloat16, model)(pixels, targets)
    assert seen == [torch.bfloat16]
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    plain = module(None, model)(pixels, targets)
    assert seen[1] == torch.float32
    for name, loss in losses.items():
        torch.testing.assert_close(loss, plain[name], atol=0.02, rtol=0.05)


def test_precision_is_as_named_or_as_the_machine_has_it():
    assert autocast_type("fp32", CPU) is None
    assert autocast_type("bf16", CPU) is torch.bfloat16
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert autocast_type("auto", CPU) is (torch.bfloat16 if native else None)


def test_to_device_moves_every_tensor():
    _, targets, _ = TinyData()[0]
    moved = to_device(targets, torch.device("meta"))
    assert moved.masks.device.type == moved.semantic.device.type == "meta"
    assert type(moved) is type(targets)


def test_frozen_norm_is_the_backbones_only():
    model = TinyModel()
    model.extra = torch.nn.BatchNorm2d(2)
    prepare_mode(model, True)
    assert model.training
    assert not model.backbone[1].training
    assert model.extra.training
    prepare_mode(model, False)
    assert model.backbone[1].training


def test_finite_terms_with_a_sum_beyond_float_are_told():
    terms = {"mask": torch.tensor(3e38), "dice": torch.tensor(3e38)}
    with pytest.raises(TriptychError, match="sum of the losses = inf, on images a, b"):
        check_finite(terms, sum(terms.values(), torch.tensor(0.0)), step=3, names=["a", "b"])
    check_finite({}, torch.tensor(1.0), step=3, names=[])
