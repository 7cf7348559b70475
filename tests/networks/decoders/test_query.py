"""The masked query decoder: what a query sees, what comes out, and transformers as the oracle."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerTransformerModule

from triptych.checkpoints.keymap import to_ours
from triptych.checkpoints.names.decoders import QUERY_DECODER_RULES
from triptych.networks.contract import Prediction
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.networks.decoders.query import MaskHead, QueryDecoder

SIZES = [(3, 4), (5, 8), (9, 15)]
"""Heights and widths of the memory maps, coarse to fine."""


def features_of(dim: int = 16, batch: int = 1, sizes=SIZES, finest=(17, 29)) -> PixelFeatures:
    return PixelFeatures(
        torch.randn(batch, dim, *finest),
        tuple(torch.randn(batch, dim, *size) for size in sizes),
    )


def decoder_of(**options) -> QueryDecoder:
    numbers = {
        "dim": 16,
        "heads": 2,
        "feedforward": 20,
        "layers": 4,
        "queries": 5,
        "classes": 3,
    } | options
    return QueryDecoder(**numbers).eval()


def answers(prediction: Prediction) -> list[Tensor]:
    assert prediction.class_logits is not None
    return [prediction.mask_logits, prediction.class_logits]


def same(one: Prediction, other: Prediction) -> bool:
    return all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(answers(one), answers(other), strict=True)
    )


def every_answer(decoder: QueryDecoder, features: PixelFeatures) -> list[Prediction]:
    """What is predicted before the first layer and after each."""
    decoder.train()
    last = decoder(features)
    decoder.eval()
    return [*last.auxiliary, last]


def insides(decoder: QueryDecoder, features: PixelFeatures) -> list[Tensor]:
    """For each layer the ``(B, N, h, w)`` positions inside the masks predicted before it."""
    return [
        F.interpolate(answer.mask_logits, features.memory[index % 3].shape[-2:], mode="bilinear")
        .sigmoid()
        .ge(0.5)
        for index, answer in enumerate(every_answer(decoder, features)[:-1])
    ]


def changed(features: PixelFeatures, level: int, where: Tensor) -> PixelFeatures:
    """Other values in one memory map, at the ``(h, w)`` positions ``where``."""
    memory = list(features.memory)
    memory[level] = torch.where(where, torch.randn_like(memory[level]) * 3, memory[level])
    return features._replace(memory=tuple(memory))


def point_all_embeddings(decoder: QueryDecoder, value: float) -> None:
    """Let every query's mask be ``value`` times the sum over the pixel's features."""
    nn.init.zeros_(decoder.get_parameter("head.embedding.4.weight"))
    nn.init.constant_(decoder.get_parameter("head.embedding.4.bias"), value)


def test_mask_head_has_the_shapes_of_the_paper():
    head = MaskHead(dim=32, classes=19)
    class_logits, mask_logits = head(torch.rand(2, 100, 32), torch.rand(2, 32, 64, 64))
    assert class_logits.shape == (2, 100, 20)
    assert mask_logits.shape == (2, 100, 64, 64)


def test_a_mask_logit_is_the_dot_product_of_query_and_pixel():
    head = MaskHead(dim=8, classes=2).double()
    queries, pixels = torch.randn(2, 3, 8).double(), torch.randn(2, 8, 4, 5).double()
    _, mask_logits = head(queries, pixels)
    embedding = head.embedding(queries)
    for b, n, y, x in [(0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 2, 3)]:
        torch.testing.assert_close(mask_logits[b, n, y, x], embedding[b, n] @ pixels[b, :, y, x])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_query_sees_nothing_outside_its_mask(level):
    # One query: with more, self-attention would hand on what the others saw.
    decoder, features = decoder_of(queries=1), features_of()
    seen = torch.stack([inside[0, 0] for inside in insides(decoder, features)[level::3]]).any(dim=0)
    assert 0 < seen.sum() < seen.numel()
    before = decoder(features)
    assert same(before, decoder(changed(features, level, ~seen)))
    assert not same(before, decoder(changed(features, level, seen)))
    for y, x in seen.nonzero()[:4].tolist():
        one = torch.zeros_like(seen)
        one[y, x] = True
        assert not same(before, decoder(changed(features, level, one)))

    decoder.masked = False
    assert not same(decoder(features), decoder(changed(features, level, ~seen)))


def test_queries_see_through_their_own_masks_and_images_through_theirs():
    decoder, features = decoder_of(layers=1, queries=4), features_of(batch=2)
    nn.init.zeros_(decoder.get_parameter("layers.0.self_attention.out.weight"))  # keeps them apart
    seen = insides(decoder, features)[0]
    assert not torch.equal(seen[0, 0], seen[0, 1])
    assert not torch.equal(seen[0, 0], seen[1, 0])
    before = decoder(features).class_logits
    for b, n in [(0, 0), (0, 2), (1, 1)]:
        memory = features.memory[0].clone()
        memory[b] = torch.where(~seen[b, n], torch.randn_like(memory[b]) * 3, memory[b])
        after = decoder(features._replace(memory=(memory, *features.memory[1:]))).class_logits
        unmoved = torch.isclose(before, after, atol=1e-5).all(dim=-1)
        assert unmoved[b, n]
        assert not unmoved[b].all()
        assert unmoved[1 - b].all()


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_empty_mask_looks_everywhere_like_a_full_one(sign):
    decoder, features = decoder_of(queries=2), features_of()
    point_all_embeddings(decoder, sign)
    features = features._replace(mask_features=features.mask_features.abs() + 0.1)
    assert all(bool(inside.all()) == (sign > 0) for inside in insides(decoder, features))
    assert all(bool(inside.any()) == (sign > 0) for inside in insides(decoder, features))
    masked = decoder(features)
    decoder.masked = False
    assert same(masked, decoder(features))
    assert not same(masked, decoder(changed(features, 0, torch.ones(3, 4, dtype=torch.bool))))


def test_a_pixel_of_probability_one_half_is_inside():
    decoder, features = decoder_of(queries=1, layers=1), features_of(finest=SIZES[0])
    point_all_embeddings(decoder, -1)
    pixels = torch.ones(1, 16, *SIZES[0])
    pixels[..., 1, 2] = 0.0
    features = features._replace(mask_features=pixels)
    only = torch.zeros(SIZES[0], dtype=torch.bool)
    only[1, 2] = True
    assert same(decoder(features), decoder(changed(features, 0, ~only)))
    assert not same(decoder(features), decoder(changed(features, 0, only)))


def test_layers_take_the_scales_in_turn_from_coarse_to_fine():
    decoder, features = decoder_of(layers=7), features_of()
    lengths: list[int] = []
    for index in range(7):
        decoder.get_submodule(f"layers.{index}.cross_attention").register_forward_pre_hook(
            lambda _, given: lengths.append(given[1].shape[1])
        )
    decoder(features)
    assert lengths == [12, 40, 135, 12, 40, 135, 12]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_scale_that_no_layer_reached_does_not_matter(layers):
    decoder, features = decoder_of(layers=layers, masked=False), features_of()
    before = decoder(features)
    for level, size in enumerate(SIZES):
        after = decoder(changed(features, level, torch.ones(size, dtype=torch.bool)))
        assert same(before, after) == (level >= layers)


def test_auxiliary_predictions_are_what_fewer_layers_would_have_said():
    decoder, features = decoder_of(layers=4), features_of(batch=2)
    spoken = every_answer(decoder, features)
    assert len(spoken) == 5
    for count, answer in enumerate(spoken):
        assert answer.auxiliary == () or count == 4
        shorter = decoder_of(layers=count)
        shorter.load_state_dict(
            {
                name: tensor
                for name, tensor in decoder.state_dict().items()
                if not name.startswith("layers.") or int(name.split(".")[1]) < count
            }
        )
        assert same(answer, shorter(features))
    assert not same(spoken[0], spoken[1])


def test_auxiliary_predictions_are_made_only_while_training():
    decoder, features = decoder_of(), features_of()
    assert decoder(features).auxiliary == ()
    assert len(decoder.train()(features).auxiliary) == 4


def test_shapes():
    decoder = decoder_of(queries=7, classes=4).train()
    prediction = decoder(features_of(batch=2))
    for answer in (prediction, *prediction.auxiliary):
        assert answer.mask_logits.shape == (2, 7, 17, 29)
        assert answer.class_logits.shape == (2, 7, 5)


def test_queries_are_a_set():
    decoder, features = decoder_of(), features_of()
    before = decoder(features)
    order = torch.randperm(5)
    for embedding in (decoder.query_content, decoder.query_position):
        embedding.weight.data = embedding.weight.data[order]
    after = decoder(features)
    for a, b in zip(answers(before), answers(after), strict=True):
        torch.testing.assert_close(a[:, order], b)


def test_images_of_a_batch_do_not_meet():
    decoder, features = decoder_of(), features_of(batch=3)
    together = decoder(features)
    for index in range(3):
        one = slice(index, index + 1)
        alone = decoder(
            PixelFeatures(features.mask_features[one], tuple(x[one] for x in features.memory))
        )
        for a, b in zip(answers(together), answers(alone), strict=True):
            torch.testing.assert_close(a[one], b)


def test_everything_learns():
    decoder = decoder_of(layers=3).train()
    prediction = decoder(features_of(batch=2))
    spoken = [prediction, *prediction.auxiliary]
    torch.stack([t.square().mean() for answer in spoken for t in answers(answer)]).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        # A softmax does not see what is added to all of its scores.
        assert bool(parameter.grad.abs().max() > 1e-6) == (".key.bias" not in name), name


side = st.integers(1, 9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    dim=st.sampled_from((16, 32)),
    heads=st.sampled_from((1, 2, 4)),
    feedforward=st.integers(1, 40),
    layers=st.integers(1, 7),
    queries=st.integers(1, 9),
    batch=st.integers(1, 3),
    sizes=st.lists(st.tuples(side, side), min_size=4, max_size=4),
)
def test_equals_transformers(dim, heads, feedforward, layers, queries, batch, sizes):
    config = Mask2FormerConfig(
        hidden_dim=dim,
        mask_feature_size=dim,
        num_attention_heads=heads,
        dim_feedforward=feedforward,
        decoder_layers=layers + 1,  # theirs counts the prediction before the first
        num_queries=queries,
    )
    theirs = Mask2FormerTransformerModule(dim, config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    ours = decoder_of(dim=dim, heads=heads, feedforward=feedforward, layers=layers, queries=queries)
    told = ours.load_state_dict(to_ours(theirs.state_dict(), QUERY_DECODER_RULES), strict=False)
    assert not told.unexpected_keys
    assert told.missing_keys == ["head.classes.weight", "head.classes.bias"]

    features = features_of(dim, batch, sizes[:3], sizes[3])
    with torch.no_grad():
        wanted = theirs(list(features.memory), features.mask_features)
        spoken = every_answer(ours, features)
        silent = ours(features)
        classes = [ours.head.classes(x.transpose(0, 1)) for x in wanted.intermediate_hidden_states]
    assert len(spoken) == len(wanted.masks_queries_logits) == layers + 1
    theirs_last = (wanted.masks_queries_logits[-1], classes[-1])
    pairs = list(zip(spoken, zip(wanted.masks_queries_logits, classes, strict=True), strict=True))
    for answer, other in [*pairs, (silent, theirs_last)]:
        for mine, tensor in zip(answers(answer), other, strict=True):
            assert (mine - tensor).abs().max() <= 1e-4 * tensor.abs().max()


def test_queries_may_come_from_elsewhere():
    decoder, features = decoder_of(), features_of(batch=2)
    wanted = decoder(features)
    given_queries = decoder_of(content=False)
    state = decoder.state_dict()
    start = state.pop("query_content.weight")
    given_queries.load_state_dict(state)  # it has no content of its own
    assert same(given_queries.refine(start.expand(2, -1, -1), features), wanted)
    assert not same(given_queries.refine(start.flip(0).expand(2, -1, -1), features), wanted)
