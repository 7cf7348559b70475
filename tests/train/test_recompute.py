"""Activation checkpointing: the same step with less kept."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.train.tiny import TinyCriterion, TinyModel
from torch import nn

from triptych.errors import TriptychError
from triptych.networks.models.registry import build
from triptych.train.recompute import recompute_activations
from triptych.train.step import LossModule

NETWORKS = {
    "segformer": {"classes": 3, "size": "b0"},
    "mask2former": {
        "classes": 3,
        "backbone": "swin_tiny",
        "backbone_arguments": {"drop_path": 0.5},
        "encoder_layers": 1,
        "queries": 4,
        "dim": 16,
        "heads": 2,
        "feedforward": 16,
        "layers": 3,
    },
}


def kept_for_backward(model: nn.Module, pixels: torch.Tensor) -> tuple[int, list[torch.Tensor]]:
    """Bytes that the forward pass keeps, and the gradients."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(1)  # drop path draws
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        prediction = model(pixels)
    loss = prediction.mask_logits.square().mean()
    if prediction.class_logits is not None:
        loss = loss + prediction.class_logits.square().mean()
    loss.backward()
    return sum(kept.values()), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("family", NETWORKS)
def test_gradients_are_the_same_and_less_is_kept(family):
    torch.manual_seed(0)
    plain = build(family, **NETWORKS[family]).train()
    frugal = copy.deepcopy(plain)
    assert recompute_activations(frugal) > 4
    pixels = torch.randn(1, 3, 64, 96)
    much, expected = kept_for_backward(plain, pixels)
    little, found = kept_for_backward(frugal, pixels)
    assert len(found) == len(expected) > 50
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert little < 0.7 * much


def test_a_copy_computes_with_its_own_weights():
    model = build("segformer", **NETWORKS["segformer"]).eval()
    recompute_activations(model)
    average = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.mul_(2)
    pixels = torch.randn(1, 3, 64, 64)
    plain = build("segformer", **NETWORKS["segformer"]).eval()
    plain.load_state_dict(average.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(average(pixels).mask_logits, plain(pixels).mask_logits)


def test_a_network_without_such_blocks_is_refused():
    with pytest.raises(TriptychError, match=r"checkpointing: TinyModel has no transformer blocks"):
        LossModule(
            TinyModel(),
            TinyCriterion(),
            mean=(0, 0, 0),
            std=(1, 1, 1),
            autocast=None,
            checkpointing=True,
        )
