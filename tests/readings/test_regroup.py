"""Groups of classes: their probabilities add up, in every reading, and the rest is void."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.readings import oracle
from tests.readings.cases import SIDES, flat, geometries, mask_sets

from triptych.class_table import Merged
from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings import grid
from triptych.readings.outcome import Outcome
from triptych.readings.regroup import add_up, regrouped

SLACK = 1e-4
SHARES = st.sampled_from([0.0, 0.2, 0.35, 0.5, 0.8])
moderate = settings(max_examples=150, deadline=None)


@pytest.fixture(autouse=True, scope="module", params=["small", "tiles"])
def _tiles(request):
    """Images this small are computed at once; so bounds and lists of masks are tried, too."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "tiles":
            patch.setattr(grid, "SMALL", 0)
            patch.setattr(grid, "STRIP_NUMBERS", 100)
        yield


@st.composite
def tables(draw, count: int) -> Merged:
    """Groups of ``count`` classes, any of which may be in none; at least one group."""
    groups = draw(st.integers(1, count))
    new = draw(st.lists(st.integers(-1, groups - 1), min_size=count, max_size=count))
    used = sorted({group for group in new if group >= 0})
    assume(used)
    things = draw(st.lists(st.booleans(), min_size=len(used), max_size=len(used)))
    names = [f"group {one}" for one in used]
    classes = Classes.of(names, [n for n, thing in zip(names, things, strict=True) if thing])
    return Merged(classes, tuple(used.index(one) if one >= 0 else None for one in new))


@st.composite
def labellers(draw) -> MaskSet:
    (h, w), geometry = draw(geometries())
    seed = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    count, spread = draw(st.integers(1, 9)), draw(st.sampled_from([0.3, 4.0, 40.0]))
    masks = spread * torch.randn(count, h, w, generator=seed)
    names = [f"class {number}" for number in range(count)]
    return MaskSet(masks, None, Classes.of(names), geometry, competition="softmax")


def added(probabilities: np.ndarray, merged: Merged) -> np.ndarray:
    """``(G + 1, ...)`` sums over the classes of each group; last, over what is in none."""
    out = np.zeros((len(merged.classes) + 1, *probabilities.shape[1:]))
    for old, values in enumerate(probabilities):
        new = merged.new[old] if old < len(merged.new) else None
        out[-1 if new is None else new] += values
    return out


@moderate
@given(st.data(), st.integers(1, 8), st.sampled_from([0.1, 3.0, 60.0]), SIDES)
def test_probabilities_of_queries_add_up(data, count, sharpness, queries):
    merged = data.draw(tables(count))
    seed = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32 - 1)))
    logits = sharpness * torch.randn(queries, count + 1, generator=seed)
    masks = MaskSet(
        torch.zeros(queries, 2, 2),
        logits,
        Classes.of([str(number) for number in range(count)]),
        Geometry((2, 2), (2, 2), (2, 2)),
    )
    found = regrouped(masks, merged).class_logits
    assert found is not None
    assert found.dtype == torch.float32
    given_ = np.stack([oracle.softmax(row) for row in logits.double().numpy()], axis=1)
    expected = added(given_, merged)
    np.testing.assert_allclose(found.double().softmax(1).T, expected, atol=1e-6)


@moderate
@given(st.data(), mask_sets("queries"), SHARES, SHARES)
def test_all_readings_of_queries(data, masks, threshold, overlap):
    merged = data.draw(tables(len(masks.classes)))
    ours = regrouped(masks, merged)
    assert masks.class_logits is not None
    # What a network with these classes would have said, in float64.
    sums = np.stack(
        [added(oracle.softmax(row), merged) for row in masks.class_logits.double().numpy()]
    )
    with np.errstate(divide="ignore"):
        logits = torch.from_numpy(np.log(sums).clip(min=-700))
    plain = dataclasses.replace(masks, classes=merged.classes, class_logits=logits)
    semantic = oracle.semantic(plain)
    assert semantic.lead is not None
    clear = semantic.lead > SLACK
    np.testing.assert_array_equal(ours.semantic().ids.numpy()[clear], semantic.ids[clear])
    panoptic = oracle.panoptic(plain, threshold, overlap)
    if panoptic.slack > SLACK:
        found = ours.panoptic(threshold, overlap)
        np.testing.assert_array_equal(found.ids.numpy(), panoptic.ids)
        assert [s.name for s in found.segments] == [
            merged.classes.names[label] for label, *_ in panoptic.found
        ]
    instances = oracle.instances(plain, threshold, 100)
    if instances.slack > SLACK:
        listed = ours.instances(threshold)
        assert [i.class_id for i in listed] == [label for _, label, *_ in instances.found]
        scores = [score for _, _, score, *_ in instances.found]
        assert [i.score for i in listed] == pytest.approx(scores, abs=1e-5)


