"""The deformable pixel decoder against transformers', with its weights and backbone maps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder

from triptych.checkpoints.keymap import adopt_published
from triptych.checkpoints.names.decoders import DEFORMABLE_PIXEL_RULES
from triptych.networks.decoders.deformable_pixel import DeformablePixelDecoder
from triptych.networks.decoders.pixel import PixelFeatures

CHANNELS = (5, 7, 9, 11)
Sizes = list[tuple[int, int]]


def maps_of(sizes: Sizes, batch: int = 1) -> tuple[Tensor, ...]:
    """Backbone maps, fine to coarse."""
    return tuple(
        torch.randn(batch, width, *size) for width, size in zip(CHANNELS, sizes, strict=True)
    )


def pair(
    dim: int, heads: int, layers: int, feedforward: int
) -> tuple[DeformablePixelDecoder, Mask2FormerPixelDecoder]:
    config = Mask2FormerConfig(
        feature_size=dim,
        mask_feature_size=dim,
        num_attention_heads=heads,
        encoder_layers=layers,
        encoder_feedforward_dim=feedforward,
    )
    theirs = Mask2FormerPixelDecoder(config, CHANNELS).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = DeformablePixelDecoder(
        CHANNELS, dim, heads=heads, feedforward=feedforward, encoder_layers=layers
    )
    adopt_published(ours, theirs.state_dict(), DEFORMABLE_PIXEL_RULES)
    return ours.eval(), theirs


def assert_close(ours: PixelFeatures, theirs) -> None:
    for mine, other in zip(
        (ours.mask_features, *ours.memory),
        (theirs.mask_features, *theirs.multi_scale_features),
        strict=True,
    ):
        assert mine.shape == other.shape
        assert (mine - other).abs().max() <= 1e-4 * other.abs().max()


side = st.integers(1, 7)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    dim=st.sampled_from((64, 128)),  # one channel a group has nothing to normalise on 1x1
    heads=st.sampled_from((1, 2, 8)),
    layers=st.integers(0, 3),
    feedforward=st.integers(1, 40),
    batch=st.integers(1, 2),
    coarsest=st.tuples(side, side),
    odd=st.lists(st.integers(0, 1), min_size=6, max_size=6),
)
def test_equals_transformers_over_the_option_grid(
    dim, heads, layers, feedforward, batch, coarsest, odd
):
    sizes = [coarsest]
    for down, right in zip(odd[::2], odd[1::2], strict=True):
        height, width = sizes[-1]
        sizes.append((max(2 * height - down, 1), max(2 * width - right, 1)))
    ours, theirs = pair(dim, heads, layers, feedforward)
    maps = maps_of(sizes[::-1], batch)
    with torch.inference_mode():
        assert_close(ours(maps), theirs(maps))


def test_gradients_equal_transformers():
    ours, theirs = pair(64, 4, 2, 16)
    maps = maps_of([(17, 24), (9, 12), (5, 6), (3, 3)], batch=2)
    mine = ours(maps)
    other = theirs(maps)
    for features in (
        (mine.mask_features, *mine.memory),
        (other.mask_features, *other.multi_scale_features),
    ):
        torch.stack([x.square().mean() for x in features]).sum().backward()
    wanted = {name: p.grad for name, p in theirs.named_parameters()}
    copy = DeformablePixelDecoder(CHANNELS, 64, heads=4, feedforward=16, encoder_layers=2)
    adopt_published(copy, wanted, DEFORMABLE_PIXEL_RULES)  # gradients, under our names
    for name, parameter in ours.named_parameters():
        grad = copy.get_parameter(name)
        assert parameter.grad is not None, name
        assert (parameter.grad - grad).abs().max() <= 1e-4 * grad.abs().max(), name


@pytest.mark.parametrize("points", [1, 3])
def test_shapes_and_order_with_other_numbers_of_points(points):
    decoder = DeformablePixelDecoder(CHANNELS, 24, heads=3, encoder_layers=1, points=points)
    features = decoder(maps_of([(16, 24), (8, 12), (4, 6), (2, 3)], batch=2))
    assert features.mask_features.shape == (2, 24, 16, 24)
    assert [x.shape for x in features.memory] == [(2, 24, 2, 3), (2, 24, 4, 6), (2, 24, 8, 12)]


def test_every_map_reaches_every_output_but_the_finest_only_the_masks():
    decoder = DeformablePixelDecoder(CHANNELS, 32, heads=4, encoder_layers=1).eval()
    # Fresh attention weights all maps alike; each layer then mixes all three.
    maps = maps_of([(16, 16), (8, 8), (4, 4), (2, 2)])
    before = decoder(maps)
    for index in range(4):
        changed = list(maps)
        changed[index] = torch.randn_like(changed[index])
        after = decoder(tuple(changed))
        moved = [not torch.equal(x, y) for x, y in zip(before.memory, after.memory, strict=True)]
        assert moved == [index > 0] * 3
        assert not torch.equal(before.mask_features, after.mask_features)


def test_what_learns_from_the_start():
    decoder = DeformablePixelDecoder(CHANNELS, 64, heads=4, feedforward=16, encoder_layers=2)
    features = decoder(maps_of([(16, 24), (8, 12), (4, 6), (2, 3)]))
    (features.mask_features.square().mean() + features.memory[0].square().mean()).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        # The level embedding speaks only through weights that start at zero.
        assert bool(parameter.grad.any()) == (name != "level.weight"), name


def test_autocast_agrees_with_full_precision():
    decoder = DeformablePixelDecoder(CHANNELS, 64, heads=4, encoder_layers=2)
    maps = maps_of([(32, 48), (16, 24), (8, 12), (4, 6)])
    wanted = decoder(maps)
    with torch.autocast("cpu", torch.bfloat16):
        half = decoder(maps)
    for x, y in zip(
        (half.mask_features, *half.memory), (wanted.mask_features, *wanted.memory), strict=True
    ):
        assert (x - y).norm() / y.norm() < 0.02
    half.mask_features.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in decoder.parameters() if p.grad is not None)
