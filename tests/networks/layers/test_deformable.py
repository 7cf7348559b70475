"""Deformable attention against one loop per query, head, map, point and corner."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from triptych.networks.layers import deformable, deformable_bags
from triptych.networks.layers.deformable import (
    DeformableAttention,
    _softmax,
    grid_reference,
    sample,
    sample_by_grid,
)
from triptych.networks.layers.deformable_bags import sample_by_bags

FORMS = pytest.mark.parametrize("form", [sample_by_bags, sample_by_grid])
CPU = torch.device("cpu")


def plain(value: Tensor, shapes, points: Tensor, weights: Tensor) -> Tensor:
    batch, _, heads, dim = value.shape
    queries, _, _, count = points.shape[1:5]
    out = value.new_zeros(batch, queries, heads, dim)
    for b, q, h, p in itertools.product(*map(range, (batch, queries, heads, count))):
        start = 0
        for level, (height, width) in enumerate(shapes):
            x, y = points[b, q, h, level, p].tolist()
            for column, row in itertools.product(range(width), range(height)):
                share = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
                cell = value[b, start + row * width + column, h]
                out[b, q, h] += weights[b, q, h, level, p] * share * cell
            start += height * width
    return out.flatten(2)


def make(shapes, *, batch=1, queries=3, heads=2, dim=3, points=2, fraction=None, seed=0):
    """Double-precision inputs, with points within and up to two cells beyond the maps."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.double)

    cells = sum(height * width for height, width in shapes)
    value = normal(batch, cells, heads, dim)
    weights = normal(batch, queries, heads, len(shapes), points)
    sizes = torch.tensor([(width, height) for height, width in shapes])[:, None]
    uniform = torch.rand(*weights.shape, 2, generator=generator, dtype=torch.double)
    where = uniform * (sizes + 4) - 2.5
    if fraction is not None:
        where = where.floor() + fraction
    return value, tuple(shapes), where, weights


@FORMS
@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3),
    batch=st.integers(1, 2),
    queries=st.integers(1, 4),
    heads=st.integers(1, 3),
    dim=st.integers(1, 4),
    points=st.integers(1, 3),
    fraction=st.sampled_from([None, 0.0, 0.5]),
    chunk=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_equals_the_plain_sum(form, chunk, **options):
    inputs = make(**options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deformable_bags, "CHUNK", chunk)
        torch.testing.assert_close(form(*inputs), plain(*inputs))


