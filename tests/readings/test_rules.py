"""Each rule and threshold of the readings on masks small enough to see the answer."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tests.readings.cases import classes, flat

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings.outcome import Outcome
from triptych.readings.settings import ReadingSettings

IN, OUT = 9.0, -9.0
NOTHING = [0.02, 0.02, 0.02, 0.02, 0.92]


def sure(label: int, probability: float = 0.96) -> list[float]:
    """Class probabilities of four classes and "no object" with one peak."""
    rest = (1 - probability) / 4
    return [probability if k == label else rest for k in range(5)]


def stripe(start: int, stop: int, length: int = 10, inside: float = IN) -> list[list[float]]:
    """One row of pixels, inside from ``start`` to ``stop``."""
    return [[inside if start <= x < stop else OUT for x in range(length)]]


ROAD, CAR, SKY, PERSON = range(4)


def test_readings_of_one_scene():
    masks = flat(
        [stripe(0, 6), stripe(5, 8), stripe(8, 10), stripe(0, 3)],
        [sure(ROAD), sure(CAR, 0.99), sure(SKY), NOTHING],
    )
    assert masks.semantic().ids.tolist() == [[ROAD] * 5 + [CAR] * 3 + [SKY] * 2]
    panoptic = masks.panoptic()
    assert panoptic.ids.tolist() == [[1] * 5 + [2] * 3 + [3] * 2]
    assert [(s.name, s.is_thing, s.area) for s in panoptic.segments] == [
        ("road", False, 5),
        ("car", True, 3),
        ("sky", False, 2),
    ]
    (car,) = masks.instances()
    assert (car.name, car.box) == ("car", (5.0, 0.0, 8.0, 1.0))
    assert car.score == pytest.approx(0.99, abs=1e-3)


def test_semantic_adds_up_what_queries_say():
    # Two doubtful queries for the car outweigh a surer one for the road.
    masks = flat([stripe(0, 10)] * 3, [sure(CAR, 0.5), sure(CAR, 0.5), sure(ROAD, 0.7)])
    assert masks.semantic().ids.unique().tolist() == [CAR]


def test_semantic_counts_no_object_only_as_lost_weight():
    # "No object" is likelier than any class, and still the pixel gets the class.
    masks = flat([stripe(0, 10)], [[0.05, 0.05, 0.2, 0.05, 0.65]])
    assert masks.semantic().ids.unique().tolist() == [SKY]


def test_equal_totals_go_to_the_first_class_and_equal_values_to_the_first_query():
    masks = flat([stripe(0, 10)] * 2, [sure(SKY), sure(ROAD)])
    assert masks.semantic().ids.unique().tolist() == [ROAD]
    twins = flat([stripe(0, 10)] * 2, [sure(CAR), sure(CAR)])
    assert twins.explain().panoptic == {Outcome.KEPT: 1, Outcome.NO_PIXEL: 1}
    first, second = flat([stripe(0, 4), stripe(4, 9)], [sure(CAR), sure(CAR)]).instances()
    assert first.box[0] < second.box[0]


@pytest.mark.parametrize(("threshold", "kept"), [(0.49, 1), (0.5, 0), (0.51, 0)])
def test_panoptic_needs_more_than_the_threshold(threshold, kept):
    half = [1e-30, 0.5, 1e-30, 1e-30, 0.5]  # "no object" is as likely: exactly one half
    masks = flat([stripe(2, 5)], [half])
    assert len(masks.panoptic(threshold).segments) == kept
    assert (masks.panoptic(threshold).ids > 0).sum() == 3 * kept


@pytest.mark.parametrize(("threshold", "kept"), [(0.49, 1), (0.5, 1), (0.51, 0)])
def test_instances_need_the_threshold(threshold, kept):
    assert len(promptable([stripe(2, 5)], [0.5]).instances(threshold)) == kept


@pytest.mark.parametrize(("overlap", "kept"), [(0.54, 2), (0.55, 2), (0.56, 1), (0.0, 2), (1.0, 1)])
def test_overlap_is_the_share_of_its_own_mask_that_a_segment_needs(overlap, kept):
    # The second mask has 100 pixels, of which the first one, being surer, takes 45.
    masks = flat(
        [stripe(0, 45, length=100), stripe(0, 100, length=100)], [sure(CAR, 0.99), sure(PERSON)]
    )
    result = masks.panoptic(overlap=overlap)
    assert [s.area for s in result.segments] == [45, 55][:kept]
    # Pixels of a failed segment are void: nobody inherits them.
    assert (result.ids == 0).sum() == (0 if kept == 2 else 55)


def test_overlap_is_the_mask_sets_own_unless_it_is_told():
    masks = flat(
        [stripe(0, 45, length=100), stripe(0, 100, length=100)], [sure(CAR, 0.99), sure(PERSON)]
    )
    assert len(masks.panoptic().segments) == 1
    lenient = dataclasses.replace(masks, readings=ReadingSettings(overlap=0.55))
    assert len(lenient.panoptic().segments) == 2
    assert lenient.explain().panoptic == {Outcome.KEPT: 2}
    assert len(lenient.panoptic(overlap=0.56).segments) == 1
    assert lenient.explain(lenient.readings.replace(overlap=0.56)).panoptic == {
        Outcome.KEPT: 1,
        Outcome.OVERLAP: 1,
    }


def test_overlap_counts_all_pixels_that_a_query_wins():
    # The second query's own pixels are 0 to 4. The first one takes three of them; of pixels 4 to
    # 10, where nobody is positive, the second wins all.
    weak = [[IN] * 4 + [-0.5] * 6]
    masks = flat([stripe(0, 3), weak], [sure(CAR, 0.99), sure(PERSON)])
    result = masks.panoptic(overlap=1.0)  # it wins 7 pixels, which are more than 4
    assert result.ids.tolist() == [[1] * 3 + [2] + [0] * 6]
    assert [s.area for s in result.segments] == [3, 1]
    assert masks.explain().panoptic == {Outcome.KEPT: 2}


def test_segments_get_the_pixels_that_they_win_if_the_checkpoint_says_so():
    weak = [[IN] * 4 + [-0.5] * 6]
    masks = flat(
        [stripe(0, 3), weak],
        [sure(CAR, 0.99), sure(PERSON)],
        readings=ReadingSettings(segment_pixels="won"),
    )
    result = masks.panoptic(overlap=1.0)
    assert result.ids.tolist() == [[1] * 3 + [2] * 7]
    assert [s.area for s in result.segments] == [3, 7]


@pytest.mark.parametrize("pixels", ["kept", "won"])
def test_a_query_without_own_pixels_has_no_segment(pixels):
    faint = [[-0.5] * 10]
    masks = flat(
        [stripe(0, 3), faint],
        [sure(CAR, 0.99), sure(PERSON)],
        readings=ReadingSettings(segment_pixels=pixels),
    )
    assert masks.panoptic(overlap=0.0).ids.tolist() == [[1] * 3 + [0] * 7]
    assert masks.explain(masks.readings.replace(overlap=0.0)).panoptic == {
        Outcome.KEPT: 1,
        Outcome.NO_PIXEL: 1,
    }


def test_class_scores_may_be_resized_in_place_of_masks():
    # Two input pixels, three image pixels. Halfway, the logits of the first query are +1 on
    # average, its probabilities 0.5: less than what the second has everywhere.
    masks = MaskSet(
        torch.tensor([[[-8.0, 10.0]], [[0.3, 0.3]]]),
        torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]),
        classes(2),
        Geometry((1, 2), (1, 2), (1, 3)),
    )
    assert masks.semantic().ids.tolist() == [[CAR, ROAD, ROAD]]
    scores = dataclasses.replace(masks, readings=ReadingSettings(semantic_resize="scores"))
    assert scores.semantic().ids.tolist() == [[CAR, CAR, ROAD]]


def test_a_winner_below_one_half_leaves_void_even_if_the_loser_is_above():
    masks = flat([[[-0.1]], [[0.1]]], [sure(CAR, 0.99), sure(PERSON, 0.85)])
    assert masks.panoptic().ids.tolist() == [[0]]


def test_a_logit_of_zero_is_inside_for_the_panoptic_and_outside_for_the_instance_reading():
    masks = flat([[[0.0, IN, OUT]]], [sure(CAR)])
    assert masks.panoptic().ids.tolist() == [[1, 1, 0]]
    assert masks.instances()[0].mask.tolist() == [[False, True, False]]


def test_a_logit_that_is_zero_between_two_cells_counts_alike():
    logits = torch.tensor([[[-3.0, 3.0, 3.0, -3.0]]])  # halved: both pixels lie midway
    score = torch.tensor([sure(CAR)]).log()
    masks = MaskSet(logits, score, classes(4), Geometry((1, 4), (1, 4), (1, 2)))
    assert masks.panoptic().ids.tolist() == [[1, 1]]
    assert masks.panoptic().segments[0].area == 2
    assert len(masks.instances()) == 0


def test_stuff_of_one_class_merges_and_things_do_not():
    halves = [stripe(0, 4), stripe(6, 10)]
    for scores in ([0.9, 0.95], [0.95, 0.9]):
        (road,) = flat(halves, [sure(ROAD, score) for score in scores]).panoptic().segments
        assert (road.id, road.area) == (1, 8)
        assert road.score == pytest.approx(0.95)
    one, two = flat(halves, [sure(CAR, 0.9), sure(CAR, 0.95)]).panoptic().segments
    assert (one.id, one.area, two.id, two.area) == (1, 4, 2, 4)


def test_ids_have_no_gaps_where_a_query_failed():
    masks = flat(
        [stripe(0, 10), stripe(0, 8), stripe(8, 10)],
        [sure(ROAD, 0.9), sure(CAR, 0.99), sure(PERSON, 0.99)],
    )
    result = masks.panoptic()
    assert [s.id for s in result.segments] == [1, 2]
    assert result.ids.unique().tolist() == [1, 2]


def test_no_query_kept_leaves_void_and_says_why():
    masks = flat([stripe(0, 10)] * 3, [NOTHING, NOTHING, sure(CAR, 0.4)])
    result = masks.panoptic()
    assert result.segments == ()
    assert not result.ids.any()
    assert len(masks.instances()) == 0
    explained = masks.explain()
    assert explained.panoptic == {Outcome.NO_OBJECT: 2, Outcome.LOW_SCORE: 1}
    assert explained.instances == {Outcome.NO_OBJECT: 2, Outcome.LOW_SCORE: 1}


def test_instances_multiply_the_class_score_by_how_sure_the_mask_is():
    masks = flat([stripe(0, 10, inside=1.0)], [sure(CAR, 0.9)])
    (car,) = masks.instances()
    assert car.score == pytest.approx(0.9 * torch.sigmoid(torch.tensor(1.0)).item())
    assert len(masks.instances(threshold=0.7)) == 0  # although the class score alone would do


def test_instances_are_ordered_by_the_final_score():
    vague, firm = stripe(0, 5, inside=1.0), stripe(5, 10)
    instances = flat([vague, firm], [sure(CAR, 0.95), sure(PERSON, 0.8)]).instances()
    assert [i.name for i in instances] == ["person", "car"]


def test_instances_take_the_top_pairs_before_they_drop_stuff():
    masks = flat([stripe(0, 5), stripe(5, 10)], [sure(ROAD), sure(CAR, 0.9)])
    assert len(masks.instances(top=2)) == 1
    assert len(masks.instances(top=1)) == 0
    assert masks.explain(masks.readings.replace(top=1)).instances == {
        Outcome.BEYOND_TOP: 1,
        Outcome.STUFF: 1,
    }


def test_an_instance_only_checkpoint_reads_all_classes():
    masks = flat(
        [stripe(0, 5), stripe(5, 10)],
        [sure(ROAD), sure(CAR)],
        readings=ReadingSettings(things_only=False),
    )
    assert {i.name for i in masks.instances()} == {"road", "car"}


def test_one_query_may_be_several_instances_that_share_a_mask():
    masks = flat([stripe(0, 5)], [[0.02, 0.45, 0.02, 0.44, 0.07]])
    car, person = masks.instances(threshold=0.3)
    assert (car.name, person.name) == ("car", "person")
    assert car.mask is person.mask
    assert len(masks.instances(threshold=0.445)) == 1


def test_instances_may_overlap_and_come_best_first():
    masks = flat([stripe(0, 8), stripe(2, 10)], [sure(CAR, 0.8), sure(PERSON, 0.9)])
    person, car = masks.instances()
    assert (person.name, car.name) == ("person", "car")
    assert (person.mask & car.mask).sum() == 6


def test_empty_masks_are_no_instances():
    masks = flat([stripe(0, 0)], [sure(CAR)])
    assert len(masks.instances(threshold=0.0)) == 0
    assert masks.explain().instances == {Outcome.NO_PIXEL: 1}


def test_instances_are_a_sequence():
    found = flat([stripe(0, 4), stripe(4, 9)], [sure(CAR), sure(CAR, 0.9)]).instances()
    assert [i.box for i in found] == [found[0].box, found[1].box]
    assert found[:1] == (found[0],)
    assert found[-1] is found[1]


def test_other_queries_may_decide_all_pixels_of_a_mask():
    masks = flat([stripe(0, 5), stripe(0, 10)], [sure(CAR, 0.5), sure(ROAD, 0.95)])
    assert masks.explain().semantic == {Outcome.KEPT: 1, Outcome.OUTVOTED: 1}


def promptable(masks, quality: list[float]) -> MaskSet:
    thing = Classes.of(["object"], things=["object"])
    return flat(masks, classes=thing, quality=torch.tensor(quality))


def test_promptable_masks_are_objects_scored_by_quality():
    masks = promptable([stripe(0, 4, inside=0.5), stripe(4, 10, inside=0.5)], [0.6, 0.9])
    best, other = masks.instances()
    assert best.name == "object"
    assert (best.score, other.score) == pytest.approx((0.9, 0.6))
    assert masks.offers == ("instances",)
    for reading in (masks.semantic, masks.panoptic):
        with pytest.raises(
            TriptychError, match=r"no classes.*no \w+ map of them; use instances\(\)"
        ):
            reading()
    with pytest.raises(TriptychError, match="no semantic and no panoptic map of them"):
        masks.require("semantic", "instances", "panoptic")
    explained = masks.explain()
    assert explained.semantic == explained.panoptic == {Outcome.NO_CLASS: 2}
    assert explained.instances == {Outcome.KEPT: 2}


def labeller(ids: list[list[int]], margin: float = 9.0, count: int = 4) -> MaskSet:
    table = torch.tensor(ids)
    logits = margin * torch.stack([(table == k).float() for k in range(count)])
    return flat(logits, competition="softmax", classes=classes(count))


def test_labeller_components_touch_at_corners():
    masks = labeller([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0]])
    found = masks.instances()
    assert found.source == "connected components"
    assert sorted(int(i.mask.sum()) for i in found) == [2, 2]
    panoptic = masks.panoptic()
    assert [(s.name, s.area) for s in panoptic.segments] == [("road", 8), ("car", 2), ("car", 2)]
    assert masks.explain().panoptic == {Outcome.KEPT: 2, Outcome.NO_PIXEL: 2}
    assert masks.explain().instances == {
        Outcome.KEPT: 1,
        Outcome.STUFF: 2,
        Outcome.NO_PIXEL: 1,
    }


def test_labeller_threshold_and_top_apply_to_components():
    masks = labeller([[1, 0, 1]], margin=1.0)  # softmax over 4: e / (e + 3) = 0.475
    assert len(masks.instances(threshold=0.47)) == 2
    assert len(masks.instances(threshold=0.47, top=1)) == 1
    assert len(masks.instances(threshold=0.48)) == 0
    assert len(masks.panoptic(threshold=0.47).segments) == 3
    assert masks.panoptic(threshold=0.48).segments == ()
    assert (
        masks.explain(masks.readings.replace(instance_threshold=0.48)).instances[Outcome.LOW_SCORE]
        == 1
    )


def test_labeller_scores_may_equal_the_threshold_of_instances_only():
    masks = labeller([[1, 0, 0]], margin=50.0)
    assert [i.score for i in masks.instances(threshold=1.0)] == [1.0]
    assert masks.panoptic(threshold=1.0).segments == ()


def test_labeller_that_does_not_know_stuff_splits_every_class():
    masks = dataclasses.replace(labeller([[0, 1, 0]]), readings=ReadingSettings(things_only=False))
    assert sorted(i.name for i in masks.instances()) == ["car", "road", "road"]


def test_padding_does_not_show():
    # The right half of the coarse grid lies in the padding, where the mask is strong.
    logits = torch.tensor([[[IN, OUT, IN, IN]]])
    score = torch.tensor([sure(CAR)]).log()
    geometry = Geometry((1, 8), (1, 4), (1, 4))
    masks = MaskSet(logits, score, classes(4), geometry)
    assert masks.panoptic().ids.tolist() == [[1, 1, 0, 0]]
    assert masks.instances()[0].box == (0.0, 0.0, 2.0, 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_named(value):
    good = flat([stripe(0, 5)], [sure(CAR)])
    bad_mask = dataclasses.replace(good, mask_logits=good.mask_logits * value)
    bad_class = dataclasses.replace(good, class_logits=good.class_logits * value)
    for reading in (MaskSet.semantic, MaskSet.instances, MaskSet.panoptic):
        with pytest.raises(TriptychError, match="mask_logits hold NaN"):
            reading(bad_mask)
        with pytest.raises(TriptychError, match="class_logits hold NaN"):
            reading(bad_class)


def test_settings_out_of_range_are_named():
    masks = flat([stripe(0, 5)], [sure(CAR)])
    with pytest.raises(TriptychError, match="threshold is 80; give a number from 0 to 1"):
        masks.panoptic(threshold=80)
    with pytest.raises(TriptychError, match="overlap is -1"):
        masks.panoptic(overlap=-1)
    with pytest.raises(TriptychError, match="threshold is nan"):
        masks.instances(threshold=float("nan"))
    with pytest.raises(TriptychError, match="top is 0"):
        masks.instances(top=0)


def test_an_explanation_reads_well():
    masks = flat([stripe(0, 5), stripe(5, 10)], [sure(ROAD), NOTHING])
    text = str(masks.explain())
    assert text.splitlines()[0] == "2 queries"
    assert "   1  its best class is stuff, this reading takes things" in text
