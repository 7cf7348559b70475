from __future__ import annotations

from typing import Any

import torch
from tests.train.tiny import TinyModel

from triptych.train.ema import ModelEMA


def test_average_is_the_weighted_sum_of_all_weights_so_far():
    model: Any = TinyModel()
    average: Any = ModelEMA(model, 0.5)
    expected = model.head.weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            model.head.weight.add_(torch.randn_like(model.head.weight))
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.head.weight.detach()
    torch.testing.assert_close(average.model.head.weight, expected)


def test_decay_warms_up_so_that_the_start_is_forgotten():
    model: Any = TinyModel()
    average: Any = ModelEMA(model, 0.9999)
    with torch.no_grad():
        model.head.weight.fill_(1.0)
    for step in range(10):
        average.update(model, step)
    # With the full decay from the start, 99.9 % of the random weights would still be there.
    torch.testing.assert_close(
        average.model.head.weight, torch.ones_like(model.head.weight), atol=1e-3, rtol=0
    )


def test_buffers_are_copied_and_the_model_is_left_alone():
    model: Any = TinyModel()
    average: Any = ModelEMA(model, 0.9)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.backbone[1].running_mean.fill_(3.0)
    model.backbone[1].num_batches_tracked.fill_(7)
    average.update(model, 0)
    assert average.model.backbone[1].running_mean.eq(3).all()
    assert average.model.backbone[1].num_batches_tracked == 7
    assert torch.equal(model.head.weight, before["head.weight"])
    assert model.training
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())


def test_no_decay_is_the_model_itself():
    model: Any = TinyModel()
    average: Any = ModelEMA(model, 0.0)
    with torch.no_grad():
        model.head.weight.fill_(2.0)
    average.update(model, 5)
    assert average.model.head.weight.eq(2).all()
