"""An encoded image: encoded once, asked often, from any thread, and refused where it must be."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from tests.tiny_model import (
    ColourModel,
    TaskModel,
    click_segmenter,
    colour_segmenter,
    tiny_segformer,
)

from triptych.errors import TriptychError
from triptych.segmenter import Segmenter
from triptych.windows.layout import Windows


def picture(height: int = 32, width: int = 48, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)


def held(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor


def asked_of(segmenter: Segmenter) -> Any:
    """What its network was asked, so far."""
    return segmenter.model.asked


def same(one, other) -> None:
    for name in ("mask_logits", "class_logits", "quality", "prompt"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b), name


def test_a_closed_network_gives_the_same_in_one_go_and_in_two_halves():
    segmenter = tiny_segformer()
    image = picture()
    encoded = segmenter.encode(image)
    same(encoded(), segmenter(image))
    same(encoded(), encoded())
    assert encoded().geometry == segmenter(image).geometry


def test_each_task_is_decoded_from_one_encoding():
    model = TaskModel()
    segmenter = colour_segmenter(model)
    image = picture()
    encoded = segmenter.encode(image)
    answers = {task: encoded(task=task) for task in ("semantic", "instance", "panoptic")}
    assert model.encoded == 1
    for task, masks in answers.items():
        same(masks, segmenter(image, task=task))
        assert masks.task == task
    assert not torch.equal(answers["semantic"].mask_logits, answers["instance"].mask_logits)
    same(segmenter(image), answers["panoptic"])
    assert encoded().task == segmenter(image).task == "panoptic"
    first, second = segmenter([image, picture(seed=1)], task="instance", batch_size=2)
    same(first, answers["instance"])
    same(second, segmenter(picture(seed=1), task="instance"))


def test_each_reading_has_its_own_task_where_all_are_read():
    model = TaskModel()
    segmenter = colour_segmenter(model)
    image = picture()
    (masks,) = segmenter.segment([image])
    assert model.encoded == 1
    alone = {task: segmenter(image, task=task) for task in ("semantic", "instance", "panoptic")}
    same(masks, alone["panoptic"])
    assert torch.equal(masks.semantic().ids, alone["semantic"].semantic().ids)
    assert torch.equal(masks.panoptic().ids, alone["panoptic"].panoptic().ids)
    found, wanted = masks.instances(0.1), alone["instance"].instances(0.1)
    assert [(i.name, i.score) for i in found] == [(i.name, i.score) for i in wanted]
    assert {i.name for i in found} != {i.name for i in alone["panoptic"].instances(0.1)}
    same(segmenter.for_readings(image), masks)
    assert masks.to("cpu").told("semantic").task == "semantic"
    windows = segmenter.segment_windows(image, Windows(24, 8))
    by_hand = segmenter(image, windows=Windows(24, 8), task="semantic")
    assert torch.equal(windows.semantic().ids, by_hand.semantic().ids)


def test_groups_hold_for_the_masks_of_every_task():
    segmenter = colour_segmenter(TaskModel())
    image = picture()
    few = segmenter.regroup({"warm": ["red"], "cold": ["green"]})
    (masks,) = few.segment([image])
    for task in ("semantic", "instance", "panoptic"):
        assert masks.told(task).classes.names == ("warm", "cold")
        same(masks.told(task), few.encode(image)(task=task))
    assert {one.name for one in masks.instances(0.0)} <= {"warm", "cold"}
    (plain,) = segmenter.segment([image])
    assert few.table is not None
    merged = few.table.regroup(segmenter.classes)
    same(plain.regrouped(merged).told("semantic"), masks.told("semantic"))


def test_a_task_goes_to_every_window():
    segmenter = colour_segmenter(TaskModel())
    image = picture(40, 60)
    windows = segmenter(image, windows=Windows(32, 8), task="semantic")
    assert len(windows.parts) > 1
    for window, part in zip(windows.windows, windows.parts, strict=True):
        assert part.task == "semantic"
        alone = segmenter(image[window.area], task="semantic")
        torch.testing.assert_close(part.mask_logits.float(), alone.mask_logits, atol=0.1, rtol=1e-3)


def test_prompts_arrive_in_pixels_of_the_networks_input():
    segmenter = click_segmenter()
    encoded = segmenter.encode(picture(96, 128))  # halved
    encoded(points=[[20, 40]], boxes=[10, 20, 60, 80])
    (ask,) = asked_of(segmenter)
    # The authors count pixels from 0, a network's input from the corner of the first one.
    torch.testing.assert_close(ask.points, torch.tensor([[[10.5, 20.5]]]))
    torch.testing.assert_close(ask.boxes, torch.tensor([[5.5, 10.5, 30.5, 40.5]]))
    assert ask.labels.tolist() == [[1]]


def test_a_click_has_three_answers_and_the_best_is_one():
    encoded = click_segmenter().encode(picture(64, 64))
    masks = encoded(points=[[32, 32]])
    assert held(masks.prompt).tolist() == [0, 0, 0]
    assert masks.offers == ("instances",)
    best = masks.best()
    assert held(best.quality).tolist() == pytest.approx([0.9])
    (found,) = best.instances()
    assert found.score == pytest.approx(0.9)
    # A disc of radius 12 around the point, which a grid of 4 pixels holds.
    assert found.mask[32, 32]
    assert found.mask[32, 42]
    assert not found.mask[32, 48]
    assert len(encoded(points=[[32, 32]], multimask=False)) == 1
    assert len(encoded(points=[[32, 32], [40, 32]], labels=[1, 0])) == 1
    assert len(encoded(boxes=[0, 0, 20, 20])) == 1
    assert len(encoded(boxes=[0, 0, 20, 20], multimask=True)) == 3
    with pytest.raises(TriptychError, match="answer no prompts"):
        colour_segmenter()(picture()).best()


def test_prompts_of_different_length_answer_as_each_alone_in_their_order():
    segmenter = click_segmenter()
    encoded, asked = segmenter.encode(picture(64, 64)), asked_of(segmenter)
    rows = [[[10, 10]], [[50, 20], [52, 20]], [[30, 50]]]
    marks = [[1], [1, 0], [1]]
    together = encoded(points=rows, labels=marks, multimask=True)
    assert held(together.prompt).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(asked) == 1, "they go through the network together"
    for number, (points, labels) in enumerate(zip(rows, marks, strict=True)):
        alone = encoded(points=points, labels=labels, multimask=True)
        mine = together.prompt == number
        torch.testing.assert_close(together.mask_logits[mine], alone.mask_logits)
        torch.testing.assert_close(held(together.quality)[mine], held(alone.quality))
    assert {one.prompt for one in together.best().instances(0.0)} == {0, 1, 2}
    assert held(together.best().prompt).tolist() == [0, 1, 2]
    # Without saying so: three answers only where every prompt is one click.
    assert len(encoded(points=rows, labels=marks)) == 3
    assert len(encoded(points=[rows[0], rows[2]])) == 6


def test_an_earlier_answer_is_refined_and_one_of_another_image_is_refused():
    segmenter = click_segmenter()
    encoded = segmenter.encode(picture(64, 64))
    earlier = encoded(points=[[32, 32]])
    assert earlier.image == encoded.image
    refined = encoded(points=[[32, 32], [36, 36]], mask=earlier.best())
    assert asked_of(segmenter)[-1].masks.shape == (1, 1, 16, 16)
    assert held(refined.quality).item() < 0.89
    # The same pixels, encoded anew, are the same image.
    again = segmenter.encode(picture(64, 64))
    same(again(points=[[32, 32], [36, 36]], mask=earlier.best()), refined)
    other = segmenter.encode(picture(64, 64, seed=1))
    with pytest.raises(TriptychError, match="another image"):
        other(points=[[32, 32]], mask=earlier.best())
    with pytest.raises(TriptychError, match="3 masks for 1 prompts"):
        encoded(points=[[32, 32]], mask=earlier)


def test_prompts_go_to_the_window_in_which_they_lie_deepest():
    segmenter = click_segmenter()
    image = picture(48, 96)
    points = [[[90, 20]], [[10, 20]], [[46, 20]]]
    found = segmenter(image, windows=Windows(48, 24), points=points)
    assert [held(part.prompt).unique().tolist() for part in found.parts] == [[1], [2], [0]]
    for window, part in zip(found.windows, found.parts, strict=True):
        left = window.area[1].start
        for number in held(part.prompt).unique().tolist():
            (x, y) = points[number][0]
            alone = segmenter(image[window.area], points=[[x - left, y]])
            torch.testing.assert_close(part.mask_logits, alone.mask_logits)
    best = found.best().instances()
    assert {one.prompt for one in best} == {0, 1, 2}
    # Two prompts about one thing have two answers, also from two windows.
    close = segmenter(image, windows=Windows(48, 24), points=[[[35, 20]], [[37, 20]]])
    assert len(close.windows) == 2
    assert len(close.best().instances()) == 2
    with pytest.raises(TriptychError, match="prompt 0 spans more than a window"):
        segmenter(image, windows=Windows(48, 24), boxes=[2, 2, 90, 40])


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"task": "panoptic"}, "does not take a task; its classes are fixed"),
        ({"points": [[1, 1]]}, "does not take points, boxes or masks; its classes are fixed"),
        ({"boxes": [0, 0, 2, 2]}, "does not take points, boxes or masks"),
    ],
)
def test_closed_networks_take_no_ask(ask, words):
    segmenter = tiny_segformer()
    for call in (segmenter.encode(picture()), lambda **ask: segmenter(picture(), **ask)):
        with pytest.raises(TriptychError, match=words):
            call(**ask)
    for owner in (segmenter, segmenter.encode(picture())):
        with pytest.raises(TriptychError, match="does not take other classes; its classes"):
            owner.with_classes(["bus lane"])


def test_others_say_what_they_understand():
    tasks, clicks = colour_segmenter(TaskModel()), click_segmenter()
    for owner in (lambda **ask: tasks(picture(), **ask), tasks.encode(picture())):
        with pytest.raises(TriptychError, match="no task is called 'all'; use semantic or inst"):
            owner(task="all")
        with pytest.raises(TriptychError, match="points, boxes or masks; it understands a task"):
            owner(points=[[1, 1]])
    for owner in (lambda **ask: clicks(picture(), **ask), clicks.encode(picture())):
        with pytest.raises(TriptychError, match="no prompt; give points=, boxes= or both"):
            owner()
        with pytest.raises(TriptychError, match="a task; it understands points, boxes and masks"):
            owner(task="semantic")
    with pytest.raises(TriptychError, match="there is no prompt"):
        clicks.segment([picture()])
    for wrong in ("no", 2, object()):
        with pytest.raises(TriptychError, match=r"multimask= is .*; give True or False"):
            clicks(picture(), points=[[1, 1]], multimask=wrong)  # type: ignore[call-overload]
    with pytest.raises(TriptychError, match=r"windows= is 200; give triptych.Windows"):
        clicks(picture(), points=[[1, 1]], windows=200)  # type: ignore[call-overload]
    with pytest.raises(TriptychError, match=r"batch_size is 1\.5"):
        tasks([picture()], batch_size=1.5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="takes no point=; it can be asked by task=, points="):
        clicks(picture(), point=[[1, 1]])  # type: ignore[call-overload]
    with pytest.raises(TriptychError, match="one image; give one, not a list"):
        clicks([picture()], points=[[1, 1]])
    with pytest.raises(TriptychError, match="ColourModel has no encode and decode"):
        colour_segmenter(ColourModel()).encode(picture())


def test_it_never_changes_says_its_size_and_is_freed_with_its_last_reference():
    segmenter = colour_segmenter(TaskModel())
    encoded = segmenter.encode(picture(32, 48))
    assert encoded.nbytes == 4 * (3 * 8 * 12 + 3)
    assert repr(encoded) == "EncodedImage(48x32, 0.0 MB)"
    with pytest.raises(FrozenInstanceError):
        encoded.image = ""  # type: ignore[misc]
    before = encoded.features.colours.clone()
    encoded(task="instance")
    assert torch.equal(encoded.features.colours, before)
    features = weakref.ref(encoded.features.colours)
    masks = encoded()
    del encoded
    gc.collect()
    assert features() is None
    assert masks.semantic().ids.shape == (32, 48)


def test_what_was_encoded_keeps_the_settings_of_its_time():
    segmenter = colour_segmenter(TaskModel())
    encoded = segmenter.encode(picture())
    segmenter.readings = segmenter.readings.replace(instance_threshold=0.9)
    assert encoded().readings.instance_threshold == 0.5
    assert segmenter(picture()).readings.instance_threshold == 0.9


def test_four_threads_with_different_asks_get_the_right_answers():
    clicks = click_segmenter().encode(picture(64, 64))
    tasks = colour_segmenter(TaskModel()).encode(picture())
    asks: list[tuple[Any, dict[str, Any]]]
    asks = [(clicks, {"points": [[x, 20]]}) for x in (5, 20, 35, 50)]
    asks += [(tasks, {"task": task}) for task in ("semantic", "instance", "panoptic")]
    wanted = [encoded(**ask) for encoded, ask in asks]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            found = threads.map(lambda pair: pair[0](**pair[1]), asks)
            for one, right in zip(found, wanted, strict=True):
                same(one, right)
