"""DETR's decoder: its layer against PyTorch's, what queries see, what earlier layers answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from triptych.networks.decoders import detr
from triptych.networks.decoders.detr import DetrDecoder, DetrDecoderLayer
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.networks.layers.attention import Attention


def features_of(batch: int = 1, inputs: int = 12, size=(3, 4), mask_dim: int = 10):
    return PixelFeatures(torch.randn(batch, mask_dim, 11, 15), (torch.randn(batch, inputs, *size),))


def decoder_of(**options) -> DetrDecoder:
    numbers = {
        "inputs": 12,
        "dim": 16,
        "heads": 2,
        "feedforward": 20,
        "layers": 3,
        "queries": 5,
        "classes": 3,
        "mask_dim": 10,
    } | options
    return DetrDecoder(**numbers).eval()


def answers(decoder: DetrDecoder, features: PixelFeatures) -> list[tuple[Tensor, Tensor]]:
    """Class and mask logits of every layer, first layer first, without dropout."""
    decoder.training = True  # of the decoder alone, not of the dropout within
    last = decoder(features)
    decoder.training = False
    return [(one.class_logits, one.mask_logits) for one in (*last.auxiliary, last)]


def packed(attention: Attention, prefix: str) -> dict[str, Tensor]:
    linears = (attention.query, attention.key, attention.value)
    return {
        f"{prefix}.in_proj_weight": torch.cat([linear.weight for linear in linears]),
        f"{prefix}.in_proj_bias": torch.cat([linear.bias for linear in linears]),
        f"{prefix}.out_proj.weight": attention.out.weight,
        f"{prefix}.out_proj.bias": attention.out.bias,
    }


def test_a_layer_is_that_of_the_transformer():
    ours = DetrDecoderLayer(12, heads=3, feedforward=20, dropout=0.3).eval()
    theirs = nn.TransformerDecoderLayer(12, 3, 20, batch_first=True).eval()
    state = packed(ours.self_attention, "self_attn")
    state |= packed(ours.cross_attention, "multihead_attn")
    state |= {k: v for k, v in ours.state_dict().items() if "attention" not in k}
    theirs.load_state_dict(state)
    queries, memory = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    told = ours(queries, torch.zeros(5, 12), memory, memory)
    torch.testing.assert_close(told, theirs(queries, memory))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("inputs", [12, 16])
def test_shapes(batch, inputs):
    decoder = decoder_of(inputs=inputs)
    # As in the published files: a map that has the width already is taken as it is.
    assert isinstance(decoder.project, nn.Identity) == (inputs == 16)
    prediction = decoder(features_of(batch, inputs))
    assert prediction.class_logits.shape == (batch, 5, 4)
    assert prediction.mask_logits.shape == (batch, 5, 11, 15)
    assert prediction.auxiliary == ()


def test_auxiliary_predictions_are_those_of_a_shorter_decoder():
    decoder, features = decoder_of(layers=3), features_of(2)
    every = answers(decoder, features)
    assert len(every) == 3
    for length, (class_logits, mask_logits) in enumerate(every, start=1):
        shorter = decoder_of(layers=length)
        state = decoder.state_dict()
        shorter.load_state_dict({name: state[name] for name in shorter.state_dict()})
        alone = shorter(features)
        torch.testing.assert_close(class_logits, alone.class_logits)
        torch.testing.assert_close(mask_logits, alone.mask_logits)


def test_without_the_norm_there_is_one_more_and_it_knows_no_query():
    decoder, features = decoder_of(layers=3), features_of()
    # Far from 1 and 0, where a second norm changes little.
    nn.init.uniform_(decoder.norm.weight, 2, 3)
    normed = answers(decoder, features)
    decoder.auxiliary_norm = False
    plain = answers(decoder, features)
    assert len(plain) == len(normed) + 1
    first = plain[0][1]
    torch.testing.assert_close(first, first[:, :1].expand_as(first))
    for one, other in zip(plain[1:-1], normed[:-1], strict=True):
        assert not torch.allclose(one[0], other[0], atol=1e-2)
    torch.testing.assert_close(plain[-1], normed[-1])


def test_queries_have_no_order():
    decoder, features = decoder_of(), features_of(2)
    before = decoder(features)
    order = torch.tensor([3, 0, 4, 1, 2])
    position = decoder.query_position.weight
    position.data = position.data[order]
    after = decoder(features)
    torch.testing.assert_close(after.mask_logits, before.mask_logits[:, order])
    torch.testing.assert_close(after.class_logits, before.class_logits[:, order])


def test_every_query_sees_every_cell_and_knows_where_it_is(monkeypatch):
    decoder, features = decoder_of(queries=1, layers=1), features_of()
    (memory,) = features.memory
    before = decoder(features).class_logits
    for cell in range(memory[0, 0].numel()):
        changed = memory.clone()
        changed.flatten(2)[0, :, cell] += 3
        told = decoder(PixelFeatures(features.mask_features, (changed,)))
        assert not torch.allclose(told.class_logits, before, atol=1e-5), cell

    swapped = PixelFeatures(features.mask_features, (memory.flip(-1),))
    assert not torch.allclose(decoder(swapped).class_logits, before, atol=1e-5)
    monkeypatch.setattr(detr, "sine_position", lambda h, w, dim, *_: torch.zeros(dim, h, w))
    torch.testing.assert_close(decoder(swapped).class_logits, decoder(features).class_logits)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_acts_while_training_only(rate):
    decoder, features = decoder_of(dropout=rate), features_of()
    torch.testing.assert_close(decoder(features).mask_logits, decoder(features).mask_logits)
    decoder.train()
    one, other = decoder(features), decoder(features)
    assert torch.equal(one.mask_logits, other.mask_logits) == (rate == 0)


@pytest.mark.parametrize("auxiliary_norm", [True, False])
def test_everything_learns(auxiliary_norm):
    decoder = decoder_of(auxiliary_norm=auxiliary_norm, dropout=0.0).train()
    with torch.no_grad():
        for parameter in decoder.parameters():  # away from zero biases, which hide much
            parameter.add_(0.1 * torch.randn_like(parameter))
    last = decoder(features_of(2))
    total = torch.zeros(())
    for one in (*last.auxiliary, last):
        for logits in (one.class_logits, one.mask_logits):
            total = total + (logits * torch.randn_like(logits)).sum()
    total.backward()
    # Queries start as zeros, so the first self-attention mixes copies of one bias.
    first = "layers.0.self_attention."
    idle = {first + part for part in ("query.weight", "query.bias", "key.weight", "value.weight")}
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        # A softmax does not see what is added to all of its scores.
        silent = name in idle or name.endswith(".key.bias")
        assert bool(parameter.grad.abs().max() > 1e-5) != silent, name
