"""Engines by name, their sessions, and what they refuse; test_every_network.py compares answers."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.networks.models.test_registry import CLASSES, SMALL
from tests.tiny_model import tiny_segformer
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from triptych.engines import graph
from triptych.engines.eager import Eager
from triptych.engines.graph import (
    GraphEngine,
    Run,
    Traced,
)
from triptych.engines.parts import Part, whole
from triptych.engines.registry import ENGINES, make_engine
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.decoders.nms import SUPPRESSED_LOGIT
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter, load

NEEDS = {"onnx": ("onnxruntime", "onnxscript", "onnx"), "openvino": ("openvino",)}


def needs(engine: str) -> None:
    """Skip the test where the engine's extra is not installed."""
    for module in NEEDS.get(engine, ()):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (pip install '.[{engine}]')")


def small(family: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    arguments = {"classes": len(CLASSES), **SMALL.get(family, {}), **more}
    return build(family, **arguments).eval()


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_graph_suppresses_doubles_as_eager_does(engine: str) -> None:
    needs(engine)
    # A random network's masks overlap everywhere: nearly any two of a class are doubles.
    model = small("mask2former", nms=0.02)
    pixels = torch.randn(1, 3, 64, 96)
    ours, eager = make_engine(engine, model)(pixels), Eager(model)(pixels)
    assert ours.class_logits is not None
    assert eager.class_logits is not None
    lost = eager.class_logits[..., -1] == SUPPRESSED_LOGIT
    assert 0 < lost.sum() < lost.numel()
    torch.testing.assert_close(ours.class_logits, eager.class_logits, atol=1e-4, rtol=1e-4)


class Numbers(GraphEngine):
    """Its sessions answer with the number of the session."""

    name, suffix = "numbers", ".txt"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.made: list[tuple[Part, str]] = []

    def check(self, precision: str) -> None:
        if precision == "fp16":
            raise TriptychError("no fp16")

    def compile(self, traced: Traced, precision: str) -> Run:
        self.made.append((traced.part, precision))
        number = float(len(self.made))
        return lambda inputs: (inputs[0][:, :1] * 0 + number,)


def test_sessions_are_cached_by_size_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "KEPT", 2)
    engine = Numbers(small("segformer"))

    def number(width: int, precision: torch.dtype | None = None) -> float:
        pixels = torch.zeros(1, 3, 32, width)
        return float(engine(pixels, precision).mask_logits[0, 0, 0, 0])

    assert [number(32), number(32), number(64), number(32)] == [1, 1, 2, 1]
    assert number(32, torch.bfloat16) == 3  # 64 gives way: 32 was asked for since
    assert [number(32), number(64)] == [1, 4]
    assert engine.made == [
        (whole((32, 32)), "fp32"),
        (whole((64, 32)), "fp32"),
        (whole((32, 32)), "bf16"),
        (whole((64, 32)), "fp32"),
    ]
    with pytest.raises(TriptychError, match="no fp16"):
        number(32, torch.float16)


