"""Reading masks at points: against direct indexing, and against what PointRend asks for."""

from __future__ import annotations

import torch

from triptych.networks.contract import Prediction
from triptych.networks.decoders.factors import MaskFactors
from triptych.train.points import (
    AtPoints,
    masks_of,
    sample_logits,
    sample_nearest,
    uncertain_points,
)


def centres(height: int, width: int) -> torch.Tensor:
    """``(height * width, 2)``: the middle of every pixel, as (x, y) in 0..1."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(((x + 0.5) / width, (y + 0.5) / height), dim=-1).flatten(0, 1)


def test_at_pixel_centres_both_readings_give_the_pixel() -> None:
    masks = torch.randn(3, 2, 5, 7)
    points = centres(5, 7).expand(3, -1, -1)
    assert torch.allclose(sample_logits(masks, points), masks.flatten(2), atol=1e-5)
    assert torch.equal(sample_nearest(masks[:, 0], points), masks[:, 0].flatten(1))


def test_logits_between_two_pixels_are_their_mean() -> None:
    masks = torch.tensor([[[[1.0, 3.0]]]])
    middle = torch.tensor([[[0.5, 0.5]]])
    assert sample_logits(masks, middle).item() == 2.0


def test_truth_keeps_its_type_and_reads_the_same_point_on_a_finer_grid() -> None:
    truth = torch.zeros(1, 40, 60, dtype=torch.bool)
    truth[0, 10:20, 30:45] = True
    points = torch.rand(500, 2)
    read = sample_nearest(truth, points)
    x, y = points[:, 0] * 60, points[:, 1] * 40
    inside = (x >= 30) & (x < 45) & (y >= 10) & (y < 20)
    assert read.dtype == torch.bool
    assert torch.equal(read[0], inside)


def test_points_at_the_far_edge_are_still_inside() -> None:
    ids = torch.arange(6).view(1, 2, 3)
    assert sample_nearest(ids, torch.tensor([[1.0, 1.0]])).item() == 5


def test_most_points_lie_where_the_mask_is_unsure() -> None:
    ramp = torch.linspace(-8, 8, 64).expand(1, 32, 64)  # unsure in the middle column
    points = uncertain_points(ramp, 400)
    uniform = torch.rand(1, 400, 2)

    def unsureness(where: torch.Tensor) -> float:
        return float(sample_logits(ramp[:, None], where).abs().median())

    assert points.shape == (1, 400, 2)
    assert ((points >= 0) & (points <= 1)).all()
    assert unsureness(points) < 0.5 * unsureness(uniform)


def test_a_quarter_of_the_points_is_uniform() -> None:
    ramp = torch.linspace(-8, 8, 64).expand(1, 32, 64)
    far = (uncertain_points(ramp, 4000)[0, :, 0] - 0.5).abs() > 0.3
    # Uniform points lie that far out with chance 0.4; of the chosen ones none does.
    assert 0.25 * 0.4 * 0.8 < far.float().mean().item() < 0.25 * 0.4 * 1.2


def layers_of_factors() -> list[Prediction]:
    torch.manual_seed(0)
    features = torch.randn(2, 8, 6, 7)
    return [Prediction(MaskFactors(torch.randn(2, 4, 8), features), None) for _ in range(2)]


def test_masks_multiplied_out_or_not_are_the_same_at_points() -> None:
    points = torch.rand(2, 50, 2)
    read = AtPoints(points)
    for layer in layers_of_factors():
        dense = Prediction.from_logits(layer.mask_logits, None)
        torch.testing.assert_close(read(layer), sample_logits(layer.mask_logits, points))
        torch.testing.assert_close(read(dense), read(layer))


def test_features_of_another_batch_are_read_anew() -> None:
    points = torch.rand(2, 50, 2)
    read = AtPoints(points)
    for layer in (layers_of_factors()[0], layers_of_factors()[1]):
        assert isinstance(layer.masks, MaskFactors)
        other = Prediction(MaskFactors(layer.masks.embedding, layer.masks.features + 1), None)
        torch.testing.assert_close(read(layer), sample_logits(layer.mask_logits, points))
        torch.testing.assert_close(read(other), sample_logits(other.mask_logits, points))


def test_rows_of_masks_multiplied_out_or_not_are_the_same() -> None:
    layers = layers_of_factors()
    dense = [Prediction.from_logits(layer.mask_logits, None) for layer in layers]
    queries = [torch.tensor([3, 1]), torch.tensor([0])]
    torch.testing.assert_close(masks_of(layers, 1, queries), masks_of(dense, 1, queries))


def test_truth_of_chosen_rows_is_that_of_the_repeated_masks() -> None:
    masks, rows = torch.rand(3, 5, 6) > 0.5, torch.tensor([2, 0, 2, 1])
    points = torch.rand(4, 20, 2)
    found = sample_nearest(masks, points, rows)
    assert torch.equal(found, sample_nearest(masks[rows], points))
