"""Linear layers by oneDNN against torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.networks.layers import linear
from triptych.networks.layers.linear import Linear, PointConv

AFTER = {"none": lambda y: y, "relu": F.relu, "gelu": F.gelu}


@pytest.fixture(autouse=True)
def small_ones_too(monkeypatch):
    monkeypatch.setattr(linear, "MIN_WORK", 1)


@pytest.mark.parametrize("shape", [(16,), (5, 16), (2, 3, 16), (2, 3, 4, 16), (0, 16), (1, 0, 16)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", AFTER)
@pytest.mark.parametrize("grad", [True, False])
def test_equals_the_plain_layer_with_its_activation(shape, bias, activation, grad):
    layer = Linear(16, 8, bias=bias)
    x = torch.randn(shape)
    with torch.set_grad_enabled(grad):
        wanted = AFTER[activation](F.linear(x, layer.weight, layer.bias))
        torch.testing.assert_close(layer(x, activation), wanted)
        again = F.linear(x, layer.weight, layer.bias)
        torch.testing.assert_close(layer(x), again)


def test_takes_any_layout():
    layer = Linear(16, 8)
    x = torch.randn(3, 16, 5).mT
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_stay_what_they_are(dtype):
    layer = Linear(16, 8).to(dtype)
    x = torch.randn(4, 16, dtype=dtype)
    with torch.no_grad():
        assert layer(x).dtype == dtype
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_bf16_is_torchs_where_onednn_does_not_know_it(monkeypatch):
    monkeypatch.setattr(linear, "TYPES", (torch.float32,))
    monkeypatch.setattr(linear, "FUSED", lambda *_: pytest.fail("oneDNN was asked"))
    layer = Linear(16, 8).to(torch.bfloat16)
    x = torch.randn(4, 16, dtype=torch.bfloat16)
    torch.testing.assert_close(layer(x, "relu"), F.linear(x, layer.weight, layer.bias).relu())


def test_autocast_follows_the_weights_as_they_change():
    layer = Linear(16, 8)
    x = torch.randn(4, 16)
    for _ in range(2):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            read = layer(x)
        assert read.dtype == torch.bfloat16
        half = (t.to(torch.bfloat16) for t in (x, layer.weight, layer.bias))
        with torch.no_grad():
            torch.testing.assert_close(read, F.linear(*half))
            layer.weight.mul_(-1)
            layer.bias.add_(1)
    assert set(layer.state_dict()) == {"weight", "bias"}
    other = copy.deepcopy(layer)
    other.load_state_dict({"weight": torch.zeros(8, 16), "bias": torch.ones(8)})
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert (other(x) == 1).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_a_point_convolution_is_a_convolution(bias, last):
    layer = PointConv(6, 4, bias=bias)
    x = torch.randn(2, 6, 3, 5)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        read = layer(x)
        torch.testing.assert_close(read, F.conv2d(x, layer.weight, layer.bias))
    assert read.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("layer", "x"), [(Linear(6, 4), torch.randn(3, 6)), (PointConv(6, 4), torch.randn(1, 6, 3, 5))]
)
def test_an_exporter_sees_operators_it_knows(layer, x: Tensor):
    with torch.no_grad():
        program = torch.export.export(layer, (x,), strict=False)
        assert not any("mkldnn" in str(node.target) for node in program.graph.nodes)
        torch.testing.assert_close(program.module()(x), layer(x))


def gradients(layer, x, *activation):
    x = x.clone().requires_grad_()
    layer.zero_grad()
    y = layer(x, *activation)
    (y.float() * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    return [x.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("shape", [(16,), (5, 16), (2, 3, 16), (0, 16)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", AFTER)
@pytest.mark.parametrize("half", [True, False])
def test_gradients_are_those_of_the_plain_layer(shape, bias, activation, half, monkeypatch):
    layer, x = Linear(16, 8, bias=bias), torch.randn(shape)
    with torch.autocast("cpu", torch.bfloat16, half):
        ours = gradients(layer, x, activation)
        monkeypatch.setattr(linear, "MIN_WORK", 1 << 30)
        theirs = gradients(layer, x, activation)
    for own, wanted in zip(ours, theirs, strict=True):
        assert own.dtype == torch.float32
        near = 0.02 if half else 1e-5
        torch.testing.assert_close(own, wanted, rtol=near, atol=near)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_gradients_of_a_point_convolution_are_those_of_a_convolution(bias, last, monkeypatch):
    layer, x = PointConv(6, 4, bias=bias), torch.randn(2, 6, 3, 5)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    ours = gradients(layer, x)
    monkeypatch.setattr(linear, "MIN_WORK", 1 << 30)
    for own, wanted in zip(ours, gradients(layer, x), strict=True):
        torch.testing.assert_close(own, wanted)


def test_frozen_weights_get_no_gradient():
    layer, x = Linear(16, 8), torch.randn(3, 16, requires_grad=True)
    layer.requires_grad_(False)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert x.grad is not None