def test_threads_share_one_session() -> None:
    engine = Numbers(small("segformer"))
    threads = [threading.Thread(target=engine, args=(torch.zeros(1, 3, 32, 32),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(engine.made) == 1


def test_the_compiled_copy_shares_weights_and_leaves_the_network_alone() -> None:
    model = small("mask2former", backbone="swin", backbone_arguments=SWIN)
    compiled = make_engine("compile", model)
    blocks = [m for m in compiled.model.modules() if m._compiled_call_impl is not None]
    names = {type(block).__name__ for block in blocks}
    assert {"Block", "PatchMerging", "QueryDecoderLayer"} <= names
    assert "DeformableEncoderLayer" not in names
    assert all(m._compiled_call_impl is None for m in model.modules())
    for ours, theirs in zip(compiled.model.parameters(), model.parameters(), strict=True):
        assert ours is theirs


SWIN = {"dim": 8, "depths": [2, 2, 2, 2], "heads": [1, 1, 2, 2], "window": 4}


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_mask_set_is_the_same_by_every_engine(engine: str, tmp_path: Path) -> None:
    needs(engine)
    tiny_segformer().save(tmp_path)
    picture = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    other = load(tmp_path, "cpu", engine=engine)
    ours, eager = other([picture, picture], batch_size=2)[1], load(tmp_path, "cpu")(picture)
    torch.testing.assert_close(ours.mask_logits, eager.mask_logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(ours.semantic().ids, eager.semantic().ids)
    assert (ours.geometry, ours.classes) == (eager.geometry, eager.classes)


class TestMistakes:
    def test_unknown_engines(self) -> None:
        model = small("segformer")
        with pytest.raises(TriptychError, match=r"called 'openvion' \(perhaps you meant openvino"):
            make_engine("openvion", model)
        with pytest.raises(TriptychError, match="called 'tpu'; choose from eager, compile, onnx"):
            load("street", engine="tpu")
        with pytest.raises(TriptychError, match="no precision is called 'int8'; choose from fp32"):
            load("street", precision="int8")

    @pytest.mark.parametrize("engine", ["onnx", "openvino"])
    def test_an_extra_that_is_not_installed(
        self, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = NEEDS[engine][0]
        monkeypatch.setitem(sys.modules, module, None)
        words = rf"this needs {module}; pip install '\.\[{engine}\]'"
        with pytest.raises(TriptychError, match=words):
            make_engine(engine, small("segformer"))

    def test_weights_of_another_type(self) -> None:
        with pytest.raises(TriptychError, match=r"takes weights in float32, not torch.float16"):
            Numbers(small("segformer").half())

    def test_another_device(self) -> None:
        with pytest.raises(TriptychError, match="computes on the CPU, not on meta"):
            Numbers(small("segformer").to("meta"))

    def test_arithmetic_that_onnx_has_not(self) -> None:
        needs("onnx")
        with pytest.raises(TriptychError, match="onnx computes in fp32 on a CPU, not in bf16"):
            make_engine("onnx", small("segformer"))(torch.zeros(1, 3, 64, 64), torch.bfloat16)

    def test_a_machine_without_a_compiler(self) -> None:
        engine = make_engine("compile", NoCompiler())
        with pytest.raises(TriptychError, match=r"torch.compile .*\(OSError: no g\+\+\); use the"):
            engine(torch.zeros(1, 3, 8, 8))

    @pytest.mark.parametrize("engine", ["onnx", "openvino"])
    def test_a_network_that_no_graph_can_hold(self, engine: str) -> None:
        needs(engine)
        with pytest.raises(TriptychError, match=r"torch.export cannot take this network .*eager"):
            make_engine(engine, Undecided())(torch.zeros(1, 3, 8, 8))


class NoCompiler(nn.Module):
    """Fails as torch does where no C++ compiler is installed."""

    def forward(self, pixels: Tensor) -> Tensor:
        raise BackendCompilerFailed(self, OSError("no g++"), None)


class Undecided(nn.Module):
    """What it does depends on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels if pixels.sum() > 0 else pixels * self.weight


def test_every_engine_has_its_line() -> None:
    model = small("segformer")
    for name in ENGINES:
        if all(importlib.util.find_spec(module) for module in NEEDS.get(name, ())):
            assert make_engine(name, model).name == name


def test_eager_is_what_the_segmenter_did_before() -> None:
    model = small("segformer")
    segmenter = Segmenter(model, Preprocess(), CLASSES)
    picture = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    pixels = segmenter.preprocess([picture]).pixels
    with torch.inference_mode():
        wanted = model(pixels).mask_logits[0]
    assert torch.equal(segmenter(picture).mask_logits, wanted)
    segmenter.autocast = torch.bfloat16
    assert not torch.equal(segmenter(picture).mask_logits, wanted)
