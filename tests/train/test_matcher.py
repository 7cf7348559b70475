"""Hungarian matching: costs against plain loops, assignments against trying all of them."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from triptych.data.targets import Targets
from triptych.errors import TriptychError
from triptych.networks.contract import Prediction
from triptych.train.matcher import Matcher, pairwise_cross_entropy, pairwise_dice
from triptych.truth import IGNORE


def targets(class_ids: list[int], masks: Tensor, semantic: Tensor | None = None) -> Targets:
    """Segments without ambiguous regions."""
    size = masks.shape[-2:]
    return Targets(
        torch.tensor(class_ids, dtype=torch.long),
        masks,
        torch.zeros(size, dtype=torch.long) if semantic is None else semantic,
        torch.zeros((0, *size), dtype=torch.bool),
        torch.zeros(0, dtype=torch.long),
    )


def stripes(count: int, size: int = 16) -> Tensor:
    """``count`` horizontal stripes that part the image among them."""
    row = torch.arange(size)[:, None].expand(size, size) * count // size
    return torch.stack([row == index for index in range(count)])


def test_pairwise_costs_equal_plain_loops() -> None:
    logits, known = torch.randn(4, 50), (torch.rand(1, 50) > 0.3).float()
    truth = (torch.rand(3, 50) > 0.5).float()
    entropy, dice = (
        pairwise_cross_entropy(logits, truth, known),
        pairwise_dice(logits, truth, known),
    )
    count = known.sum().item()
    for n, t in itertools.product(range(4), range(3)):
        total, overlap, mine, theirs = 0.0, 0.0, 0.0, 0.0
        for p in range(50):
            if known[0, p]:
                chance = 1 / (1 + math.exp(-logits[n, p].item()))
                total -= math.log(chance if truth[t, p] else 1 - chance)
                overlap += chance * truth[t, p].item()
                mine += chance
                theirs += truth[t, p].item()
        assert entropy[n, t].item() == pytest.approx(total / count, rel=1e-5)
        expected = 1 - (2 * overlap + 1) / (mine + theirs + 1)
        assert dice[n, t].item() == pytest.approx(expected, rel=1e-5)


def test_the_assignment_is_the_cheapest_of_all() -> None:
    truth = stripes(3, 48)
    # Wide stripes of one value each: points tell nearly the same as all pixels do.
    logits = (torch.randn(1, 5, 3, 1, 1) * truth.float()).sum(2)
    classes = torch.randn(1, 5, 4)
    matcher = Matcher(points=4096)
    ((query, segment),) = matcher(
        Prediction.from_logits(logits, classes), [targets([0, 1, 2], truth)]
    )

    flat = logits[0].flatten(1)
    known = torch.ones(1, 48 * 48)
    cost = (
        -2 * classes[0].softmax(-1)[:, :3]
        + 5 * pairwise_cross_entropy(flat, truth.flatten(1).float(), known)
        + 5 * pairwise_dice(flat, truth.flatten(1).float(), known)
    )
    best = min(
        itertools.permutations(range(5), 3),
        key=lambda chosen: sum(cost[q, t].item() for t, q in enumerate(chosen)),
    )
    found = dict(zip(segment.tolist(), query.tolist(), strict=True))
    assert found == dict(enumerate(best))


def test_each_cost_decides_when_the_others_are_off() -> None:
    truth = stripes(2)
    logits = torch.where(truth, 6.0, -6.0)[None]
    classes = torch.tensor([[[0.0, 9.0, 0.0], [9.0, 0.0, 0.0]]])  # query 0 says 1, query 1 says 0
    prediction, labels = Prediction.from_logits(logits, classes), [targets([0, 1], truth)]
    by_class = Matcher(classification=1, mask=0, dice=0, points=200)(prediction, labels)
    by_mask = Matcher(classification=0, mask=1, dice=0, points=200)(prediction, labels)
    by_dice = Matcher(classification=0, mask=0, dice=1, points=200)(prediction, labels)
    assert [t.tolist() for t in by_class[0]] == [[0, 1], [1, 0]]
    assert [t.tolist() for t in by_mask[0]] == [[0, 1], [0, 1]]
    assert [t.tolist() for t in by_dice[0]] == [[0, 1], [0, 1]]


def test_void_pixels_have_no_say() -> None:
    truth = stripes(2)
    semantic = torch.where(truth[0], 0, 1)
    semantic[:, 8:] = IGNORE
    # Both queries fit both stripes on the known left half equally badly, except where noted.
    logits = torch.where(truth, 6.0, -6.0)
    logits[:, :, 8:] = torch.where(truth.flip(0), 60.0, -60.0)[:, :, 8:]  # wrong, loudly, in void
    matcher = Matcher(classification=0, points=500)
    ((query, segment),) = matcher(
        Prediction.from_logits(logits[None], torch.zeros(1, 2, 3)),
        [targets([0, 1], truth, semantic)],
    )
    assert query.tolist() == segment.tolist()


def test_an_image_without_segments_matches_nothing_and_more_segments_than_queries_match_some() -> (
    None
):
    matcher = Matcher(points=50)
    prediction = Prediction.from_logits(torch.randn(2, 3, 8, 8), torch.randn(2, 3, 5))
    empty = targets([], torch.zeros((0, 8, 8), dtype=torch.bool))
    crowded = targets([0, 1, 2, 3], stripes(4, 8))
    (none, _), (some, chosen) = matcher(prediction, [empty, crowded])
    assert len(none) == 0
    assert sorted(some.tolist()) == [0, 1, 2]
    assert len(set(chosen.tolist())) == 3


def test_own_queries_answer_for_their_class_and_for_nothing_else() -> None:
    truth = stripes(4)
    matcher = Matcher(points=100, own_query=(2, 0))
    prediction = Prediction.from_logits(torch.randn(1, 4, 16, 16), torch.randn(1, 4, 5))
    ((query, segment),) = matcher(prediction, [targets([0, 1, 2, 3], truth)])
    found = dict(zip(segment.tolist(), query.tolist(), strict=True))
    assert found[2] == 0  # class 2 owns query 0, class 0 owns query 1
    assert found[0] == 1
    assert {found[1], found[3]} == {2, 3}


def test_crowd_queries_are_matched_with_nothing_and_stand_before_own_queries() -> None:
    matcher = Matcher(points=100, own_query=(2, 0), crowd_query=(1,))
    assert matcher.fixed == (0, 1, 2)
    prediction = Prediction.from_logits(torch.randn(1, 5, 16, 16), torch.randn(1, 5, 5))
    ((query, segment),) = matcher(prediction, [targets([0, 1, 2, 3], stripes(4))])
    found = dict(zip(segment.tolist(), query.tolist(), strict=True))
    assert found[2] == 1
    assert found[0] == 2
    assert {found[1], found[3]} == {3, 4}


def test_regions_of_classes_with_a_crowd_query_are_matched_with_nothing() -> None:
    matcher = Matcher(points=100, crowd_query=(1,))
    plain = targets([2], stripes(3)[:1])
    labels = dataclasses.replace(
        plain, ambiguous=stripes(3)[1:], ambiguous_class_ids=torch.tensor([1, 0])
    )
    assert matcher.answerable(labels).tolist() == [True, False, True]
    prediction = Prediction.from_logits(torch.randn(1, 5, 16, 16), torch.randn(1, 5, 5))
    ((_, segment),) = matcher(prediction, [labels])
    assert sorted(segment.tolist()) == [0, 2]


def test_a_sure_class_without_a_mask_does_not_win_where_classes_count_by_their_masks() -> None:
    truth = torch.zeros(1, 32, 32, dtype=torch.bool)
    truth[0, 4:8, 4:8] = True  # small, so that leaving it out costs little
    seen = torch.where(truth, 3.0, -3.0)
    seen[0, :, 8:] = -1.5  # found, with something of a haze about it
    masks = torch.cat((torch.full_like(seen, -8.0), seen))[None]
    classes = torch.tensor([[[9.0, 0.0], [-1.5, 0.0]]])
    weights = {"classification": 4.0, "points": 20000}
    for aligned, winner in ((False, 0), (True, 1)):
        matcher = Matcher(aligned=aligned, **weights)  # type: ignore[arg-type]
        ((query, _),) = matcher(Prediction.from_logits(masks, classes), [targets([0], truth)])
        assert query.tolist() == [winner]


def test_an_own_query_without_its_class_stays_free() -> None:
    matcher = Matcher(points=100, own_query=(0, 1))
    prediction = Prediction.from_logits(torch.randn(1, 3, 16, 16), torch.randn(1, 3, 4))
    # Three segments of other classes, but only one query that may take them.
    ((query, segment),) = matcher(prediction, [targets([2, 2, 2], stripes(3))])
    assert query.tolist() == [2]
    assert len(segment) == 1


@pytest.mark.parametrize("term", ["class", "mask"])
def test_a_cost_that_is_not_finite_names_the_image_and_the_term(term: str) -> None:
    logits, classes = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4)
    (classes if term == "class" else logits)[1, 0] = float("nan")
    labels = [targets([0], torch.ones(1, 8, 8, dtype=torch.bool))] * 2
    with pytest.raises(TriptychError, match=f"the {term} cost of image 1 of the batch"):
        Matcher(points=20)(Prediction.from_logits(logits, classes), labels)


def test_half_precision_logits_are_matched_in_full_precision() -> None:
    truth = stripes(3)
    logits, classes = torch.randn(1, 4, 16, 16).bfloat16(), torch.randn(1, 4, 4).bfloat16()
    torch.manual_seed(3)
    half = Matcher()(Prediction.from_logits(logits, classes), [targets([0, 1, 2], truth)])
    torch.manual_seed(3)
    full = Matcher()(
        Prediction.from_logits(logits.float(), classes.float()), [targets([0, 1, 2], truth)]
    )
    assert [t.tolist() for t in half[0]] == [t.tolist() for t in full[0]]
