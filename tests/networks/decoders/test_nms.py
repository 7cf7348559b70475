"""Doubles: what is suppressed, against a plain loop, and inside a network."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import TriptychError
from triptych.networks.contract import Prediction
from triptych.networks.decoders.nms import mask_nms, overlaps
from triptych.networks.decoders.pixel import PixelFeatures
from triptych.networks.decoders.query import QueryDecoder


def slow(prediction: Prediction, overlap: float) -> list[set[int]]:
    """For each image the queries that are lost."""
    assert prediction.class_logits is not None
    probabilities = prediction.class_logits.softmax(-1)[..., :-1]
    found = []
    for chances, masks in zip(probabilities, prediction.mask_logits > 0, strict=True):
        lost = set()
        score, label = chances.max(-1)
        for i, j in itertools.permutations(range(len(masks)), 2):
            both = int((masks[i] & masks[j]).sum())
            either = int((masks[i] | masks[j]).sum())
            better = score[j] > score[i] or (score[j] == score[i] and j < i)
            if better and label[i] == label[j] and either and both / either >= overlap:
                lost.add(i)
        found.append(lost)
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 7),
    overlap=st.sampled_from([0.1, 0.4, 0.5, 0.75, 1.0]),
    like=st.booleans(),
)
def test_it_is_the_plain_loop(seed: int, queries: int, overlap: float, like: bool) -> None:
    torch.manual_seed(seed)
    masks = torch.randn(2, queries, 3, 4) + torch.randint(-2, 3, (2, queries, 1, 1))
    classes = torch.randn(2, queries, 3)
    if like:  # equal masks, and equal scores
        masks, classes = masks[:, :1].repeat(1, queries, 1, 1), classes.round()
    before = Prediction.from_logits(masks, classes)
    after = mask_nms(before, overlap)
    assert after.class_logits is not None
    torch.testing.assert_close(after.mask_logits, masks)
    for image, lost in enumerate(slow(before, overlap)):
        for query in range(queries):
            if query in lost:
                nothing = after.class_logits[image, query].softmax(-1)
                torch.testing.assert_close(nothing, torch.tensor([0.0, 0.0, 1.0]))
            else:
                assert torch.equal(after.class_logits[image, query], classes[image, query])


def test_masks_without_pixels_overlap_nothing() -> None:
    masks = torch.full((1, 2, 4, 4), -3.0)
    assert torch.equal(overlaps(masks), torch.zeros(1, 2, 2))
    classes = torch.tensor([[[2.0, 0.0], [2.0, 0.0]]])
    after = mask_nms(Prediction.from_logits(masks, classes), 0.5)
    assert after.class_logits is not None
    assert torch.equal(after.class_logits, classes)


def test_pixels_are_counted_exactly_in_half_precision() -> None:
    masks = torch.full((1, 2, 40, 50), 1.0)
    masks[0, 1, 0, :3] = -1  # 1997 of 2000, which bf16 cannot tell from 2000
    with torch.autocast("cpu", torch.bfloat16):
        found = overlaps(masks.bfloat16())
    assert found.dtype == torch.float32
    assert found[0, 0, 1].item() == pytest.approx(1997 / 2000, abs=1e-7)


def test_a_decoder_suppresses_outside_of_training_alone() -> None:
    torch.manual_seed(0)
    sizes = {"dim": 16, "heads": 2, "feedforward": 32, "layers": 3, "queries": 6, "classes": 2}
    plain = QueryDecoder(**sizes)  # type: ignore[arg-type]
    alone = QueryDecoder(**sizes, nms=0.3)  # type: ignore[arg-type]
    with torch.no_grad():  # two queries alike
        plain.query_content.weight[1] = plain.query_content.weight[0]
        plain.query_position.weight[1] = plain.query_position.weight[0]
    alone.load_state_dict(plain.state_dict())
    maps = tuple(torch.randn(2, 16, side, side) for side in (2, 4, 8))
    features = PixelFeatures(torch.randn(2, 16, 16, 16), maps)
    torch.testing.assert_close(
        plain.train()(features).class_logits, alone.train()(features).class_logits
    )
    with torch.inference_mode():
        before, after = plain.eval()(features), alone.eval()(features)
    wanted = mask_nms(before, 0.3)
    torch.testing.assert_close(after.class_logits, wanted.class_logits)
    assert after.class_logits[:, 1].softmax(-1)[:, -1].min() > 0.999
    assert not torch.equal(before.class_logits, after.class_logits)


@pytest.mark.parametrize("overlap", [0.0, -0.5, 1.5])
def test_a_share_is_asked_for(overlap: float) -> None:
    with pytest.raises(TriptychError, match="nms is"):
        QueryDecoder(dim=16, heads=2, feedforward=32, layers=1, queries=3, classes=2, nms=overlap)
