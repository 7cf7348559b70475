"""OneFormer as a network: encoded once, asked for each task."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.contract import Prompts, Task
from triptych.networks.decoders.task import TASKS
from triptych.networks.models.oneformer import OneFormer, oneformer
from triptych.segmenter import Segmenter

ARGUMENTS: dict[str, Any] = {
    "classes": 3,
    "backbone": "swin",
    "backbone_arguments": {"dim": 8, "depths": [1] * 4, "heads": [1, 1, 2, 2], "window": 4},
    "queries": 5,
    "dim": 32,
    "heads": 4,
    "feedforward": 32,
    "layers": 3,
    "query_layers": 1,
    "encoder_layers": 1,
    "encoder_feedforward": 32,
}


@pytest.fixture(scope="module")
def network() -> OneFormer:
    torch.manual_seed(0)
    return oneformer(**ARGUMENTS).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 64, 70, generator=torch.Generator().manual_seed(0))


def test_what_it_says_of_itself(network):
    assert network.competition == "independent"
    assert network.size_divisor == 32
    assert network.asks == {Task}


@torch.inference_mode()
def test_decoding_twice_from_one_encoding_gives_what_two_calls_give(network, pixels):
    features = network.encode(pixels)
    found = {task: network.decode(features, Task(task)) for task in TASKS}
    for task in reversed(TASKS):  # in another order: an answer depends on no earlier one
        wanted = network(pixels, Task(task))
        assert torch.equal(found[task].mask_logits, wanted.mask_logits)
        assert torch.equal(found[task].class_logits, wanted.class_logits)
    assert not torch.equal(found["semantic"].mask_logits, found["instance"].mask_logits)
    assert found["semantic"].mask_logits.shape == (2, 5, 16, 18)


@torch.inference_mode()
def test_without_an_ask_it_is_the_panoptic_task(network, pixels):
    features = network.encode(pixels)
    wanted = network.decode(features, Task("panoptic")).mask_logits
    assert torch.equal(network.decode(features).mask_logits, wanted)
    assert torch.equal(network(pixels).mask_logits, wanted)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (Task("depth"), "OneFormer has no task 'depth'; ask for semantic, instance or panoptic"),  # type: ignore[arg-type]
        (
            Prompts(points=torch.zeros(1, 1, 2), labels=torch.ones(1, 1)),
            r"OneFormer is asked for a Task \(semantic, instance or panoptic\), not with Prompts",
        ),
    ],
)
def test_what_it_does_not_understand_is_told_in_one_line(network, pixels, ask, words):
    features = network.encode(pixels)
    with pytest.raises(TriptychError, match=words) as caught:
        network.decode(features, ask)
    assert "\n" not in str(caught.value)


def test_a_query_beside_the_token_is_needed():
    with pytest.raises(TriptychError, match="queries is 1; OneFormer needs 2 or more"):
        oneformer(**ARGUMENTS | {"queries": 1})


def test_the_model_of_a_segmenter_is_asked():
    classes = Classes.of(["road", "car", "sky"], things=["car"])
    torch.manual_seed(0)
    model = oneformer(**ARGUMENTS)
    segmenter = Segmenter(model, Preprocess(), classes, family="oneformer", arguments=ARGUMENTS)
    picture = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    masks = segmenter(picture)
    pixels = segmenter.preprocess([picture]).pixels
    with torch.inference_mode():
        features = model.encode(pixels)
        panoptic = model.decode(features).mask_logits[0]
        instance = model.decode(features, Task("instance")).mask_logits[0]
    torch.testing.assert_close(masks.mask_logits, panoptic)
    assert not torch.allclose(masks.mask_logits, instance)
    assert masks.panoptic().ids.shape == (50, 70)


def test_the_defaults_are_those_of_the_paper():
    with torch.device("meta"):
        network = oneformer(classes=150)
    decoder = network.query_decoder
    assert decoder.masked.query_position.weight.shape == (150, 256)
    assert len(decoder.masked.layers) == 9
    assert len(decoder.query_transformer.layers) == 2
    assert len(network.pixel_decoder.encoder) == 6
    assert decoder.task_norm
