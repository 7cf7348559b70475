"""OneFormer's decoder: where queries come from, what they look at, which place the token has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.decoders.oneformer import OneFormerDecoder, QueryTransformer
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.networks.decoders.task import TASKS
from triptych.networks.layers.attention import Attention
from triptych.networks.layers.position import sine_position

SIZES = [(3, 4), (5, 8), (9, 15)]
"""Heights and widths of the memory maps, coarse to fine."""


def features_of(batch: int = 1, dim: int = 16) -> PixelFeatures:
    return PixelFeatures(
        torch.randn(batch, dim, 11, 17), tuple(torch.randn(batch, dim, *size) for size in SIZES)
    )


def decoder_of(**options) -> OneFormerDecoder:
    numbers = {
        "dim": 16,
        "heads": 2,
        "feedforward": 20,
        "layers": 4,
        "query_layers": 2,
        "queries": 5,
        "classes": 3,
    } | options
    return moved(OneFormerDecoder(**numbers)).eval()


def moved(module):
    """Weights away from zero biases and unit norms, which hide much."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module


def token_of(decoder: OneFormerDecoder, task) -> Tensor:
    return decoder.masked.norm(decoder.task(task))


def packed(attention: Attention, prefix: str) -> dict[str, Tensor]:
    linears = (attention.query, attention.key, attention.value)
    return {
        f"{prefix}.in_proj_weight": torch.cat([linear.weight for linear in linears]),
        f"{prefix}.in_proj_bias": torch.cat([linear.bias for linear in linears]),
        f"{prefix}.out_proj.weight": attention.out.weight,
        f"{prefix}.out_proj.bias": attention.out.bias,
    }