@moderate
@given(st.data(), labellers(), SHARES)
def test_a_pixel_labeller(data, masks, threshold):
    merged = data.draw(tables(len(masks)))
    ours = regrouped(masks, merged)
    logits = oracle.upsample(masks)
    powers = np.exp(logits - logits.max(0))
    sums = added(powers / powers.sum(0), merged)
    ranked = np.sort(sums, axis=0)
    clear = ranked[-1] - ranked[-2] > SLACK
    ids, rest = sums.argmax(0), len(merged.classes)

    semantic = ours.semantic()
    assert semantic.ids.dtype == torch.int64
    assert semantic.void == 255
    expected = np.where(ids == rest, 255, ids)
    np.testing.assert_array_equal(semantic.ids.numpy()[clear], expected[clear])
    assert semantic.areas().tolist() == [(semantic.ids == k).sum() for k in range(rest)]

    assume(clear.all())
    segments, objects = set(), set()
    for label, thing in enumerate(merged.classes.is_thing):
        for region in oracle.regions(ids, label, split=thing):
            score = sum(sums[(label, *place)] for place in region) / len(region)
            assume(abs(score - threshold) > SLACK)
            if score > threshold:
                segments.add((label, round(score, 3), frozenset(region)))
                objects |= {(label, frozenset(region))} if thing else set()
    panoptic = ours.panoptic(threshold)
    assert {
        (s.class_id, frozenset(zip(*np.nonzero(panoptic.ids.numpy() == s.id), strict=True)))
        for s in panoptic.segments
    } == {(label, region) for label, _, region in segments}
    total = sum(
        sums[label][tuple(zip(*region, strict=True))].mean() for label, _, region in segments
    )
    assert sum(s.score for s in panoptic.segments) == pytest.approx(total, abs=1e-4)
    assert not panoptic.ids.numpy()[ids == rest].any()
    assert {
        (i.class_id, frozenset(zip(*np.nonzero(i.mask.numpy()), strict=True)))
        for i in ours.instances(threshold)
    } == objects
    explained = ours.explain(masks.readings.replace(panoptic_threshold=threshold))
    for reading in (explained.semantic, explained.instances, explained.panoptic):
        assert sum(reading.values()) == len(masks)
        assert reading.get(Outcome.UNLISTED, 0) == merged.new.count(None)


def test_regrouped_again_is_regrouped_once():
    masks = flat(torch.randn(4, 3, 5), competition="softmax")
    first = Merged(Classes.of(["a", "b", "c"]), (0, 1, None, 2))
    second = Merged(Classes.of(["x"]), (0, None, 0))
    twice = regrouped(regrouped(masks, first), second)
    assert twice.groups == (0, 1, 1, 0)
    once = regrouped(masks, first.then(second))
    assert torch.equal(twice.semantic().ids, once.semantic().ids)
    queries = flat(torch.randn(2, 3, 5), torch.rand(2, 5).softmax(1).tolist())
    twice = regrouped(regrouped(queries, first), second)
    once = regrouped(queries, first.then(second))
    assert twice.class_logits is not None
    assert once.class_logits is not None
    assert torch.allclose(twice.class_logits, once.class_logits)


