"""The same answers on a GPU as on the CPU; skipped where there is none."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
import torch
from tests.networks.models.test_registry import CLASSES, SMALL, UNASKED
from tests.train.test_matcher import stripes, targets

from triptych.image.geometry import Geometry
from triptych.image.preprocess import Preprocess
from triptych.mask_set import MaskSet
from triptych.networks.backbones.registry import BACKBONES
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter
from triptych.train.criterion import SetCriterion
from triptych.train.matcher import Matcher
from triptych.train.step import LossModule

# TRIPTYCH_GPU=cpu runs the tests themselves where there is no GPU.
DEVICE = torch.device(os.environ.get("TRIPTYCH_GPU", "cuda"))

pytestmark = pytest.mark.skipif(
    DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="no GPU here"
)

DEFORMABLE = {**SMALL["mask2former"], "pixel_decoder": "deformable", "backbone": "swin_tiny"}
NETWORKS = {
    **{family: (family, SMALL.get(family, {})) for family in UNASKED},
    "deformable": ("mask2former", DEFORMABLE),
    "street": ("mask2former", {**SMALL["mask2former"], "pixel_decoder": "fpn", "anchors": 3}),
}


def on_both(name: str) -> tuple[Any, Any]:
    """A network with random weights, and a copy of it on the GPU."""
    torch.manual_seed(0)
    family, arguments = NETWORKS[name]
    model = build(family, classes=len(CLASSES), **arguments).eval()
    return model, copy.deepcopy(model).to(DEVICE)


@pytest.fixture(autouse=True)
def exact():
    """Full fp32 in convolutions, as on the CPU and as torch has it in products."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.float().cpu() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_says_the_same(name):
    model, there = on_both(name)
    pixels = torch.randn(2, 3, 96, 64)
    with torch.inference_mode():
        expected, found = model(pixels), there(pixels.to(DEVICE))
        with torch.autocast(DEVICE.type, torch.bfloat16):
            rough = there(pixels.to(DEVICE))
    assert found.mask_logits.device.type == DEVICE.type
    assert distance(found.mask_logits, expected.mask_logits) < 1e-3
    # A query may look elsewhere where its mask is near one half: the bulk must agree.
    apart = (rough.mask_logits.float().cpu() - expected.mask_logits).abs().median()
    assert apart < 0.1 * expected.mask_logits.abs().max()
    if expected.class_logits is not None:
        assert distance(found.class_logits, expected.class_logits) < 1e-3


@pytest.mark.parametrize("name", ["swin_tiny", "resnet50", "efficientnet_lite0"])
def test_a_backbone_says_the_same_in_full_size(name):
    assert name in BACKBONES
    torch.manual_seed(0)
    model: Any = build(
        "mask2former", classes=3, **(SMALL["mask2former"] | {"backbone": name})
    ).eval()
    there = copy.deepcopy(model.backbone).to(DEVICE)
    pixels = torch.randn(1, 3, 128, 160)
    with torch.inference_mode():
        for found, expected in zip(there(pixels.to(DEVICE)), model.backbone(pixels), strict=True):
            assert distance(found, expected) < 1e-3


@pytest.mark.parametrize("competition", ["independent", "softmax"])
def test_the_three_readings_are_the_same(competition):
    torch.manual_seed(0)
    count = 12 if competition == "independent" else len(CLASSES)
    logits = 4 * torch.nn.functional.interpolate(torch.randn(1, count, 5, 7), (24, 40))[0]
    masks = MaskSet(
        logits,
        4 * torch.randn(count, len(CLASSES) + 1) if competition == "independent" else None,
        CLASSES,
        Geometry((96, 160), (90, 150), (180, 300)),
        competition=competition,
    )
    there = masks.to(DEVICE)
    same = (there.semantic().ids.cpu() == masks.semantic().ids).float().mean()
    assert same > 0.9999
    one, other = masks.panoptic(0.3, 0.3), there.panoptic(0.3, 0.3)
    assert [s.class_id for s in one.segments] == [s.class_id for s in other.segments]
    assert (one.ids == other.ids.cpu()).float().mean() > 0.9999
    few, others = list(masks.instances(0.1)), list(there.instances(0.1))
    assert len(few) == len(others) > 0
    for mine, theirs in zip(few, others, strict=True):
        assert mine.class_id == theirs.class_id
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)


def test_a_picture_goes_through():
    model, there = on_both("street")
    picture = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    expected = Segmenter(model, Preprocess(), CLASSES)(picture)
    found = Segmenter(there, Preprocess(), CLASSES)(picture)
    assert found.mask_logits.device.type == DEVICE.type
    assert distance(found.mask_logits, expected.mask_logits) < 1e-3
    assert found.overlay(picture.numpy()).size == expected.overlay(picture.numpy()).size


@pytest.mark.parametrize("name", ["deformable", "street", "maskformer"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_a_training_step(name, autocast):
    _, model = on_both(name)
    losses = LossModule(
        model.train(),
        SetCriterion(Matcher(points=64), points=64, semantic=1.0),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        autocast=autocast,
        checkpointing=True,
    ).to(DEVICE)
    pixels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, device=DEVICE)
    truth = targets([0, 1, 2], stripes(3, 64))
    truth = type(truth)(
        *(getattr(truth, name).to(DEVICE) for name in truth.__dataclass_fields__ if name != "void")
    )
    found = losses(pixels, [truth, truth])
    total = torch.stack([*found.values()]).sum()
    total.backward()
    assert torch.isfinite(total)
    gradients = [p.grad for p in model.parameters()]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in gradients)