@pytest.mark.parametrize("shapes", [[(3, 5), (2, 2)], [(1, 4), (3, 1), (1, 1)]])
@pytest.mark.parametrize("fraction", [0.25, 0.8])
def test_derivatives_are_those_of_finite_differences(shapes, fraction, monkeypatch):
    monkeypatch.setattr(deformable_bags, "CHUNK", 2)
    value, shapes, points, weights = make(shapes, batch=2, fraction=fraction)

    def form(value: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        return sample_by_bags(value, shapes, points, weights)

    assert torch.autograd.gradcheck(
        form, [t.requires_grad_() for t in (value, points, weights)], fast_mode=False
    )


@pytest.mark.parametrize("fraction", [None, 0.0])
def test_both_forms_have_the_same_derivatives_also_on_kinks(fraction):
    # Sizes that divide without rounding, so that grid_sample too sees the kinks where they are.
    value, shapes, points, weights = make([(4, 8), (2, 4), (1, 2)], batch=2, fraction=fraction)
    grads = []
    for form in (sample_by_bags, sample_by_grid):
        leaves = [t.clone().requires_grad_() for t in (value, points, weights)]
        out = form(leaves[0], shapes, leaves[1], leaves[2])
        (out * torch.linspace(-1, 1, out.shape[-1], dtype=out.dtype)).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for bags, grid in zip(*grads, strict=True):
        torch.testing.assert_close(bags, grid)


def test_gradient_takes_any_memory_layout():
    value, shapes, points, weights = make([(4, 3), (2, 2)], batch=2)
    wanted = [t.clone().requires_grad_() for t in (value, points, weights)]
    sample_by_bags(wanted[0], shapes, wanted[1], wanted[2]).sum().backward()
    strided = [t.mT.contiguous().mT.clone().requires_grad_() for t in (value, points, weights)]
    assert not any(t.is_contiguous() for t in strided)
    sample_by_bags(strided[0], shapes, strided[1], strided[2]).sum().backward()
    for ours, theirs in zip(strided, wanted, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@FORMS
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_point_fades_out_over_one_cell_beyond_the_border(form, axis, side):
    size = (3, 4)
    value = torch.ones(1, 12, 1, 1)
    last = (size[1] - 1, size[0] - 1)[axis]
    border = last if side > 0 else 0
    for beyond, wanted in [(-0.5, 1.0), (0.0, 1.0), (0.25, 0.75), (1.0, 0.0), (7.0, 0.0)]:
        point = torch.ones(1, 1, 1, 1, 1, 2)
        point[..., axis] = border + side * beyond
        read = form(value, (size,), point, torch.ones(1, 1, 1, 1, 1))
        assert read.item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("heads", [1, 2])
def test_what_is_not_a_number_is_seen_and_stays_with_its_query(heads):
    value, shapes, points, weights = make([(3, 4), (2, 2)], queries=4, heads=heads)
    clean = sample_by_bags(value, shapes, points, weights)
    points[0, 1] = math.nan
    points[0, 2] = math.inf
    points[0, 3] = -1e30
    read = sample_by_bags(value, shapes, points, weights)
    torch.testing.assert_close(read[0, 0], clean[0, 0])
    assert read[0, 1].isnan().all()
    assert (read[0, 2:] == 0).all()


@FORMS
def test_half_precision_values_are_read_at_full_precision_places(form, monkeypatch):
    value, shapes, points, weights = make([(6, 90)], queries=20, dim=8)
    wanted = sample(value, shapes, points, weights)
    for name in ("sample_by_bags", "sample_by_grid"):
        monkeypatch.setattr(deformable, name, form)
    half = [t.to(torch.bfloat16) for t in (value, weights)]
    read = sample(half[0], shapes, points.float(), half[1])
    assert read.dtype == torch.bfloat16
    error = (read.double() - wanted).abs().max() / wanted.abs().max()
    assert error < 0.02


def test_shapes_that_do_not_fit_are_refused():
    value, _, points, weights = make([(3, 4)])
    with pytest.raises(ValueError, match="12 cells"):
        sample(value, ((3, 5),), points, weights)
    with pytest.raises(ValueError, match="3 heads do not divide 8"):
        DeformableAttention(8, 3)


def test_a_cell_stands_on_itself_and_at_the_same_place_of_other_maps():
    shapes = ((2, 3), (4, 6))
    reference = grid_reference(shapes, CPU)
    assert reference.shape == (6 + 24, 2, 2)
    torch.testing.assert_close(reference[5, 0], torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(reference[5, 1], torch.tensor([4.5, 2.5]))
    torch.testing.assert_close(reference[6 + 8, 1], torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(reference[6 + 8, 0], torch.tensor([0.75, 0.25]))


def test_fresh_attention_looks_around_and_learns_where_to_look():
    shapes = ((4, 5), (2, 3))
    attention = DeformableAttention(16, heads=8, levels=2, points=3)
    start = attention.offsets.bias.view(8, 2, 3, 2)
    compass = torch.tensor([[1.0, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]])
    distance = torch.tensor([1.0, 2, 3])
    wanted = (compass[:, None, None] * distance[:, None]).expand(8, 2, 3, 2)
    torch.testing.assert_close(start, wanted)

    # Every point of a cell's own map lies on a kink of the bilinear weights now.
    tokens = torch.randn(1, 26, 16)
    attention(tokens, grid_reference(shapes, CPU), tokens, shapes).square().sum().backward()
    for parameter in attention.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    grad = attention.offsets.bias.grad
    assert grad is not None
    own = grad.view(8, 2, 3, 2)
    assert (own.abs().amax(dim=(1, 2, 3)) > 1e-4).all()


def test_attention_reads_its_own_cell_when_told_to():
    shapes = ((3, 4), (2, 2))
    attention = DeformableAttention(6, heads=2, levels=2, points=2)
    nn.init.zeros_(attention.offsets.bias)
    attention.scores.bias.data.view(2, 2, 2)[:, 1] = -100  # the first map only
    for linear in (attention.value, attention.out):
        nn.init.eye_(linear.weight)
    tokens = torch.randn(2, 16, 6)
    out = attention(tokens, grid_reference(shapes, CPU), tokens, shapes)
    torch.testing.assert_close(out[:, :12], tokens[:, :12])


def test_an_exporter_sees_operators_it_knows():
    shapes = ((4, 5), (2, 3))
    attention = DeformableAttention(8, heads=4, levels=2).eval()

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, tokens: Tensor) -> Tensor:
            return self.attention(tokens, grid_reference(shapes, CPU), tokens, shapes)

    tokens = torch.randn(1, 26, 8)
    program = torch.export.export(Fixed(), (tokens,), strict=False)
    called = {str(node.target) for node in program.graph.nodes}
    assert any("grid_sampler" in name for name in called)
    assert not any("embedding_bag" in name for name in called)
    # The run after the export must not meet what the tracer left behind.
    torch.testing.assert_close(program.module()(tokens), Fixed()(tokens))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_trace_by_the_older_way_holds_for_other_inputs():
    value, shapes, points, weights = make([(3, 4), (2, 2)])

    def form(value: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        return sample(value, shapes, points, weights)

    traced = torch.jit.trace(form, (value, points, weights))
    assert "grid_sampler" in str(traced.graph)
    torch.testing.assert_close(
        traced(-value, points + 1, weights), form(-value, points + 1, weights)
    )


def test_the_short_softmax_has_the_gradient_of_the_plain_one():
    scores = torch.randn(3, 5, 12, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(_softmax, (scores,))
    torch.testing.assert_close(_softmax(scores), scores.softmax(-1))
