"""Each reading against its plain slow oracle, over sizes, layouts and thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.readings import oracle
from tests.readings.cases import mask_sets

from triptych.mask_set import MaskSet
from triptych.readings import grid
from triptych.readings.outcome import Outcome

SLACK = 1e-4
"""Decisions closer than this are left out: float32 and float64 may take them differently."""

SHARES = st.sampled_from([0.0, 0.2, 0.35, 0.5, 0.8, 1.0])
moderate = settings(max_examples=150, deadline=None)


@pytest.fixture(autouse=True, scope="module", params=["one strip", "many strips"])
def _strips(request):
    """Images this small fit into one strip; so the seams are tried with a tiny limit, too."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "many strips":
            patch.setattr(grid, "STRIP_NUMBERS", 100)
        yield


def counts(outcomes) -> dict[Outcome, int]:
    return {outcome: number for outcome, number in outcomes.items() if number}


@moderate
@given(mask_sets("queries"))
def test_semantic(masks: MaskSet):
    expected = oracle.semantic(masks)
    ids = masks.semantic().ids
    assert ids.dtype == torch.int64
    assert expected.lead is not None
    clear = expected.lead > SLACK
    np.testing.assert_array_equal(ids.numpy()[clear], expected.ids[clear])
    if expected.slack > SLACK:
        explained = masks.explain().semantic
        assert explained == counts(expected.outcomes)


@moderate
@given(mask_sets("queries"), SHARES, SHARES)
def test_panoptic(masks: MaskSet, threshold: float, overlap: float):
    expected = oracle.panoptic(masks, threshold, overlap)
    assume(expected.slack > SLACK)
    result = masks.panoptic(threshold, overlap)
    assert result.ids.dtype == torch.int32
    np.testing.assert_array_equal(result.ids.numpy(), expected.ids)
    assert [(s.class_id, s.area) for s in result.segments] == [
        (label, area) for label, _, area in expected.found
    ]
    for number, (segment, (label, score, _)) in enumerate(
        zip(result.segments, expected.found, strict=True), start=1
    ):
        assert segment.id == number
        assert segment.score == pytest.approx(score, abs=1e-6)
        assert segment.name == masks.classes.names[label]
        assert segment.is_thing == masks.classes.is_thing[label]
    explained = masks.explain(
        masks.readings.replace(panoptic_threshold=threshold, overlap=overlap)
    ).panoptic
    assert explained == counts(expected.outcomes)


@moderate
@given(
    st.sampled_from(["queries", "promptable"]).flatmap(mask_sets),
    SHARES,
    st.sampled_from([1, 2, 5, 100]),
)
def test_instances(masks: MaskSet, threshold: float, top: int):
    expected = oracle.instances(masks, threshold, top)
    assume(expected.slack > SLACK)
    result = masks.instances(threshold, top)
    assert result.source == "queries"
    assert len(result) == len(expected.found)
    for instance, (_, label, score, mask, box) in zip(result, expected.found, strict=True):
        assert instance.class_id == label
        assert instance.name == masks.classes.names[label]
        assert instance.score == pytest.approx(score, abs=1e-5)
        np.testing.assert_array_equal(instance.mask.numpy(), mask)
        assert instance.box == box
    explained = masks.explain(
        masks.readings.replace(instance_threshold=threshold, top=top)
    ).instances
    assert explained == counts(expected.outcomes)


@moderate
@given(mask_sets("labeller"), SHARES)
def test_labeller(masks: MaskSet, threshold: float):
    expected, sure = oracle.labelled(masks)
    assume(expected.slack > SLACK)
    np.testing.assert_array_equal(masks.semantic().ids.numpy(), expected.ids)

    objects, segments = [], []
    for label, thing in enumerate(masks.classes.is_thing):
        for region in oracle.regions(expected.ids, label, split=thing):
            score = sum(sure[place] for place in region) / len(region)
            assume(abs(score - threshold) > SLACK)
            if score > threshold:
                segments.append((label, score, region))
                objects += [(label, score, region)] if thing else []

    result = masks.panoptic(threshold)
    found = {
        (s.class_id, frozenset(zip(*np.nonzero(result.ids.numpy() == s.id), strict=True)))
        for s in result.segments
    }
    assert found == {(label, frozenset(region)) for label, _, region in segments}
    assert sum(s.area for s in result.segments) == sum(len(region) for *_, region in segments)
    assert sum(s.score for s in result.segments) == pytest.approx(sum(s for _, s, _ in segments))

    instances = masks.instances(threshold)
    assert instances.source == "connected components"
    assert {
        (i.class_id, frozenset(zip(*np.nonzero(i.mask.numpy()), strict=True))) for i in instances
    } == {(label, frozenset(region)) for label, _, region in objects}
    scores = [i.score for i in instances]
    assert scores == sorted(scores, reverse=True)
    assert scores == pytest.approx(sorted((s for _, s, _ in objects), reverse=True), abs=1e-5)
    explained = masks.explain(
        masks.readings.replace(instance_threshold=threshold, panoptic_threshold=threshold)
    )
    assert explained.instances.get(Outcome.KEPT, 0) == len({label for label, *_ in objects})
    assert explained.panoptic.get(Outcome.KEPT, 0) == len({label for label, *_ in segments})
    assert sum(explained.semantic.values()) == len(masks)
    assert explained.semantic.get(Outcome.KEPT, 0) == len(np.unique(expected.ids))


def test_the_oracle_resizes_as_torch_does():
    masks = 3 * torch.randn(1, 5, 7)
    for size in [(20, 28), (11, 3), (5, 7), (1, 1)]:
        theirs = torch.nn.functional.interpolate(masks[None], size, mode="bilinear")[0, 0]
        np.testing.assert_allclose(oracle.resize(masks[0].numpy(), size), theirs, atol=1e-5)


def test_the_oracle_softmax_sums_to_one():
    assert math.isclose(sum(oracle.softmax(np.array([800.0, 799.0, -5.0]))), 1)
