"""The losses: values against plain formulas, and what they teach."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from tests.train.test_matcher import stripes, targets
from torch import Tensor

from triptych.data.targets import Targets
from triptych.networks.contract import DenseMasks, Prediction
from triptych.train.criterion import CROWD, SetCriterion
from triptych.train.matcher import Matcher
from triptych.truth import IGNORE


def criterion(**arguments: object) -> SetCriterion:
    """A criterion with unit weights unless given."""
    settings = {"classification": 1.0, "mask": 1.0, "dice": 1.0, "points": 2000} | arguments
    return SetCriterion(Matcher(points=500), **settings)  # type: ignore[arg-type]


def right(truth: Tensor, class_ids: list[int], classes: int, queries: int) -> Prediction:
    """A prediction that is right about everything: query ``i`` has segment ``i``."""
    logits = torch.full((1, queries, *truth.shape[1:]), -20.0)
    logits[0, : len(truth)] = torch.where(truth, 20.0, -20.0)
    labels = torch.full((1, queries, classes + 1), -20.0)
    labels[0, len(truth) :, classes] = 20
    for query, class_id in enumerate(class_ids):
        labels[0, query, class_id] = 20
    return Prediction.from_logits(logits, labels)


def test_a_perfect_prediction_costs_almost_nothing_and_each_mistake_its_own_term() -> None:
    truth, ids = stripes(3), [0, 2, 1]
    labels = targets(ids, truth, torch.tensor(ids)[truth.float().argmax(0)])
    loss = criterion(semantic=1.0)
    good = right(truth, ids, 3, 5)
    assert good.class_logits is not None
    wrong_class = dataclasses.replace(good, class_logits=good.class_logits.roll(1, -1))
    wrong_mask = dataclasses.replace(good, masks=DenseMasks(-good.mask_logits))
    perfect, other_class, other_mask = (
        {term: value.item() for term, value in loss(p, [labels]).items()}
        for p in (good, wrong_class, wrong_mask)
    )
    # Points are drawn to the edges of a mask, where even the right one is unsure.
    assert perfect["class"] < 1e-3
    assert perfect["mask"] < 0.5
    assert perfect["dice"] < 0.3
    assert perfect["semantic"] < 0.1
    assert other_class["class"] > 5
    assert other_class["mask"] == pytest.approx(perfect["mask"], abs=0.1)
    assert other_mask["mask"] > 2
    assert other_mask["dice"] > 2 * perfect["dice"]
    assert other_mask["semantic"] > 1


def test_class_loss_is_the_weighted_cross_entropy() -> None:
    truth = stripes(1)
    prediction = Prediction.from_logits(
        torch.full((1, 2, 16, 16), 5.0), torch.tensor([[[2.0, 1.0], [0.5, 0.0]]])
    )
    prediction.mask_logits[0, 1] = -5
    value = criterion(no_object=0.1)(prediction, [targets([0], truth)])["class"].item()
    matched = math.log(1 + math.exp(-1.0))  # query 0 is class 0
    unmatched = math.log(1 + math.exp(0.5))  # query 1 is "no object"
    assert value == pytest.approx((matched + 0.1 * unmatched) / 1.1, rel=1e-5)


def test_a_double_is_no_object_with_a_weight_of_its_own() -> None:
    truth = stripes(2)
    logits = torch.where(truth[[0, 0, 0, 1, 1]], 5.0, -5.0)[None]
    logits[0, 1, :, 10:] = -5  # query 1 holds most of what query 0 holds
    logits[0, 2, :, 6:] = -5  # query 2 holds less than half
    logits[0, 4] = -5  # query 4 holds nothing
    classes = torch.zeros(1, 5, 3)
    classes[0, 0, 0] = classes[0, 3, 1] = 3.0  # so these two are matched
    labels = targets([0, 1], truth)
    loss = criterion(no_object=0.1, double=0.7)
    value = loss(Prediction.from_logits(logits, classes), [labels])["class"].item()
    matched, unmatched = math.log(1 + 2 * math.exp(-3.0)), math.log(3)
    assert value == pytest.approx((2 * matched + 0.9 * unmatched) / 2.9, rel=1e-5)

    # What has a query of its own cannot have a double: free queries are not for it.
    loss.matcher.own_query = {0: 0}
    loss.matcher.fixed = (0,)
    value = loss(Prediction.from_logits(logits, classes), [labels])["class"].item()
    assert value == pytest.approx((2 * matched + 0.3 * unmatched) / 2.3, rel=1e-5)


def test_mask_losses_equal_those_on_all_pixels_where_logits_are_constant() -> None:
    # With constant logits every point says the same, so sampling cannot matter.
    truth = torch.ones(1, 16, 16, dtype=torch.bool)
    prediction = Prediction.from_logits(torch.full((1, 1, 8, 8), 0.7), torch.zeros(1, 1, 2))
    losses = criterion(points=100)(prediction, [targets([0], truth)])
    chance = 1 / (1 + math.exp(-0.7))
    assert losses["mask"].item() == pytest.approx(-math.log(chance), rel=1e-5)
    dice = 1 - (2 * 100 * chance + 1) / (100 * chance + 100 + 1)
    assert losses["dice"].item() == pytest.approx(dice, rel=1e-5)


def test_semantic_loss_is_the_likelihood_of_the_reading() -> None:
    classes = torch.tensor([[[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    prediction = Prediction.from_logits(torch.tensor([[[[1.0]], [[-0.5]]]]), classes)
    semantic = torch.ones((4, 4), dtype=torch.long)
    labels = targets([], torch.zeros((0, 4, 4), dtype=torch.bool), semantic)
    value = criterion(semantic=1.0, points=10)(prediction, [labels])["semantic"].item()
    shares = classes[0].softmax(-1)[:, :2]
    reading = (torch.tensor([1.0, -0.5]).sigmoid()[:, None] * shares).sum(0)
    assert value == pytest.approx(-math.log((reading[1] / reading.sum()).item()), rel=1e-4)


def test_class_weights_shift_the_semantic_loss_between_classes() -> None:
    prediction = Prediction.from_logits(
        torch.zeros(1, 2, 4, 4), torch.tensor([[[2.0, 0.0, 0.0]] * 2])
    )
    semantic = torch.zeros(4, 4, dtype=torch.long)
    semantic[2:] = 1
    labels = [targets([], torch.zeros((0, 4, 4), dtype=torch.bool), semantic)]

    def value(weights: tuple[float, ...]) -> float:
        torch.manual_seed(0)
        return criterion(semantic=1.0, class_weights=weights)(prediction, labels)["semantic"].item()

    assert value((1.0, 9.0)) > value((1.0, 1.0)) > value((9.0, 1.0))


def test_ambiguous_regions_have_less_say_in_the_semantic_loss() -> None:
    unsure, _ = left_half_ambiguous()
    semantic = torch.where(unsure.ambiguous[0], 0, 1)
    labels = [dataclasses.replace(unsure, semantic=semantic)]
    # Right on the right half, wrong on the ambiguous left one.
    prediction = Prediction.from_logits(
        torch.zeros(1, 1, 16, 16), torch.tensor([[[-3.0, 3.0, -9.0]]])
    )

    def value(ambiguous: float) -> float:
        losses = criterion(semantic=1.0, ambiguous=ambiguous)(prediction, labels)
        return losses["semantic"].item()

    wrong, right = -F.logsigmoid(torch.tensor(-6.0)).item(), -F.logsigmoid(torch.tensor(6.0)).item()
    assert value(1.0) == pytest.approx((wrong + right) / 2, rel=0.1)
    assert value(0.25) == pytest.approx((0.25 * wrong + right) / 1.25, rel=0.15)
    assert value(0.0) == pytest.approx(right, rel=0.01)


def test_unknown_pixels_teach_nothing() -> None:
    truth = stripes(2)
    semantic = torch.where(truth[0], 0, 1)
    semantic[:, 8:] = IGNORE
    labels = targets([0, 1], truth, semantic)
    logits = torch.randn(1, 3, 16, 16, requires_grad=True)
    prediction = Prediction.from_logits(logits, torch.zeros(1, 3, 3))
    sum(criterion(semantic=1.0)(prediction, [labels]).values()).backward()
    assert logits.grad is not None
    assert logits.grad[..., :8].abs().max() > 0
    assert logits.grad[..., 9:].abs().max() == 0  # column 8 is read by points just left of it


def in_region(logits: Tensor, labels: Targets) -> tuple[Tensor, Tensor]:
    """Gradients on the classes ``(N, K+1)`` and masks ``(N, h, w)`` of a prediction without a
    class preference."""
    masks = logits.clone().requires_grad_()
    classes = torch.zeros(1, logits.shape[1], 3, requires_grad=True)
    torch.stack(
        list(criterion()(Prediction.from_logits(masks, classes), [labels]).values())
    ).sum().backward()
    assert classes.grad is not None
    assert masks.grad is not None
    return classes.grad[0], masks.grad[0]


def left_half_ambiguous() -> tuple[Targets, Targets]:
    """An image whose left half may hold several objects of class 0, and one with nothing."""
    region = torch.zeros(1, 16, 16, dtype=torch.bool)
    region[0, :, :8] = True
    plain = targets([], torch.zeros((0, 16, 16), dtype=torch.bool))
    return dataclasses.replace(
        plain, ambiguous=region, ambiguous_class_ids=torch.tensor([0])
    ), plain


def test_one_query_learns_an_ambiguous_regions_class_and_others_in_it_are_left_alone() -> None:
    unsure, plain = left_half_ambiguous()
    logits = torch.full((1, 3, 16, 16), -9.0)
    logits[0, 0, :, :8] = 9  # fills the region
    logits[0, 1, :8, :8] = 9  # lies in it
    logits[0, 2, :, 8:] = 9  # lies elsewhere
    classes, _ = in_region(logits, unsure)
    assert classes[0, 0] < 0  # towards class 0
    assert classes[1].abs().sum() == 0
    assert classes[2, 2] < 0  # towards "no object"
    assert (in_region(logits, plain)[0][:, 2] < 0).all()


def test_a_query_in_void_is_left_alone() -> None:
    truth = stripes(2)  # the second half is void: a class table leaves out what is there
    labels = targets([0], truth[:1], torch.where(truth[0], 0, IGNORE))
    masks = torch.stack([*torch.where(truth, 5.0, -5.0), torch.full((16, 16), -5.0)])[None]
    for inside, taught in ((1, False), (2, True)):  # in void, and without a pixel
        classes = torch.zeros(1, 3, 3, requires_grad=True)
        criterion()(Prediction.from_logits(masks, classes), [labels])["class"].backward()
        assert classes.grad is not None
        assert bool(classes.grad[0, inside].any()) is taught


def test_padding_is_no_void() -> None:
    truth = stripes(2)
    labels = targets([0], truth[:1], torch.where(truth[0], 0, IGNORE))
    labels = dataclasses.replace(labels, padding=truth[1])
    masks = torch.stack([*torch.where(truth, 5.0, -5.0)])[None]
    classes = torch.zeros(1, 2, 3, requires_grad=True)
    criterion()(Prediction.from_logits(masks, classes), [labels])["class"].backward()
    assert classes.grad is not None
    assert classes.grad[0, 1].any(), "nothing is there, and the query learns it"


def test_no_object_means_none_of_the_labelled_classes_where_some_are_not() -> None:
    truth = stripes(1)
    labels = dataclasses.replace(targets([0], truth), unlabelled=torch.tensor([1, 3]))
    masks = torch.full((1, 2, 16, 16), 5.0)
    masks[0, 1] = -5
    classes = torch.randn(1, 2, 5, requires_grad=True, generator=torch.Generator().manual_seed(0))
    value = criterion(no_object=0.1)(Prediction.from_logits(masks, classes), [labels])["class"]
    chances = classes[0].softmax(-1)
    expected = -chances[0, 0].log() - 0.1 * (chances[1, 1] + chances[1, 3] + chances[1, 4]).log()
    assert value.item() == pytest.approx(expected.item() / 1.1, rel=1e-5)
    value.backward()
    assert classes.grad is not None
    down, up = classes.grad[0, 1, [0, 2]], classes.grad[0, 1, [1, 3, 4]]
    assert (down > 0).all(), "it is not one of the labelled classes"
    assert (up < 0).all(), "it may be one of the others"


def test_ambiguous_regions_may_be_left_to_nobody() -> None:
    unsure, _ = left_half_ambiguous()
    matcher = Matcher(points=500, ambiguous=False)
    prediction = Prediction.from_logits(torch.randn(1, 4, 16, 16), torch.randn(1, 4, 4))
    ((_, segments),) = matcher(prediction, [unsure])
    assert segments.tolist() == list(range(len(unsure.class_ids)))


def test_a_query_over_several_ambiguous_regions_is_no_object() -> None:
    regions = torch.zeros(2, 16, 16, dtype=torch.bool)
    regions[0, :, :6] = regions[1, :, 10:] = True
    plain = targets([], torch.zeros((0, 16, 16), dtype=torch.bool))
    labels = dataclasses.replace(plain, ambiguous=regions, ambiguous_class_ids=torch.tensor([0, 0]))
    logits = torch.full((1, 3, 16, 16), -9.0)
    logits[0, 0, :, :6] = logits[0, 1, :, 10:] = 9
    logits[0, 2] = torch.where(regions.any(0), 9.0, -9.0)
    classes, _ = in_region(logits, labels)
    assert classes[0, 0] < 0
    assert classes[1, 0] < 0
    assert classes[2, 2] < 0


def test_a_mask_is_free_inside_its_ambiguous_region_and_punished_outside() -> None:
    unsure, _ = left_half_ambiguous()
    _, masks = in_region(torch.zeros(1, 1, 16, 16), unsure)
    assert masks[0, :, :7].abs().max() == 0  # points in column 7 read column 8 as well
    assert masks[0, :, 9:].max() > 0
    assert masks[0, :, 9:].min() >= 0


def test_a_query_without_pixels_is_no_object_wherever_what_little_there_is_lies() -> None:
    unsure, _ = left_half_ambiguous()
    logits = torch.full((1, 2, 16, 16), -9.0)
    logits[0, 0, :, :8] = 9  # fills the region, and is matched with it
    logits[0, 1, :, :8] = -2  # all of its little mass lies in the region
    classes, _ = in_region(logits, unsure)
    assert classes[1, 2] < 0


def crowded(semantic: float, for_all: bool = False) -> tuple[SetCriterion, Targets]:
    """Query 0 for the crowds of class 2, query 1 for class 0 alone, the others free."""
    truth, ids = stripes(3), [0, 2, 1]
    matcher = Matcher(points=500, crowd_query=(2,), own_query=(0,))
    labels = targets(ids, truth, torch.tensor(ids)[truth.float().argmax(0)])
    loss = SetCriterion(
        matcher,
        points=500,
        classification=1 - semantic,
        mask=0,
        dice=0,
        semantic=semantic,
        semantic_for_all=for_all,
    )
    return loss, labels


def test_a_crowd_query_learns_its_class_by_less_than_half_whatever_is_in_the_image() -> None:
    loss, labels = crowded(0.0)
    classes = torch.zeros(1, 5, 4, requires_grad=True)
    for _ in range(400):
        (step,) = torch.autograd.grad(
            sum(
                loss(Prediction.from_logits(torch.zeros(1, 5, 16, 16), classes), [labels]).values()
            ),
            classes,
        )
        classes = (classes - 5 * step).detach().requires_grad_()
    learnt = classes.softmax(-1)[0, 0]
    assert learnt[2].item() == pytest.approx(CROWD, abs=0.01)
    assert learnt[3].item() == pytest.approx(1 - CROWD, abs=0.01)


def test_where_there_are_crowd_queries_the_semantic_loss_leaves_free_queries_alone() -> None:
    loss, labels = crowded(1.0)
    masks = torch.zeros(1, 5, 16, 16, requires_grad=True)
    classes = torch.zeros(1, 5, 4, requires_grad=True)
    sum(loss(Prediction.from_logits(masks, classes), [labels]).values()).backward()
    assert masks.grad is not None
    assert classes.grad is not None
    for gradient in (masks.grad, classes.grad):
        assert gradient[0, :2].abs().sum() > 0
        assert not gradient[0, 2:].any()
    loss, labels = crowded(1.0, for_all=True)
    sum(loss(Prediction.from_logits(masks, classes), [labels]).values()).backward()
    assert masks.grad[0, 2:].any()


@pytest.mark.parametrize("for_all", [False, True])
def test_what_free_queries_find_is_missing_in_the_crowds_class_map_all_the_same(
    for_all: bool,
) -> None:
    loss, labels = crowded(1.0, for_all)
    nothing = Prediction.from_logits(torch.full((1, 5, 16, 16), -9.0), torch.zeros(1, 5, 4))
    found = Prediction.from_logits(nothing.mask_logits.clone(), torch.zeros(1, 5, 4))
    found.mask_logits[0, 2] = torch.where(labels.semantic == 2, 9.0, -40.0)
    assert found.class_logits is not None
    found.class_logits[0, 2, 2] = 9  # a free query holds the things
    torch.manual_seed(0)
    missing = loss(nothing, [labels])["semantic"].item()
    torch.manual_seed(0)
    still_missing = loss(found, [labels])["semantic"].item()
    if for_all:
        assert still_missing < missing
    else:
        assert still_missing == pytest.approx(missing)


def test_every_layer_adds_its_losses() -> None:
    truth = stripes(2)
    last = Prediction.from_logits(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 4))
    labels = [targets([0, 1], truth)]
    one = criterion()(last, labels)
    three = criterion()(dataclasses.replace(last, auxiliary=(last, last)), labels)
    assert three["class"].item() == pytest.approx(3 * one["class"].item(), rel=1e-5)
    assert three["mask"].item() == pytest.approx(3 * one["mask"].item(), rel=1e-5)


def test_weights_scale_the_terms() -> None:
    truth = stripes(2)
    prediction = Prediction.from_logits(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 4))
    labels = [targets([0, 1], truth)]
    torch.manual_seed(0)
    one = criterion()(prediction, labels)
    torch.manual_seed(0)
    other = criterion(dice=3.0)(prediction, labels)
    assert other["mask"].item() == pytest.approx(one["mask"].item())
    assert other["dice"].item() == pytest.approx(3 * one["dice"].item(), rel=1e-5)


def test_masks_are_normalised_by_the_segments_of_all_processes() -> None:
    truth = stripes(2)
    prediction = Prediction.from_logits(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 4))
    labels = [targets([0, 1], truth)]
    alone = criterion()(prediction, labels)["mask"].item()
    shared = criterion()(prediction, labels, lambda mine: mine * 2)["mask"].item()
    assert shared == pytest.approx(alone / 2, rel=1e-5)


def test_a_batch_without_any_object_still_reaches_every_output() -> None:
    nothing = targets([], torch.zeros((0, 8, 8), dtype=torch.bool), torch.zeros((8, 8)).long())
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    classes = torch.randn(2, 3, 5, requires_grad=True)
    losses = criterion(semantic=1.0)(Prediction.from_logits(logits, classes), [nothing, nothing])
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert torch.isfinite(total)
    assert logits.grad is not None
    assert classes.grad is not None
    assert classes.grad.abs().sum() > 0


def test_following_the_gradient_finds_the_segments() -> None:
    truth, ids = stripes(3), [0, 1, 1]
    semantic = torch.tensor(ids)[truth.float().argmax(0)]
    logits = torch.zeros(1, 6, 16, 16).normal_(0, 0.1).requires_grad_()
    classes = torch.zeros(1, 6, 3).normal_(0, 0.1).requires_grad_()
    optimiser = torch.optim.Adam([logits, classes], lr=0.2)
    loss = criterion(semantic=1.0, points=256)
    for _ in range(60):
        optimiser.zero_grad()
        terms = loss(Prediction.from_logits(logits, classes), [targets(ids, truth, semantic)])
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    best = classes[0].softmax(-1)
    kept = [q for q in range(6) if best[q].argmax() != 2]
    found = sorted(
        (best[q].argmax().item(), *(logits[0, q] > 0).nonzero().amin(0).tolist()) for q in kept
    )
    assert found == [(0, 0, 0), (1, 6, 0), (1, 11, 0)]
    assert F.one_hot(best[kept].argmax(-1), 3)[:, 2].sum() == 0
