"""The all-MLP decoder against the form in which the paper writes it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.networks.decoders.mlp import MLPDecoder


def as_in_the_paper(decoder: MLPDecoder, maps: tuple[Tensor, ...]) -> Tensor:
    """Project, enlarge, concatenate coarse to fine, fuse, norm, classify."""
    enlarged = []
    for x, projection in zip(maps, decoder.projections, strict=True):
        y = projection(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        enlarged.append(F.interpolate(y, size=maps[0].shape[-2:], mode="bilinear"))
    fused = decoder.fuse(torch.cat(enlarged[::-1], dim=1))
    return decoder.classifier(F.relu(decoder.norm(fused)))


def make(training: bool) -> tuple[MLPDecoder, tuple[Tensor, ...]]:
    decoder = MLPDecoder((4, 6, 8, 10), dim=12, classes=5, dropout=0.0).train(training)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    sizes = [(17, 12), (9, 6), (5, 3), (3, 2)]
    maps = tuple(
        torch.randn(2, width, *size) for width, size in zip((4, 6, 8, 10), sizes, strict=True)
    )
    return decoder, maps


@pytest.mark.parametrize("training", [False, True])
def test_multiplying_weights_first_is_the_same_sum(training):
    decoder, maps = make(training)
    # Statistics of the norm move while training: one forward each, from the same state.
    state = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    wanted = as_in_the_paper(decoder, maps)
    decoder.load_state_dict(state)
    torch.testing.assert_close(decoder(maps), wanted, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_paper():
    decoder, maps = make(training=False)
    decoder(maps).square().sum().backward()
    ours = [p.grad.clone() for p in decoder.parameters() if p.grad is not None]
    decoder.zero_grad()
    as_in_the_paper(decoder, maps).square().sum().backward()
    theirs = [p.grad for p in decoder.parameters() if p.grad is not None]
    assert len(ours) == len(theirs) == 13
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())


def test_dropout_takes_whole_channels():
    decoder, maps = make(training=True)
    decoder.dropout.p = 0.5
    seen = []
    decoder.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    decoder(maps)
    emptied = (seen[0] == 0).flatten(2).all(dim=2)
    assert emptied.any()
    assert not emptied.all()


def test_merged_weights_follow_the_mode_and_the_weights():
    decoder = MLPDecoder((3, 4), 8, 5)
    maps = (torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4))
    statistics = decoder.norm.state_dict()
    statistics["running_mean"].normal_()
    statistics["running_var"].uniform_(0.5, 2)
    for _ in range(2):
        for training in (False, True):
            decoder.train(training)
            decoder.dropout.eval()
            wanted = decoder(maps)  # with gradients nothing is kept
            statistics = decoder.norm.state_dict()
            with torch.no_grad():
                torch.testing.assert_close(decoder(maps), wanted)
            decoder.norm.load_state_dict(statistics)
        with torch.no_grad():
            decoder.norm.weight.normal_()
            decoder.fuse.weight.normal_()
