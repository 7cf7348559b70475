"""Every registered family is built, run, trained and saved: a new one is tested by its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.backbones.registry import BACKBONES, build_backbone
from triptych.networks.contract import Prompts
from triptych.networks.models.registry import FAMILIES, build
from triptych.segmenter import Segmenter, load

SMALL: dict[str, dict[str, Any]] = {
    "mask2former": {
        "backbone": "efficientnet_lite0",
        "queries": 7,
        "dim": 32,
        "heads": 4,
        "feedforward": 32,
        "layers": 2,
        "encoder_layers": 1,
        "encoder_feedforward": 32,
    },
    "maskformer": {
        "backbone": "efficientnet_lite0",
        "queries": 7,
        "pyramid_dim": 32,
        "mask_dim": 16,
        "dim": 32,
        "heads": 4,
        "feedforward": 32,
        "layers": 2,
    },
    "oneformer": {
        "backbone": "efficientnet_lite0",
        "queries": 7,
        "dim": 32,
        "heads": 4,
        "feedforward": 32,
        "layers": 2,
        "query_layers": 1,
        "encoder_layers": 1,
        "encoder_feedforward": 32,
    },
    "sam": {
        "dim": 16,
        "depth": 2,
        "heads": 2,
        "global_blocks": [1],
        "image_size": 64,
        "window": 3,
        "width": 16,
        "decoder_heads": 2,
        "decoder_feedforward": 24,
        "quality_hidden": 12,
    },
    "segformer": {"channels": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2]},
}
"""Arguments that make a family quick to test. One without an entry is tested with its defaults."""

CLASSES = Classes.of(["road", "car", "sky"], things=["car"])


PROMPTABLE = ("sam",)
"""Families that answer prompts and nothing else, about one class."""
UNASKED = tuple(family for family in FAMILIES if family not in PROMPTABLE)
"""Families that answer without being asked."""


@pytest.mark.parametrize("family", UNASKED)
def test_a_family_runs_trains_and_survives_saving(family: str, tmp_path: Path) -> None:
    arguments = {"classes": len(CLASSES), **SMALL.get(family, {})}
    model: Any = build(family, **arguments)
    pixels = torch.randn(2, 3, 64, 96)

    prediction = model.train()(pixels)
    queries = prediction.mask_logits.shape[1]
    assert prediction.mask_logits.shape == (2, queries, 16, 24)
    if prediction.class_logits is None:
        assert (model.competition, queries) == ("softmax", len(CLASSES))
    else:
        assert model.competition == "independent"
        assert prediction.class_logits.shape == (2, queries, len(CLASSES) + 1)
    for part in (prediction, *prediction.auxiliary):
        loss = part.mask_logits.square().mean()
        if part.class_logits is not None:
            loss = loss + part.class_logits.square().mean()
        loss.backward(retain_graph=True)
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert not idle, f"no gradient reaches {idle}"

    segmenter = Segmenter(model, Preprocess(), CLASSES, family=family, arguments=arguments)
    segmenter.save(tmp_path)
    picture = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    before, after = segmenter(picture), load(tmp_path, device="cpu")(picture)
    torch.testing.assert_close(after.mask_logits, before.mask_logits, rtol=0, atol=0)
    torch.testing.assert_close(after.class_logits, before.class_logits, rtol=0, atol=0)
    assert before.semantic().ids.shape == (50, 70)


@pytest.mark.parametrize("family", PROMPTABLE)
def test_a_promptable_family_answers_trains_and_survives_saving(
    family: str, tmp_path: Path
) -> None:
    arguments = {"classes": 1, **SMALL[family]}
    model: Any = build(family, **arguments).train()
    assert (model.asks, model.competition) == (frozenset({Prompts}), "independent")
    side = model.size_divisor
    pixels = torch.randn(1, 3, side, side)
    points, boxes = torch.rand(2, 1, 2) * side, torch.rand(2, 4) * side
    labels = torch.tensor([[1], [0]])
    grid = model.encode(pixels)[0].shape[-2:]
    masks = torch.randn(2, 1, 4 * grid[0], 4 * grid[1])
    asks = [
        Prompts(points, labels),
        Prompts(points, labels, boxes, masks),
        Prompts(boxes=boxes, multimask=False),
    ]
    for ask in asks:
        prediction = model(pixels, ask)
        queries = len(prediction.prompt)
        assert prediction.class_logits is None
        assert prediction.mask_logits.shape == (1, queries, 4 * grid[0], 4 * grid[1])
        assert prediction.quality.shape == (1, queries)
        # Of the answers and not of what is clamped: that may have no gradient.
        (model.answer(model.encode(pixels), ask)[1].sum() + prediction.mask_logits.sum()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert not idle, f"no gradient reaches {idle}"

    objects = Classes.of(["object"], things=["object"])
    segmenter = Segmenter(model, Preprocess(), objects, family=family, arguments=arguments)
    segmenter.save(tmp_path)
    again: Any = load(tmp_path, device="cpu").model
    with torch.inference_mode():
        before, after = (one.eval()(pixels, asks[1]) for one in (model, again))
    torch.testing.assert_close(after.mask_logits, before.mask_logits, rtol=0, atol=0)
    torch.testing.assert_close(after.quality, before.quality, rtol=0, atol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_tells_the_truth_about_its_channels(name: str) -> None:
    # On the meta device: shapes only, so that the large ones cost nothing.
    with torch.device("meta"):
        backbone: Any = build_backbone(name).eval()
        maps = backbone(torch.empty(1, 3, 64, 96))
    expected = [
        (1, c, 64 // s, 96 // s) for c, s in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]
    assert [tuple(m.shape) for m in maps] == expected


def test_unknown_names_and_arguments_are_mistakes_of_the_user() -> None:
    with pytest.raises(TriptychError, match="no model family is called 'unet'; choose from mask2"):
        build("unet", classes=3)
    with pytest.raises(TriptychError, match=r"cannot build segformer: .*'colour'"):
        build("segformer", classes=3, colour="red")
    with pytest.raises(TriptychError, match="no backbone is called 'vgg'; choose from"):
        build_backbone("vgg")