class Looking(nn.Module):
    """PyTorch's attention between given keys and values, which its decoder layer cannot tell."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.look = nn.MultiheadAttention(attention.query.in_features, attention.heads).eval()
        state = packed(attention, "x")
        self.look.load_state_dict({name.removeprefix("x."): w for name, w in state.items()})

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return self.look(queries, keys, values)[0]  # of one image, without a batch


def test_the_query_transformer_looks_at_positions_where_the_features_tell():
    made = moved(QueryTransformer(dim=16, heads=2, feedforward=20, layers=2, dropout=0.3)).eval()
    queries, own, features = torch.randn(2, 4, 16), torch.randn(4, 16), torch.randn(2, 16, 5, 7)
    place = sine_position(5, 7, 16, features.device, features.dtype).flatten(1).T
    for image in range(2):
        keys = (
            place + F.conv2d(features, made.project.weight, made.project.bias)[image].flatten(1).T
        )
        x = queries[image]
        for layer in made.layers:
            mixed = Looking(layer.self_attention)(x + own, x + own, x)
            x = layer.norm1(x + mixed)
            x = layer.norm2(x + Looking(layer.cross_attention)(x + own, keys, place))
            x = layer.norm3(x + layer.linear2(F.relu(layer.linear1(x))))
        torch.testing.assert_close(made(queries, own, features)[image], made.norm(x))


@pytest.mark.parametrize("batch", [1, 3])
def test_shapes(batch):
    prediction = decoder_of()(features_of(batch), "semantic")
    assert prediction.class_logits.shape == (batch, 5, 4)
    assert prediction.mask_logits.shape == (batch, 5, 11, 17)
    assert prediction.auxiliary == ()


def test_the_normed_token_is_the_last_query():
    decoder, features = decoder_of(), features_of(2)
    for task in TASKS:
        queries = decoder.queries(features.mask_features, task)
        assert queries.shape == (2, 5, 16)
        wanted = token_of(decoder, task).expand(2, -1)
        torch.testing.assert_close(queries[:, -1], wanted, rtol=1e-5, atol=1e-5)


def test_the_other_queries_start_as_the_token_and_have_the_first_positions():
    decoder, features = decoder_of(), features_of(2)
    seen = {}

    def watch(module, given):
        seen["queries"], seen["position"], seen["features"] = given

    decoder.query_transformer.register_forward_pre_hook(watch)
    decoder(features, "instance")
    token = token_of(decoder, "instance")
    torch.testing.assert_close(seen["queries"], token.expand(2, 4, -1), rtol=1e-5, atol=1e-5)
    assert torch.equal(seen["position"], decoder.masked.query_position.weight[:4])
    assert seen["features"] is features.mask_features


def test_without_its_norm_the_token_is_as_it_comes_and_the_others_start_as_zeros():
    decoder, features = decoder_of(task_norm=False), features_of()
    seen: dict[str, Any] = {}
    decoder.query_transformer.register_forward_pre_hook(
        lambda module, given: seen.update(queries=given[0])
    )
    queries = decoder.queries(features.mask_features, "panoptic")
    torch.testing.assert_close(queries[0, -1], decoder.task("panoptic"))
    assert not seen["queries"].any()
    # Then the task reaches the other queries in the masked-attention layers alone.
    other = decoder.queries(features.mask_features, "instance")
    assert torch.equal(other[:, :-1], queries[:, :-1])
    assert not torch.equal(other[:, -1], queries[:, -1])


def test_each_task_has_an_answer_of_its_own_and_panoptic_is_the_default():
    decoder, features = decoder_of(), features_of()
    answers: dict[str, Any] = {task: decoder(features, task).mask_logits for task in TASKS}
    assert torch.equal(decoder(features).mask_logits, answers["panoptic"])
    for one, other in (
        ("semantic", "instance"),
        ("semantic", "panoptic"),
        ("instance", "panoptic"),
    ):
        assert (answers[one] - answers[other]).abs().max() > 0.1


def test_a_task_does_not_change_the_features():
    decoder, features = decoder_of(), features_of(2)
    before = [tensor.clone() for tensor in (features.mask_features, *features.memory)]
    for task in TASKS:
        decoder(features, task)
    after = (features.mask_features, *features.memory)
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bit_the_token_is_normed_before_it_is_rounded(dtype):
    decoder = decoder_of()
    with torch.no_grad():
        decoder.task.linear1.weight.fill_(1)
        decoder.task.linear2.weight.copy_(torch.randn(16, 16))
    assert decoder.task("semantic").abs().max() > torch.finfo(torch.float16).max
    decoder = decoder.to(dtype)
    features = features_of()
    halves = PixelFeatures(features.mask_features.to(dtype), ())
    queries = decoder.queries(halves.mask_features, "semantic")
    assert queries.dtype == dtype
    assert torch.isfinite(queries).all()
    exact = decoder.float().queries(halves.mask_features.float(), "semantic")
    assert (queries.float() - exact)[:, -1].abs().max() < 0.02 * exact.abs().max()


def test_autocast_leaves_the_token_exact():
    decoder, features = decoder_of(), features_of()
    exact = decoder.queries(features.mask_features, "panoptic")
    with torch.autocast("cpu", torch.bfloat16):
        found = decoder.queries(features.mask_features, "panoptic")
    assert torch.equal(found[:, -1], exact[:, -1])
    assert not torch.equal(found[:, 0], exact[:, 0])  # which autocast does reach


def test_everything_learns():
    decoder, features = decoder_of(dropout=0.0).train(), features_of(2)
    last = decoder(features, "instance")
    assert len(last.auxiliary) == 4
    total = torch.zeros(())
    for one in (*last.auxiliary, last):
        for logits in (one.class_logits, one.mask_logits):
            total = total + (logits * torch.randn_like(logits)).sum()
    total.backward()
    # Queries start as one token, so the first self-attention mixes copies of one vector.
    first = "query_transformer.layers.0.self_attention."
    idle = {first + part for part in ("query.weight", "query.bias", "key.weight")}
    # What is added to all of a softmax's scores changes nothing, and features are in keys alone.
    idle.add("query_transformer.project.bias")
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        silent = name in idle or name.endswith(".key.bias")
        assert bool(parameter.grad.abs().max() > 1e-5) != silent, name


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_acts_in_the_query_transformer_while_training_only(rate):
    decoder, features = decoder_of(dropout=rate), features_of()
    torch.testing.assert_close(decoder(features).mask_logits, decoder(features).mask_logits)
    decoder.train()
    one, other = decoder(features), decoder(features)
    assert torch.equal(one.mask_logits, other.mask_logits) == (rate == 0)
