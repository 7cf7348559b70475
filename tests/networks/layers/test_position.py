"""Positions against transformers' and their own formula."""

from __future__ import annotations

import math

import pytest
import torch
from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

from triptych.networks.layers.position import fourier_position, sine_position

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (16, 5)])
@pytest.mark.parametrize("dim", [4, 16, 256])
def test_equals_transformers(size, dim):
    height, width = size
    ours = sine_position(height, width, dim, CPU, torch.float32)
    theirs = Mask2FormerSinePositionEmbedding(dim // 2, normalize=True)(
        torch.Size((1, dim, *size)), CPU, torch.float32
    )
    torch.testing.assert_close(ours, theirs[0], atol=1e-5, rtol=0)


def test_rows_come_first_and_end_at_two_pi():
    embedding = sine_position(4, 8, 8, CPU, torch.float64)
    for row, column in [(0, 0), (3, 7), (1, 5)]:
        y, x = (row + 1) / 4 * 2 * math.pi, (column + 1) / 8 * 2 * math.pi
        wanted = [
            f(angle / scale) for angle in (y, x) for scale in (1, 100) for f in (math.sin, math.cos)
        ]
        assert embedding[:, row, column].tolist() == pytest.approx(wanted, abs=1e-5)


def test_an_odd_number_of_pairs_is_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        sine_position(2, 2, 6, CPU, torch.float32)


def test_fourier_bands_are_half_cycles_over_the_map():
    height, width, bands = 5, 8, 3
    embedding = fourier_position(height, width, bands, CPU, torch.float32)
    assert embedding.shape == (4 * bands, height, width)
    for row, column in [(0, 0), (4, 7), (2, 3)]:
        y, x = math.pi * (row + 0.5) / height, math.pi * (column + 0.5) / width
        wanted = [f(k * a) for a in (y, x) for f in (math.sin, math.cos) for k in (1, 2, 3)]
        assert embedding[:, row, column].tolist() == pytest.approx(wanted, abs=1e-6)
    # No two places are alike.
    apart = torch.cdist(embedding.flatten(1).T, embedding.flatten(1).T)
    assert apart.fill_diagonal_(9).min() > 0.1
