"""The task token: three sentences, in float32 whatever the network's type."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.networks.decoders.task import TASKS, TaskToken, sentence


def made(dim: int = 16) -> TaskToken:
    torch.manual_seed(0)
    token = TaskToken(dim)
    with torch.no_grad():
        for parameter in token.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return token


def plain(token: TaskToken, task: str) -> Tensor:
    """What two ordinary linear layers make of the ids in float64."""
    double = token.double()
    x = F.relu(double.linear1(sentence(task).double()))  # type: ignore[arg-type]
    return double.linear2(x).float()


def test_the_sentences_in_clips_vocabulary():
    assert TASKS == ("semantic", "instance", "panoptic")
    told = [sentence(task) for task in TASKS]
    words = [[int(i) for i in ids if i] for ids in told]
    assert words == [
        [49406, 518, 10549, 533, 29119, 1550, 49407],
        [49406, 518, 10549, 533, 34572, 49407],
        [49406, 518, 10549, 533, 1072, 24755, 49407],
    ]
    for ids, own in zip(told, words, strict=True):
        assert (ids.shape, ids.dtype) == ((77,), torch.int64)
        assert not ids[len(own) :].any()  # the zeros stand behind


@pytest.mark.parametrize("task", TASKS)
def test_it_is_two_linear_layers_with_relu(task):
    token = made()
    found = token(task)
    assert (found.shape, found.dtype) == ((16,), torch.float32)
    torch.testing.assert_close(found, plain(token, task), rtol=1e-5, atol=0.01)
    assert found.abs().max() > 1000  # a tolerance of 0.01 is nothing


def test_autocast_does_not_round_the_ids():
    token = made()
    wanted = token("instance")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(token("instance"), wanted)
        rounded = token.linear2(F.relu(token.linear1(sentence("instance").float())))
    # What it is spared.
    assert (rounded.float() - wanted).abs().max() > 1e-3 * wanted.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_16_bit_are_computed_with_in_float32(dtype):
    token = made().to(dtype)
    found = token("panoptic")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain(token, "panoptic"), rtol=1e-5, atol=0.01)


def test_a_token_beyond_float16_is_finite():
    token = made().half()
    with torch.no_grad():
        token.linear1.weight.fill_(1.0)
        token.linear2.weight.fill_(1.0)
    found = token("semantic")
    assert torch.isfinite(found).all()
    assert found.abs().max() > torch.finfo(torch.float16).max


def test_the_sentences_are_no_weights():
    names = set(made().state_dict())
    assert names == {f"linear{n}.{part}" for n in (1, 2) for part in ("weight", "bias")}


def test_gradients_reach_all_that_is_learnt():
    token = made()
    token("panoptic").sum().backward()
    for name, parameter in token.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
