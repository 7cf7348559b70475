"""Constants are made once, but never out of what a tracer or inference mode leaves behind."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from triptych.networks.layers.constants import constant

made: list[int] = []


@constant
def ramp(size: int) -> Tensor:
    made.append(size)
    return torch.arange(size) * 2.0


class Times(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * ramp(x.shape[0])


def test_made_once():
    assert ramp(3) is ramp(3)
    assert ramp(3) is not ramp(4)
    assert made.count(3) == 1


def test_a_trace_leaves_nothing_behind():
    x = torch.ones(5)
    torch.export.export(Times(), (x,), strict=False)
    assert type(ramp(5)) is Tensor
    assert Times()(x).tolist() == [0, 2, 4, 6, 8]


def test_what_inference_made_can_be_trained_with():
    with torch.inference_mode():
        Times()(torch.ones(6))
    x = torch.ones(6, requires_grad=True)
    Times()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 4, 6, 8, 10]
