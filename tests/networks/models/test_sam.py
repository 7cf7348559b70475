"""Segment Anything as a network: what it answers, what it refuses, how large it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.networks.models.test_registry import SMALL

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.image.preprocess import Preprocess
from triptych.mask_set import MaskSet
from triptych.networks.contract import Prompts, Task
from triptych.networks.models.registry import build
from triptych.networks.models.sam import SAM, sam
from triptych.segmenter import Segmenter

PIXELS = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
ASK = Prompts(torch.tensor([[[10.0, 20.0]], [[50.5, 3.0]], [[33.0, 60.0]]]))


@pytest.fixture
def model() -> SAM:
    torch.manual_seed(0)
    built: Any = build("sam", **SMALL["sam"])
    return built.eval()


@pytest.mark.parametrize(("multimask", "each"), [(True, 3), (False, 1)])
@torch.inference_mode()
def test_masks_of_one_prompt_after_the_other(model, multimask, each):
    ask = Prompts(ASK.points, multimask=multimask)
    features = model.encode(PIXELS)
    assert features._fields == ("embedding",)
    assert features.embedding.shape == (1, 16, 4, 4)
    found = model.decode(features, ask)
    masks, quality = model.answer(features, ask)
    assert masks.shape == (3, each, 16, 16)
    assert found.mask_logits.shape == (1, 3 * each, 16, 16)
    for index, prompt in enumerate(found.prompt.tolist()):
        assert prompt == index // each
        assert torch.equal(found.mask_logits[0, index], masks[prompt, index % each])
        assert found.quality[0, index] == quality[prompt, index % each].clamp(0, 1)
    assert found.prompt.dtype == torch.int64
    assert found.class_logits is None


@torch.inference_mode()
def test_quality_is_kept_within_its_range(model):
    last = model.mask_decoder.quality[-1]
    last.bias.copy_(torch.tensor([0.0, 5.0, -5.0, 0.0]))
    features = model.encode(PIXELS)
    raw, clamped = model.answer(features, ASK)[1], model.decode(features, ASK).quality
    assert (raw[:, 0] > 1).all()
    assert (raw[:, 1] < 0).all()
    assert clamped.view(3, 3)[:, :2].tolist() == [[1.0, 0.0]] * 3


@torch.inference_mode()
def test_encoded_once_asked_often(model):
    features = model.encode(PIXELS)
    for ask in (ASK, Prompts(boxes=torch.tensor([[1.0, 2.0, 30.0, 40.0]]))):
        once, whole = model.decode(features, ask), model(PIXELS, ask)
        assert torch.equal(once.mask_logits, whole.mask_logits)


@torch.inference_mode()
def test_an_earlier_answer_is_a_mask_prompt(model):
    features = model.encode(PIXELS)
    earlier = model.decode(features, Prompts(ASK.points, multimask=False))
    refined = model.decode(
        features, Prompts(ASK.points, masks=earlier.mask_logits[0, :, None], multimask=False)
    )
    assert refined.mask_logits.shape == earlier.mask_logits.shape
    assert not torch.equal(refined.mask_logits, earlier.mask_logits)


@torch.inference_mode()
def test_its_masks_are_a_mask_set_of_objects(model):
    found = model(PIXELS, ASK)
    masks = MaskSet(
        found.mask_logits[0],
        None,
        Classes.of(["object"], things=["object"]),
        Geometry((64, 64), (64, 48), (128, 96)),
        quality=found.quality[0],
    )
    assert masks.offers == ("instances",)
    assert all(one.score <= 1 for one in masks.instances(threshold=0))


@pytest.mark.parametrize(
    ("count", "ask", "words"),
    [
        (1, None, "answers prompts and nothing else; ask it with points, boxes or both"),
        (1, Task("panoptic"), "answers prompts and nothing else"),
        (1, Prompts(), "there is no prompt; give points, boxes or both"),
        (2, ASK, "for one image, and these are the features of 2"),
    ],
)
def test_what_it_cannot_answer_is_told_in_one_line(model, count, ask, words):
    features = model.encode(PIXELS.expand(count, -1, -1, -1))
    with pytest.raises(TriptychError, match=words) as caught:
        model.decode(features, ask)
    assert "\n" not in str(caught.value)


def test_a_picture_without_a_prompt_is_refused(model):
    objects = Classes.of(["object"], things=["object"])
    segmenter = Segmenter(model, Preprocess(longest_edge=64), objects)
    assert segmenter.preprocess.size_divisor == 64
    with pytest.raises(TriptychError, match="there is no prompt; give points="):
        segmenter(torch.zeros(30, 40, 3, dtype=torch.uint8))


# Millions: vit_b, vit_l and vit_h with their decoder, as segment-anything's files hold them.
@pytest.mark.parametrize(("size", "millions"), [("b", 93.7), ("l", 312.3), ("h", 641.1)])
def test_parameters_of_the_published_sizes(size, millions):
    with torch.device("meta"):
        model = sam(size=size)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)
    assert model.size_divisor == 1024


def test_numbers_override_a_size():
    with torch.device("meta"):
        model = sam(size="l", depth=3, global_blocks=(), hidden=100)
    assert len(model.encoder.blocks) == 3
    assert {block.window for block in model.encoder.blocks} == {14}
    assert model.encoder.embed.out_channels == 1024
    first: Any = model.encoder.blocks[0]
    assert first.feedforward[0].out_features == 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": "xl"}, "no SAM size is called 'xl'; choose from b, l, h"),
        ({"classes": 3}, "masks of SAM are all of one class, and not 3; give 1"),
        ({"colour": "red"}, "cannot build sam: .*'colour'"),
    ],
)
def test_arguments_that_make_no_network(arguments, words):
    with pytest.raises(TriptychError, match=words):
        build("sam", **arguments)
