"""Stochastic depth: whole images, the mean kept, nothing in evaluation."""

from __future__ import annotations

import pytest
import torch

from triptych.networks.layers.drop_path import DropPath, drop_path_rates


def test_images_are_dropped_whole_and_the_mean_is_kept():
    y = DropPath(0.25).train()(torch.ones(4000, 3, 2))
    values = y.flatten(1)
    assert (values == values[:, :1]).all()
    assert values.unique().tolist() == pytest.approx([0, 4 / 3])
    assert y.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_otherwise_nothing_happens(rate, training):
    x = torch.randn(3, 2)
    assert DropPath(rate).train(training)(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="drop path rate"):
        DropPath(rate)


def test_rates_grow_over_all_blocks():
    assert drop_path_rates(0.3, (1, 2, 1)) == [[0.0], pytest.approx([0.1, 0.2]), [0.3]]
    assert drop_path_rates(0.3, (1,)) == [[0.0]]
