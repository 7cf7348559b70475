"""The pyramid pixel decoder: shapes, order, and what flows where."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from triptych.networks.decoders import pixel
from triptych.networks.decoders.pixel import ConvNorm, EncoderLayer, FPNPixelDecoder

CHANNELS = (4, 6, 8, 10)
EVEN = ((16, 24), (8, 12), (4, 6), (2, 3))
ODD = ((13, 9), (7, 5), (4, 3), (2, 2))


def maps_of(sizes=EVEN, batch: int = 1) -> tuple[Tensor, ...]:
    return tuple(
        torch.randn(batch, width, *size) for width, size in zip(CHANNELS, sizes, strict=True)
    )


@pytest.mark.parametrize("sizes", [EVEN, ODD])
@pytest.mark.parametrize("encoder_layers", [0, 2])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("dim", [16, 32])
def test_memory_is_coarse_to_fine_and_masks_are_finest(sizes, encoder_layers, separable, dim):
    decoder = FPNPixelDecoder(
        CHANNELS, dim, heads=4, feedforward=8, encoder_layers=encoder_layers, separable=separable
    )
    features = decoder(maps_of(sizes, batch=2))
    assert features.mask_features.shape == (2, dim, *sizes[0])
    assert [x.shape for x in features.memory] == [(2, dim, *size) for size in sizes[:0:-1]]


def test_a_map_flows_to_its_own_scale_and_finer_ones():
    decoder = FPNPixelDecoder(CHANNELS, 64, heads=4, feedforward=8).eval()
    maps = maps_of()
    before = decoder(maps)
    for index in range(4):
        changed = list(maps)
        changed[index] = torch.randn_like(maps[index])
        after = decoder(tuple(changed))
        moved = [not torch.equal(x, y) for x, y in zip(before.memory, after.memory, strict=True)]
        assert moved == [index >= 3, index >= 2, index >= 1]
        assert not torch.equal(before.mask_features, after.mask_features)


@pytest.mark.parametrize(("encoder_layers", "everywhere"), [(0, False), (1, True)])
def test_the_encoder_lets_every_cell_see_the_whole_map(encoder_layers, everywhere):
    decoder = FPNPixelDecoder(
        CHANNELS, 16, heads=4, feedforward=8, encoder_layers=encoder_layers
    ).eval()
    # Group norm looks at the whole map too: without it, a cell sees its neighbours alone.
    block = decoder.smooth[0]
    assert isinstance(block, ConvNorm)
    decoder.smooth[0] = block[0]
    sizes = ((64, 64), (32, 32), (16, 16), (8, 8))
    maps = maps_of(sizes)
    before = decoder(maps).memory[0]
    maps[3][..., 0, 0] += 5
    moved = (decoder(maps).memory[0] - before).abs().amax(dim=(0, 1)) > 1e-6
    assert moved[:2, :2].all()
    assert moved.all() == everywhere
    assert everywhere or moved.sum() == 4


def test_the_encoder_knows_where_cells_are(monkeypatch):
    decoder = FPNPixelDecoder(CHANNELS, 16, heads=4, feedforward=8).eval()
    maps = maps_of()
    before = decoder(maps).memory[0]
    monkeypatch.setattr(pixel, "sine_position", lambda h, w, dim, *_: torch.zeros(dim, h, w))
    assert not torch.allclose(before, decoder(maps).memory[0], atol=1e-4)


def test_encoder_layer_is_that_of_the_transformer():
    ours = EncoderLayer(dim=12, heads=3, feedforward=20)
    theirs = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, batch_first=True)
    attention = ours.attention
    packed = (attention.query, attention.key, attention.value)
    state = {
        "self_attn.in_proj_weight": torch.cat([linear.weight for linear in packed]),
        "self_attn.in_proj_bias": torch.cat([linear.bias for linear in packed]),
        "self_attn.out_proj.weight": attention.out.weight,
        "self_attn.out_proj.bias": attention.out.bias,
    }
    state |= {k: v for k, v in ours.state_dict().items() if not k.startswith("attention")}
    theirs.load_state_dict(state)
    tokens = torch.randn(2, 7, 12)
    torch.testing.assert_close(ours(tokens, torch.zeros(7, 12)), theirs(tokens))

    # Positions are added to queries and keys, not to values.
    position = torch.randn(7, 12)
    placed = tokens + position
    looked, _ = theirs.self_attn(placed, placed, tokens, need_weights=False)
    mixed = theirs.norm1(tokens + looked)
    wanted = theirs.norm2(mixed + theirs.linear2(theirs.linear1(mixed).relu()))
    torch.testing.assert_close(ours(tokens, position), wanted)


@pytest.mark.parametrize(("outputs", "groups"), [(64, 32), (24, 8)])
@pytest.mark.parametrize("activate", [True, False])
def test_conv_norm(outputs, groups, activate):
    block = ConvNorm(3, outputs, 3, activate=activate)
    x = torch.randn(2, 3, 5, 6)
    y = block(x)
    assert y.shape == (2, outputs, 5, 6)
    assert (y.min() >= 0) == activate
    plain = nn.functional.conv2d(x, block.get_parameter("0.weight"), padding=1)
    wanted = nn.functional.group_norm(plain, groups)
    torch.testing.assert_close(y, wanted.relu() if activate else wanted)


def test_separable_convolutions_are_few_weights():
    def weights(separable: bool, kernel: int = 5) -> int:
        decoder = FPNPixelDecoder(CHANNELS, 64, separable=separable, separable_kernel=kernel)
        return sum(p.numel() for p in decoder.smooth.parameters())

    assert weights(True) < weights(False) / 4
    assert weights(True) - weights(True, 3) == 4 * 64 * (25 - 9)
    assert weights(False, 3) == weights(False)


def test_everything_learns():
    decoder = FPNPixelDecoder(CHANNELS, 64, heads=4, feedforward=8)
    features = decoder(maps_of())
    # Not the plain sum: a norm makes that a constant.
    (features.mask_features * torch.randn_like(features.mask_features)).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        # A softmax does not see what is added to all of its scores.
        assert bool(parameter.grad.abs().max() > 1e-6) == (".key.bias" not in name), name


def test_positions_tell_equal_places_apart():
    decoder = FPNPixelDecoder(
        CHANNELS, 16, heads=4, feedforward=8, encoder_layers=0, position_bands=3
    )
    even = tuple(x[..., :1, :1].expand_as(x) for x in maps_of())

    decoder.smooth = nn.ModuleList(nn.Identity() for _ in range(4))  # its padding shows places too
    features = decoder(even)
    for x in (features.mask_features, *features.memory):
        cells = x[0].flatten(1).T
        assert torch.cdist(cells, cells).fill_diagonal_(9).min() > 1e-3
    for place in decoder.place:
        nn.init.zeros_(place.get_parameter("weight"))
    assert decoder(even).mask_features.std(dim=(-2, -1)).max() < 1e-5
