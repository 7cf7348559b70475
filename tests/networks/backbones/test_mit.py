"""MiT: shapes, and that positions come from the padding alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from triptych.networks.backbones.mit import MiT, ReducedAttention
from triptych.networks.layers.drop_path import DropPath


@pytest.mark.parametrize(("height", "width"), [(32, 64), (57, 90), (129, 33)])
def test_four_maps_rounded_up(height, width):
    trunk = MiT((8, 16, 24, 32), (1, 1, 1, 1), heads=(1, 2, 3, 4)).eval()
    with torch.inference_mode():
        maps = trunk(torch.randn(2, 3, height, width))
    assert [m.shape[1] for m in maps] == list(trunk.channels)
    for stride, m in zip((4, 8, 16, 32), maps, strict=True):
        assert m.shape == (2, m.shape[1], -(-height // stride), -(-width // stride))


def test_reduced_attention_is_attention_over_the_reduced_map():
    attention = ReducedAttention(dim=6, heads=2, reduction=2).eval()
    assert attention.reduce is not None
    assert attention.reduce_norm is not None
    x = torch.randn(1, 4, 6, 6)
    small = attention.reduce(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    small = attention.reduce_norm(small).reshape(6, 6)
    keys, values = attention.key_value(small).chunk(2, dim=-1)
    queries = attention.query(x.reshape(24, 6))
    mixed = torch.cat(
        [
            (queries[:, h] @ keys[:, h].T / 3**0.5).softmax(-1) @ values[:, h]
            for h in (slice(0, 3), slice(3, 6))
        ],
        dim=1,
    )
    torch.testing.assert_close(attention(x).reshape(24, 6), attention.out(mixed))


def test_without_padding_in_sight_a_shift_of_the_image_shifts_the_maps():
    # No position embedding: away from the borders only the content counts. Attention sees the
    # whole image, so the picture repeats with a period of 32 and is shifted by half a period.
    trunk = MiT((8, 16), (1, 1), heads=(1, 2), reductions=(4, 2), kernels=(7, 3), strides=(4, 2))
    trunk.eval()
    tile = torch.randn(1, 3, 32, 32)
    pixels = tile.repeat(1, 1, 8, 8)
    with torch.inference_mode():
        still = trunk(pixels)[1]
        moved = trunk(pixels.roll((16, 16), (2, 3)))[1]
    inner = slice(8, 24)
    torch.testing.assert_close(
        still[:, :, inner, inner],
        moved.roll((-2, -2), (2, 3))[:, :, inner, inner],
        atol=1e-2,
        rtol=0,
    )
    assert (still - moved)[:, :, inner, inner].abs().max() > 0.1


def test_drop_path_grows_towards_the_end():
    trunk = MiT((8, 8, 8, 8), (1, 2, 1, 1), heads=(1, 1, 1, 1), drop_path=0.4)
    rates = [module.rate for module in trunk.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def small(**options) -> Any:
    return MiT((8, 16, 20, 32), (1, 1, 1, 1), drop_path=0.0, **options).eval()


def test_learnt_positions_are_added_as_they_are_at_their_own_size():
    backbone, pixels = small(positions=(64, 96)), torch.randn(1, 3, 64, 96)
    stage = backbone.stages[0]
    assert [s.positions.grid for s in backbone.stages] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    x = torch.randn(1, 16, 24, 8)
    added = stage.positions(x) - x
    torch.testing.assert_close(added[0, 3, 5], stage.positions.weight[3 * 24 + 5])
    before = backbone(pixels)
    for part in backbone.stages:
        torch.nn.init.zeros_(part.positions.weight)
    without = small()
    without.load_state_dict(backbone.state_dict(), strict=False)
    torch.testing.assert_close(backbone(pixels), without(pixels))
    assert (before[0] - without(pixels)[0]).abs().max() > 1e-4


def test_learnt_positions_are_resized_to_other_maps():
    positions = small(positions=(64, 96)).stages[0].positions
    weight = torch.arange(16.0)[:, None, None].expand(16, 24, 8)  # the row
    positions.weight.data = weight.reshape(-1, 8).clone()
    added = positions(torch.zeros(1, 32, 48, 8))[0, 4:-4, :, 0]
    expected = (torch.arange(32) + 0.5) / 2 - 0.5
    torch.testing.assert_close(added, expected[4:-4, None].expand(-1, 48))


def test_without_mixing_the_feed_forward_sees_one_place():
    feedforward = small(mixing=False).stages[0].blocks[0].feedforward
    x = torch.randn(1, 5, 6, 8)
    moved = x.roll(2, 2)
    torch.testing.assert_close(feedforward(moved), feedforward(x).roll(2, 2))
    mixing = small().stages[0].blocks[0].feedforward
    torch.nn.init.normal_(mixing.depthwise.weight)
    assert (mixing(moved) - mixing(x).roll(2, 2)).abs().max() > 1e-4
