"""MaskFormer's pyramid: shapes, what flows where, and how a map is enlarged."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.networks.decoders.fpn_pixel import PlainFPNPixelDecoder, PyramidStep

CHANNELS = (4, 6, 8, 10)
EVEN = ((16, 24), (8, 12), (4, 6), (2, 3))
ODD = ((13, 9), (7, 5), (4, 3), (2, 2))


def maps_of(sizes=EVEN, batch: int = 1) -> tuple[Tensor, ...]:
    return tuple(
        torch.randn(batch, width, *size) for width, size in zip(CHANNELS, sizes, strict=True)
    )


@pytest.mark.parametrize("sizes", [EVEN, ODD])
@pytest.mark.parametrize(("dim", "mask_dim"), [(32, 12), (64, 64)])
def test_masks_are_finest_and_the_coarsest_map_is_handed_on(sizes, dim, mask_dim):
    maps = maps_of(sizes, batch=2)
    features = PlainFPNPixelDecoder(CHANNELS, dim, mask_dim)(maps)
    assert features.mask_features.shape == (2, mask_dim, *sizes[0])
    assert len(features.memory) == 1
    assert features.memory[0] is maps[3]


@pytest.mark.parametrize("index", range(4))
def test_every_map_counts(index):
    decoder = PlainFPNPixelDecoder(CHANNELS, 32, 8)
    maps = list(maps_of())
    before = decoder(tuple(maps)).mask_features
    maps[index] = torch.randn_like(maps[index])
    assert not torch.allclose(decoder(tuple(maps)).mask_features, before, atol=1e-3)


@pytest.mark.parametrize(("coarse", "fine"), [((3, 4), (6, 8)), ((2, 3), (3, 5))])
def test_a_cell_is_repeated_under_the_finer_ones(coarse, fine):
    step = PyramidStep(6, 32)
    x, finer = torch.randn(2, 32, *coarse), torch.randn(2, 6, *fine)
    rows = torch.arange(fine[0]) * coarse[0] // fine[0]
    columns = torch.arange(fine[1]) * coarse[1] // fine[1]
    up = x[:, :, rows][:, :, :, columns]
    left = F.conv2d(finer, step.get_parameter("lateral.0.weight"))
    left = F.group_norm(left, 32)
    y = F.conv2d(up + left, step.get_parameter("smooth.0.weight"), padding=1)
    torch.testing.assert_close(step(x, finer), F.group_norm(y, 32).relu())


def test_everything_learns():
    decoder = PlainFPNPixelDecoder(CHANNELS, 64, 16)
    features = decoder(maps_of()).mask_features
    # Not the plain sum: a norm makes that a constant.
    (features * torch.randn_like(features)).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name
