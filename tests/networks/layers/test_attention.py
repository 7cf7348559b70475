"""Attention against torch's own multi-head attention."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from triptych.networks.backbones.mit import ReducedAttention
from triptych.networks.backbones.swin import WindowAttention, shift_mask
from triptych.networks.layers.attention import Attention, attend


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_torch(heads, masked):
    ours = Attention(8, heads)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs = nn.MultiheadAttention(8, heads, batch_first=True)
    packed = (ours.query, ours.key, ours.value)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([linear.weight for linear in packed]),
            "in_proj_bias": torch.cat([linear.bias for linear in packed]),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    queries, keys, values = torch.randn(2, 5, 8), torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    mask = torch.rand(2, 5, 7) < 0.5
    mask[..., 0] = True
    blocked = (~mask).repeat_interleave(heads, dim=0)  # theirs is True where one may not look
    wanted, _ = theirs(queries, keys, values, attn_mask=blocked if masked else None)
    torch.testing.assert_close(ours(queries, keys, values, mask if masked else None), wanted)


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="3 heads do not divide 8"):
        Attention(8, 3)
    with pytest.raises(ValueError, match="4 heads do not divide 6"):
        Attention(8, 4, 6)


def test_inside_it_may_be_narrower():
    attention = Attention(8, 2, 4)
    queries, keys, values = torch.randn(2, 5, 8), torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    query, key, value = attention.query(queries), attention.key(keys), attention.value(values)
    assert query.shape == (2, 5, 4)
    mixed = []
    for head in (slice(0, 2), slice(2, 4)):
        scores = query[..., head] @ key[..., head].transpose(1, 2) / 2**0.5
        mixed.append(scores.softmax(-1) @ value[..., head])
    wanted = attention.out(torch.cat(mixed, -1))
    torch.testing.assert_close(attention(queries, keys, values), wanted)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("shared", ["queries", "keys"])
def test_what_a_batch_shares_is_projected_once(shared, grad):
    attention = Attention(8, 2)
    queries = torch.randn(1 if shared == "queries" else 3, 5, 8)
    keys, values = torch.randn(2, 1 if shared == "keys" else 3, 7, 8)
    mask = torch.rand(3, 1, 7) < 0.7
    mask[..., 0] = True
    sizes = []
    for part in (attention.query, attention.key, attention.value):
        part.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    with torch.set_grad_enabled(grad):
        found = attention(queries, keys, values, mask)
        assert sizes == ([1, 3, 3] if shared == "queries" else [3, 1, 1])
        whole = [part.expand(3, -1, -1) for part in (queries, keys, values)]
        wanted = attention(*whole, mask.expand(-1, 5, -1))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("kind", ["nothing", "places", "numbers"])
def test_written_out_it_has_the_values_and_gradients_of_torch(kind):
    query, key, value = (torch.randn(3, 2, n, 4, requires_grad=True) for n in (5, 7, 7))
    masks = {"nothing": None, "places": torch.rand(3, 1, 5, 7) < 0.5, "numbers": torch.randn(5, 7)}
    if (mask := masks[kind]) is not None and mask.dtype == torch.bool:
        mask[..., 0] = True
    given = torch.randn(3, 2, 5, 4)
    wanted = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    found = attend(query, key, value, mask)
    torch.testing.assert_close(found, wanted)
    for a, b in zip(
        torch.autograd.grad((found * given).sum(), (query, key, value)),
        torch.autograd.grad((wanted * given).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(attend(query, key, value, mask), wanted)


@pytest.mark.parametrize("kind", ["between", "windows", "reduced"])
def test_a_graph_does_not_depend_on_the_layout_of_a_kernel(kind):
    windows = torch.randn(4, 16, 8), shift_mask(8, 8, 4, torch.float32, torch.device("cpu"))
    model, given = {
        "between": (Attention(8, 2), (torch.randn(1, 5, 8), *torch.randn(2, 1, 7, 8))),
        "windows": (WindowAttention(8, 2, 4), windows),
        "reduced": (ReducedAttention(8, 2, 2), (torch.randn(1, 4, 4, 8),)),
    }[kind]
    with torch.no_grad():
        traced = torch.export.export(model, given, strict=False)
    # As the ONNX exporter does it: attention stays one operation, and gradients are on, for which
    # torch takes another kernel.
    rules = torch.export.default_decompositions()
    del rules[torch.ops.aten.scaled_dot_product_attention.default]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within torch
        rewritten = traced.run_decompositions(rules)
    torch.testing.assert_close(rewritten.module()(*given), model(*given))
