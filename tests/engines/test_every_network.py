"""Every family with every kind of backbone, exported to every engine, loaded and compared.

The table in docs/engines.md says what these tests hold.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.test_engines import needs
from tests.networks.models.test_registry import CLASSES, SMALL, UNASKED
from torch import nn

from triptych.commands.cli import main
from triptych.engines.eager import Eager
from triptych.engines.graph import differences
from triptych.engines.registry import EXPORTS, make_engine
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.backbones.efficientnet_lite import load_imagenet
from triptych.networks.backbones.registry import BACKBONES
from triptych.networks.contract import Prediction
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter, find_precision, load

TRUNKS: dict[str, dict[str, Any]] = {
    # The second block of a stage shifts its windows, of which the last maps do not fill one.
    "swin": {"dim": 8, "depths": [2, 1, 1, 1], "heads": [1, 1, 2, 2], "window": 4},
    "resnet": {"depths": [1, 1, 1, 1], "channels": [8, 16, 24, 32], "stem": 8},
    "efficientnet_lite0": {},
}
"""One small backbone of each kind."""

NETWORKS: dict[str, dict[str, Any]] = {
    "segformer-mit": {},
    **{
        f"{family}-{trunk}": {"backbone": trunk, "backbone_arguments": arguments, "layers": 1}
        for family in ("maskformer", "mask2former", "oneformer")
        for trunk, arguments in TRUNKS.items()
    },
    # What the bundled checkpoint "street" is made of.
    "mask2former-resnet-fpn": {
        "backbone": "resnet",
        "backbone_arguments": TRUNKS["resnet"],
        "layers": 1,
        "pixel_decoder": "fpn",
        "separable": True,
        "position_bands": 2,
        "anchors": 3,
        "nms": 0.9,
    },
}
"""Arguments of each network beyond those of ``SMALL``; its name begins with its family's."""

HALVES = {"bf16": 0.12, "fp16": 0.03}
"""How far half of the logits may be from eager's in fp32, beside the largest. Random networks
magnify a rounding, and a mask of attention that tips moves all pixels of its query, so the largest
difference tells nothing; another picture moves half of them by 0.13 to 0.4."""

PIXELS = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def made(network: str) -> Segmenter:
    """A network with random weights, and batch norms that know its features.

    Fresh ones let them fade layer by layer. An EfficientNet has its ImageNet weights instead: with
    random ones its fifty layers magnify a rounding to a fifth of the largest logit, on any engine.
    """
    family = network.partition("-")[0]
    torch.manual_seed(0)
    arguments = {"classes": len(CLASSES), **SMALL[family], **NETWORKS[network]}
    model: Any = build(family, **arguments)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(PIXELS)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    if network.endswith("efficientnet_lite0"):
        load_imagenet(model.backbone, "efficientnet_lite0")
    return Segmenter(model.eval(), Preprocess(), CLASSES, family=family, arguments=arguments)


def assert_same(found: Prediction, eager: Prediction) -> None:
    """Hold masks and classes in fp32 against eager's."""
    assert found.mask_logits.shape == eager.mask_logits.shape
    apart = differences(found, eager)
    assert ("class logits" in apart) == (eager.class_logits is not None)
    assert max(apart.values()) < 1e-4, apart


def assert_alike(found: Prediction, eager: Prediction, precision: str) -> None:
    """Hold them in half precision, which must make some difference."""
    for a, b in ((found.mask_logits, eager.mask_logits), (found.class_logits, eager.class_logits)):
        if a is not None and b is not None:
            apart = float((a.float() - b).abs().median() / b.abs().max())
            assert 1e-6 < apart < HALVES[precision], apart


def test_no_family_and_no_kind_of_backbone_is_left_out() -> None:
    assert {name.partition("-")[0] for name in NETWORKS} == set(UNASKED)
    homes = {home.partition(":")[0] for home in BACKBONES.values()}
    assert {BACKBONES[name].partition(":")[0] for name in TRUNKS} == homes


@pytest.mark.parametrize("network", NETWORKS)
def test_eager_computes_in_half_precision(network: str) -> None:
    eager = Eager(made(network).model)
    exact = eager(PIXELS)
    for precision in HALVES:
        assert_alike(eager(PIXELS, find_precision(precision)), exact, precision)


@pytest.mark.slow
@pytest.mark.parametrize("engine", EXPORTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_an_export_answers_as_eager_does(
    network: str, engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(engine)
    segmenter, out = made(network), tmp_path / "out"
    segmenter.save(tmp_path / "made")
    command = ["export", str(tmp_path / "made"), "--to", engine, "--out", str(out)]
    assert main([*command, "--input", "96x64"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "network input 96x64, fp32; logits differ from eager's by " in told.out

    loaded, eager = load(out, "cpu"), Eager(segmenter.model)(PIXELS)
    assert loaded.engine.name == engine
    assert_same(loaded.engine(PIXELS), eager)
    for precision in HALVES:
        with contextlib.suppress(TriptychError):  # ONNX Runtime, and processors that have no such
            assert_alike(loaded.engine(PIXELS, find_precision(precision)), eager, precision)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_compiled_it_answers_as_eager_does(network: str) -> None:
    model = made(network).model
    engine, eager = make_engine("compile", model), Eager(model)
    assert_same(engine(PIXELS), eager(PIXELS))
    assert engine.preparation > 0
