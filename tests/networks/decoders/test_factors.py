"""Masks as factors: rows and points of them are those of the masks multiplied out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from triptych.networks.decoders.factors import MaskFactors


def factors(anchored: bool, dtype: torch.dtype = torch.float32) -> MaskFactors:
    torch.manual_seed(3)
    place = None
    if anchored:
        place = torch.rand(2, 5, 4)
        place[:, :2, 2:] = 0  # the first two fade nowhere
    return MaskFactors(torch.randn(2, 5, 8).to(dtype), torch.randn(2, 8, 6, 7).to(dtype), place)


@pytest.mark.parametrize("anchored", [False, True])
def test_masks_are_the_product_less_the_distance_from_the_place(anchored: bool) -> None:
    given = factors(anchored)
    wanted = torch.einsum("bnc,bchw->bnhw", given.embedding, given.features)
    if given.place is not None:
        x, y = (torch.arange(7) + 0.5) / 7, (torch.arange(6) + 0.5) / 6
        centre, inverse = given.place[..., :2], given.place[..., 2:]
        for axis, at in ((0, x), (1, y[:, None])):
            apart = (at - centre[..., axis, None, None]) * inverse[..., axis, None, None]
            wanted = wanted - apart**2
    torch.testing.assert_close(given.dense(), wanted)


@pytest.mark.parametrize("anchored", [False, True])
def test_at_the_centres_of_cells_points_are_the_masks(anchored: bool) -> None:
    given = factors(anchored)
    rows, columns = torch.tensor([0, 5, 3]), torch.tensor([6, 0, 2])
    points = torch.stack(((columns + 0.5) / 7, (rows + 0.5) / 6), dim=-1).expand(2, 3, 2)
    found = given.at(points, given.features[:, :, rows, columns])
    torch.testing.assert_close(found, given.dense()[:, :, rows, columns])


@pytest.mark.parametrize("anchored", [False, True])
def test_chosen_masks_come_layer_after_layer_with_the_gradient_of_the_whole(anchored: bool) -> None:
    first = factors(anchored)
    second = replace(first, embedding=first.embedding.flip(1))
    layers, queries = [first, second], [torch.tensor([4, 0]), torch.tensor([3])]
    for tensor in (first.features, first.embedding):
        tensor.requires_grad_()
    chosen = first.chosen(layers, 1, queries)
    whole = torch.cat([layer.dense()[1, rows] for layer, rows in zip(layers, queries, strict=True)])
    torch.testing.assert_close(chosen, whole)
    given = torch.randn_like(whole)
    found, wanted = (
        torch.autograd.grad((masks * given).sum(), (first.features, first.embedding))
        for masks in (chosen, whole)
    )
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_half_precision_is_given_in_float32() -> None:
    given = factors(True, torch.bfloat16)
    assert given.dense().dtype == torch.float32
    given = factors(False, torch.bfloat16)
    assert given.at(torch.rand(2, 3, 2), torch.rand(2, 8, 3)).dtype == torch.float32
    assert given.chosen([given], 0, [torch.tensor([1])]).dtype == torch.float32
