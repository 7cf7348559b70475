"""Winograd's convolution against the plain one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.networks.layers import winograd
from triptych.networks.layers.winograd import Conv3x3


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 2),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 9),
    tiles=st.integers(1, 5),
    last=st.booleans(),
)
def test_equals_the_plain_convolution(batch, height, width, inputs, outputs, tiles, last):
    layer = Conv3x3(inputs, outputs)
    x = torch.randn(batch, inputs, height, width)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(winograd, "TILES", tiles)
        patch.setattr(winograd, "MIN_WORK", 0)
        read = layer(x)
        wanted = F.conv2d(x.double(), layer.weight.double(), padding=1)
    assert read.shape == wanted.shape
    assert (read - wanted).abs().max() <= 2e-5 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("last", [True, False])
def test_gradients_are_those_of_the_plain_convolution(last, monkeypatch):
    layer, x = Conv3x3(5, 4), torch.randn(2, 5, 9, 7)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    weighing = torch.randn(2, 4, 9, 7)

    def gradients():
        inputs = x.clone().requires_grad_()
        layer.zero_grad()
        (layer(inputs) * weighing).sum().backward()
        return inputs.grad, layer.weight.grad

    wanted = gradients()
    monkeypatch.setattr(winograd, "MIN_WORK", 0)
    for own, plain in zip(gradients(), wanted, strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-4, atol=1e-4)


def test_weights_that_change_are_noticed(monkeypatch):
    monkeypatch.setattr(winograd, "MIN_WORK", 0)
    layer = Conv3x3(3, 2)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        before = layer(x)
        layer.weight.neg_()
        torch.testing.assert_close(layer(x), -before)


def test_only_large_ones_in_full_precision(monkeypatch):
    called = []

    def note(image, kernel):
        called.append(image.shape)
        return image

    monkeypatch.setattr(winograd, "winograd", note)
    layer, x = Conv3x3(16, 16), torch.randn(2, 16, 16, 16)
    with torch.no_grad():
        layer(x)
    monkeypatch.setattr(winograd, "MIN_WORK", 9 * 16 * x.numel())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert not called
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            layer(x)
        assert called == [(1, 16, 16, 16)] * 2
        called.clear()
