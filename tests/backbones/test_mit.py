"""MiT: shapes, and that positions come from the padding alone."""

from __future__ import annotations

import pytest
import torch

from triptych.backbones.mit import MiT, ReducedAttention
from triptych.nn.drop_path import DropPath


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
