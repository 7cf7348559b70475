"""Layer norm over channels against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from triptych.networks.layers.channel_norm import ChannelNorm


@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_each_place_is_normed_by_itself(eps):
    norm = ChannelNorm(5, eps)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    maps = torch.randn(2, 5, 3, 4)
    centred = maps - maps.mean(1, keepdim=True)
    wanted = centred / (centred.square().mean(1, keepdim=True) + eps).sqrt()
    wanted = wanted * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(maps), wanted)
