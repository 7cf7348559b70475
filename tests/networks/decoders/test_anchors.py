"""Anchored queries: where their masks fade, and how they move."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from triptych.networks.decoders.anchors import START, Anchors, distance_at, squared_distance
from triptych.networks.decoders.query import MaskHead


@pytest.mark.parametrize("count", [1, 3, 12, 56])
def test_anchors_start_spread_over_the_map(count):
    start = Anchors(8, count).start.weight.detach()
    assert start.shape == (count, 4)
    assert ((start[:, :2] > 0) & (start[:, :2] < 1)).all()
    torch.testing.assert_close(start[:, 2:], torch.full((count, 2), START))
    if count > 1:
        apart = torch.cdist(start[:, :2], start[:, :2]).fill_diagonal_(9).amin(1)
        assert apart.min() > 0.8 / math.sqrt(count)


def test_fading_is_the_squared_distance_in_reaches():
    anchors = Anchors(4, 2)
    nn.init.normal_(anchors.shift.weight, std=0.3)
    queries = torch.randn(3, 2, 4)
    found = anchors(queries)
    assert found.shape == (3, 2, 4)
    for image, query, x, y in [(0, 0, 0.1, 0.2), (2, 1, 0.9, 0.8), (1, 0, 0.5, 0.4)]:
        place = anchors.start.weight[query] + anchors.shift(queries[image, query])
        reach = place[2:].clamp(-4, 2).exp()
        wanted = ((x - place[0]) / reach[0]) ** 2 + ((y - place[1]) / reach[1]) ** 2
        at = found[image, query]
        fading = squared_distance(at, 0, torch.tensor([x])) + squared_distance(
            at, 1, torch.tensor([y])
        )
        torch.testing.assert_close(fading, wanted[None])


def test_the_distance_at_points_is_a_product():
    torch.manual_seed(0)
    place = torch.cat((torch.rand(2, 5, 2), (8 * torch.rand(2, 5, 2) - 4).exp()), -1)
    place[:, 0, 2:] = 0  # a free query
    points = torch.rand(2, 300, 2)
    x, y = points[:, None].unbind(-1)
    wanted = squared_distance(place, 0, x) + squared_distance(place, 1, y)
    coefficients, powers = distance_at(place, points)
    torch.testing.assert_close(coefficients @ powers, wanted, atol=2e-3, rtol=1e-5)
    assert wanted.max() > 100


def test_only_the_last_queries_are_anchored():
    torch.manual_seed(0)
    plain = MaskHead(16, classes=3)
    head = MaskHead(16, classes=3, anchors=Anchors(16, 4))
    head.load_state_dict(plain.state_dict(), strict=False)
    assert head.anchors is not None
    queries, features = torch.randn(2, 6, 16), torch.randn(2, 16, 8, 10)
    free, anchored = plain.masks(queries, features), head.masks(queries, features)
    torch.testing.assert_close(anchored[:, :2], free[:, :2])
    place = head.anchors(queries[:, 2:])
    across = squared_distance(place, 0, (torch.arange(10) + 0.5) / 10)
    down = squared_distance(place, 1, (torch.arange(8) + 0.5) / 8)
    fading = down[..., None] + across[:, :, None]
    torch.testing.assert_close(anchored[:, 2:], free[:, 2:] - fading)
    assert fading.amax() > 5


def test_two_like_objects_are_told_apart_by_place_alone():
    """Like features at two places: a plain query takes both or none, an anchored one its own."""
    features = torch.zeros(1, 4, 8, 16)
    features[:, 0, 2:6, 1:5] = features[:, 0, 2:6, 11:15] = 8
    features[:, 1] = 1
    anchors = Anchors(4, 2)
    with torch.no_grad():
        anchors.start.weight[:] = torch.tensor(
            [[0.2, 0.5, math.log(0.2), 0.0], [0.8, 0.5, math.log(0.2), 0.0]]
        )
    head = MaskHead(4, classes=1, anchors=anchors)
    embedding = nn.Linear(4, 4)
    nn.init.zeros_(embedding.weight)
    embedding.bias.data = torch.tensor([1.0, -4.0, 0.0, 0.0])
    head.embedding = embedding  # type: ignore[assignment]
    masks = head.masks(torch.zeros(1, 2, 4), features)[0] > 0
    left, right = torch.zeros(2, 8, 16, dtype=torch.bool)
    left[2:6, 1:5] = right[2:6, 11:15] = True
    assert torch.equal(masks[0], left)
    assert torch.equal(masks[1], right)