def test_every_class_by_itself_changes_nothing():
    masks = flat(torch.randn(4, 9, 7), competition="softmax")
    same = regrouped(masks, Merged.unchanged(masks.classes))
    assert torch.equal(same.semantic().ids, masks.semantic().ids)
    assert same.explain() == masks.explain()


def test_of_equal_groups_the_first_counts():
    masks = flat(torch.zeros(4, 3, 3), competition="softmax")
    merged = Merged(Classes.of(["a", "b"]), (1, 0, 1, 0))
    assert not regrouped(masks, merged).semantic().ids.any()


def test_what_is_broken_is_refused_as_ever():
    logits = torch.randn(4, 3, 3)
    logits[1, 1, 1] = math.nan
    masks = regrouped(
        flat(logits, competition="softmax"), Merged(Classes.of(["a"]), (0, 0, None, None))
    )
    with pytest.raises(TriptychError, match="mask_logits hold NaN"):
        masks.semantic()


def test_promptable_masks_have_nothing_to_regroup():
    thing = Classes.of(["object"], ["object"])
    masks = MaskSet(
        torch.zeros(2, 3, 3),
        None,
        thing,
        Geometry((3, 3), (3, 3), (3, 3)),
        quality=torch.ones(2),
    )
    with pytest.raises(TriptychError, match="no classes that could be regrouped"):
        regrouped(masks, Merged.unchanged(thing))


@pytest.mark.parametrize("groups", [(0, 1), (0, 1, 5), (0, -1, 0)])
def test_groups_that_do_not_fit_are_refused(groups):
    masks = flat(torch.zeros(3, 2, 2), competition="softmax")
    with pytest.raises(TriptychError, match="a group from 0 to 3 for each mask"):
        dataclasses.replace(masks, groups=groups)


def test_queries_have_no_groups():
    masks = flat(torch.zeros(1, 2, 2), [[0.5, 0.5]])
    with pytest.raises(TriptychError, match="groups for a pixel labeller alone"):
        dataclasses.replace(masks, groups=(0,))


def test_columns_of_one_group_keep_their_logits():
    logits = torch.tensor([[1.0, -2.0, 3.0]])
    assert add_up(logits, [1, 0, 2], 3).tolist() == [[-2.0, 1.0, 3.0]]
    assert add_up(logits, [0, 0, 0], 2)[0, 1] == -math.inf


def test_few_of_many_masks_matter_in_a_tile():
    """Where lists of masks are computed: some tiles have a handful of 24 that are in question."""
    rng = np.random.default_rng(0)
    masks = torch.full((24, 24, 24), -60.0)
    masks[23] = torch.from_numpy(rng.standard_normal((24, 24)))  # the rest, everywhere
    for number, (y, x) in enumerate(rng.integers(0, 20, (23, 2))):
        masks[number, y : y + 4, x : x + 4] = torch.from_numpy(1 + 2 * rng.standard_normal((4, 4)))
    names = [f"class {number}" for number in range(24)]
    size = (96, 96)
    whole = MaskSet(
        masks, None, Classes.of(names), Geometry(size, size, size), competition="softmax"
    )
    groups = Classes.of(["a", "b", "c"], ["b"])
    merged = Merged(groups, tuple([2, 0, 1, None][number % 4] for number in range(24)))
    ours = regrouped(whole, merged)
    logits = np.stack([oracle.resize(mask, size) for mask in masks.double().numpy()])
    powers = np.exp(logits - logits.max(0))
    sums = added(powers / powers.sum(0), merged)
    clear = np.subtract(*np.sort(sums, axis=0)[-1:-3:-1]) > SLACK
    ids = sums.argmax(0)
    found = ours.semantic().ids.numpy()
    np.testing.assert_array_equal(found[clear], np.where(ids == 3, 255, ids)[clear])
    assert set(found.ravel().tolist()) == {0, 1, 2, 255}
    parts = ours.panoptic(0.0).segments
    by_name = {part.name: part.score for part in parts if not part.is_thing}
    for label in (0, 2):
        expected = sums[label][ids == label].mean()
        assert by_name[groups.names[label]] == pytest.approx(expected, abs=1e-3)
