"""SegFormer: published sizes, shapes, what it tells the rest, and training."""

from __future__ import annotations

import pytest
import torch

from triptych.checkpoints.names.segformer import write_config
from triptych.errors import TriptychError
from triptych.networks.backbones.mit import Block
from triptych.networks.contract import Prediction
from triptych.networks.models.segformer import SIZES, SegFormer, segformer


def tiny(**arguments) -> SegFormer:
    numbers = {"channels": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "heads": (1, 2, 3, 4)}
    return segformer(**({"classes": 5, "decoder_dim": 16} | numbers | arguments))


# Xie et al., table 1 and the model zoo of their code: millions of parameters with ADE's classes.
@pytest.mark.parametrize(
    ("size", "millions"),
    [("b0", 3.8), ("b1", 13.7), ("b2", 27.5), ("b3", 47.3), ("b4", 64.1), ("b5", 84.7)],
)
def test_published_parameter_counts(size, millions):
    with torch.device("meta"):
        model = segformer(classes=150, size=size)
    count = sum(p.numel() for p in model.parameters())
    assert round(count / 1e6, 1) == pytest.approx(millions, abs=0.11)


def test_b0_to_the_last_parameter():
    with torch.device("meta"):
        model = segformer(classes=150)
    assert sum(p.numel() for p in model.parameters()) == 3_752_694
    assert set(SIZES) == {"b0", "b1", "b2", "b3", "b4", "b5"}


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 98), (127, 33)])
def test_one_mask_for_each_class_at_a_quarter(height, width):
    model = tiny().eval()
    with torch.inference_mode():
        prediction = model(torch.randn(2, 3, height, width))
    assert isinstance(prediction, Prediction)
    assert prediction.mask_logits.shape == (2, 5, -(-height // 4), -(-width // 4))
    assert prediction.class_logits is None
    assert prediction.auxiliary == ()


def test_what_it_tells_the_rest_of_the_line():
    model = tiny()
    assert model.competition == "softmax"
    assert model.size_divisor == 32
    assert model.backbone.channels == (8, 16, 24, 32)
    # A smaller reduction needs less padding: 1/4 maps reduced by 2, and 1/32 maps.
    assert tiny(strides=(4, 2, 1, 1), reductions=(2, 1, 1, 1)).size_divisor == 8


def test_explicit_numbers_win_over_the_size():
    model = segformer(classes=2, size="b1", depths=(1, 1, 1, 1))
    assert sum(isinstance(module, Block) for module in model.modules()) == 4
    assert model.backbone.channels == (64, 128, 320, 512)


def test_an_unknown_size_names_those_there_are():
    with pytest.raises(TriptychError, match=r"'b6'.*b0, b1, b2, b3, b4, b5"):
        segformer(classes=2, size="b6")


def test_every_parameter_learns():
    model = tiny().train()
    prediction = model(torch.randn(2, 3, 64, 64))
    prediction.mask_logits.square().mean().backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_training_is_random_and_evaluation_is_not():
    model, pixels = tiny(drop_path=0.5), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        model.train()
        assert not torch.equal(model(pixels).mask_logits, model(pixels).mask_logits)
        model.eval()
        assert torch.equal(model(pixels).mask_logits, model(pixels).mask_logits)
        alone = model(pixels[1:]).mask_logits
        torch.testing.assert_close(model(pixels).mask_logits[1:], alone)


@pytest.mark.parametrize("ablation", [{"positions": [64, 64]}, {"mixing": False}])
def test_ablations_are_not_written_as_what_transformers_has(ablation):
    with pytest.raises(TriptychError, match="use the format triptych"):
        write_config({"classes": 3, **ablation})
