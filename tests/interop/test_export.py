"""``triptych export``: a checkpoint with graphs of its weights beside it, which are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.engines.test_engines import needs, small
from tests.networks.models.test_registry import SMALL
from tests.tiny_model import tiny_segformer

from triptych.classes import Classes
from triptych.commands.cli import main
from triptych.engines import openvino
from triptych.engines.folder import ENGINE, Exported, Graph, read_exported
from triptych.engines.parts import whole
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.interop.export import LIMITS
from triptych.networks.contract import Prompts, Task
from triptych.segmenter import Segmenter, load


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    tiny_segformer().save(folder)
    return str(folder)


def export(checkpoint: str, out: Path, *options: str, to: str = "openvino") -> int:
    needs(to)
    return main(["export", checkpoint, "--to", to, "--out", str(out), *options])


@pytest.mark.parametrize("to", ["openvino", "onnx"])
def test_what_was_exported_is_used(
    to: str,
    checkpoint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    assert export(checkpoint, out, "--size", "100x64", "--size", "64x64", to=to) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split("; ")[0] for line in told] == [
        f"{out / f'{to}-{width}x64'}.{'xml' if to == 'openvino' else 'onnx'}: "
        f"network input {width}x64, fp32"
        for width in (128, 64)
    ]

    segmenter = load(out, "cpu")
    assert segmenter.engine.name == to
    assert load(out, "cpu", engine="eager").engine.name == "eager"
    picture = torch.randint(0, 256, (64, 100, 3), dtype=torch.uint8)
    with monkeypatch.context() as patch:

        def traced(*args: Any) -> None:
            raise AssertionError("a graph was made anew")

        patch.setattr("triptych.engines.graph.trace", traced)
        found = segmenter(picture)
    eager = load(checkpoint, "cpu")(picture)
    torch.testing.assert_close(found.mask_logits, eager.mask_logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(found.semantic().ids, eager.semantic().ids)
    # A size that was not exported.
    assert segmenter(picture.transpose(0, 1)).semantic().ids.shape == (100, 64)


def test_one_input_for_all_pictures(checkpoint: str, tmp_path: Path) -> None:
    assert export(checkpoint, tmp_path / "out", "--input", "96x64") == 0
    segmenter = load(tmp_path / "out", "cpu")
    for size in ((64, 100), (200, 50)):
        assert segmenter.preprocess.plan(size).input_size == (64, 96)


def test_the_precision_stays_with_the_folder(checkpoint: str, tmp_path: Path) -> None:
    needs("openvino")
    openvino_can = openvino.shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in openvino_can:
        pytest.skip("OpenVINO has no bf16 on this processor")
    out = tmp_path / "out"
    assert export(checkpoint, out, "--size", "64x64", "--precision", "bf16") == 0
    assert load(out, "cpu").autocast == torch.bfloat16
    assert load(out, "cpu", precision="fp32").autocast is None
    assert load(out, "cpu", engine="eager").autocast is None


def test_predict_and_eval_take_an_engine(checkpoint: str, tmp_path: Path) -> None:
    needs("openvino")
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "red.png")
    maps = []
    for engine in ("eager", "openvino"):
        out = tmp_path / engine
        options = ["--model", checkpoint, "--out", str(out), "--engine", engine]
        assert main(["predict", str(tmp_path / "red.png"), *options]) == 0
        maps.append((out / "red.semantic.png").read_bytes())
    assert maps[0] == maps[1]


class TestMistakes:
    def folder(self, tmp_path: Path, **changes: Any) -> Path:
        """A checkpoint with an ``engine.json`` and an empty graph."""
        tiny_segformer().save(tmp_path)
        graph = tmp_path / "onnx-64x64.onnx"
        graph.touch()
        Exported(
            tmp_path, "onnx", "fp32", {whole((64, 64)): Graph(graph, ("mask_logits",))}, "torch 2"
        ).write()
        path = tmp_path / ENGINE
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return tmp_path

    def test_it_reads_back(self, tmp_path: Path) -> None:
        found = read_exported(self.folder(tmp_path))
        assert found is not None
        outputs = ("mask_logits",)
        assert found.graphs == {whole((64, 64)): Graph(tmp_path / "onnx-64x64.onnx", outputs)}

    def test_a_folder_of_before_has_graphs_of_whole_networks(self, tmp_path: Path) -> None:
        old = {"input": [64, 48], "file": "onnx-64x64.onnx"}
        found = read_exported(self.folder(tmp_path, version=1, graphs=[old]))
        assert found is not None
        assert found.graphs == {whole((64, 48)): Graph(tmp_path / "onnx-64x64.onnx", ())}

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            (
                {"version": 3},
                r"engine.json: has version 3 and this Triptych reads up to 2; export it",
            ),
            ({"format": "x"}, 'has no "format": "triptych-engine"; export it again'),
            ({"weights": "0"}, "made from other weights than model.safetensors holds; export"),
            ({"graphs": [{"input": [1, 1], "file": "../a"}]}, "which is not in the folder"),
            ({"graphs": [{"input": [1, 1], "file": "gone"}]}, "names gone, which is not in the"),
            ({"graphs": [{"input": 3, "file": "a"}]}, "engine.json: is damaged"),
            ({"graphs": None}, "engine.json: is damaged"),
        ],
    )
    def test_a_folder_that_does_not_fit(
        self, changes: dict[str, Any], words: str, tmp_path: Path
    ) -> None:
        folder = self.folder(tmp_path, **changes)
        with pytest.raises(TriptychError, match=words) as told:
            load(folder)
        assert "\n" not in str(told.value)

    @pytest.mark.parametrize("engine", ["onnx", "openvino"])
    def test_a_damaged_graph(self, engine: str, tmp_path: Path) -> None:
        needs(engine)
        folder = self.folder(tmp_path, engine=engine)
        picture = torch.zeros(64, 64, 3, dtype=torch.uint8)
        with pytest.raises(TriptychError, match=r"onnx-64x64.onnx: .* cannot read it; export it"):
            load(folder, "cpu")(picture)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--size", "64"], "--size is '64'; give WIDTHxHEIGHT"),
            (["--input", "x64"], "--input is 'x64'; give WIDTHxHEIGHT"),
            (["--to", "tensorrt"], "tensorrt"),
            (["--precision", "int8"], "int8"),
        ],
    )
    def test_options(
        self,
        options: list[str],
        words: str,
        checkpoint: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert export(checkpoint, tmp_path / "out", *options) == 2
        told = capsys.readouterr().err
        assert words in told
        assert told.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_is_full(
        self, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "mine").touch()
        assert export(checkpoint, tmp_path) == 2
        assert "is there already; choose another name, or --overwrite it" in capsys.readouterr().err

    def test_answers_that_differ_are_not_kept(
        self,
        checkpoint: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setitem(LIMITS, "fp32", -1.0)
        assert export(checkpoint, tmp_path / "out", "--size", "64x64") == 2
        assert "so nothing was kept" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_training_has_no_engine(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["train", str(tmp_path / "recipe.yaml"), "--engine", "openvino"]) == 2
        told = capsys.readouterr().err
        assert "--engine" in told
        assert told.count("\n") == 1


ASKED: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {
    "sam": (Prompts, {"points": [[20, 30]]}, {"boxes": [4, 6, 50, 40]}),
    "oneformer": (Task, {"task": "instance"}, {"task": "semantic"}),
}
"""Families that are asked: with what, and two asks whose graphs are exported."""


@pytest.mark.slow
@pytest.mark.parametrize("to", ["openvino", "onnx"])
@pytest.mark.parametrize("family", ASKED)
def test_networks_that_are_asked_have_a_graph_of_the_encoder_and_of_each_usual_ask(
    family: str,
    to: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs(to)
    kind, first, second = ASKED[family]
    asks = (first, second)
    classes = 3 if kind is Task else 1
    model = small(family, classes=classes)
    names = [f"class {i}" for i in range(classes)]
    made = Segmenter(
        model,
        Preprocess(longest_edge=64, size_divisor=64),
        Classes.of(names, things=names[:1]),
        family=family,
        arguments={"classes": classes, **SMALL[family]},
    )
    made.save(tmp_path / "made")
    out = tmp_path / "out"
    assert export(str(tmp_path / "made"), out, to=to) == 0
    told = capsys.readouterr().out.splitlines()
    assert any("features differ from eager's" in line for line in told)
    words = ["decode-semantic", "decode-panoptic"] if kind is Task else ["decode-box-and-click"]
    assert all(any(word in line for line in told) for word in words)

    picture = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8)
    segmenter, eager = load(out, "cpu"), load(tmp_path / "made", "cpu").encode(picture)
    with monkeypatch.context() as patch:

        def traced(*args: Any) -> None:
            raise AssertionError("a graph was made anew")

        patch.setattr("triptych.engines.graph.trace", traced)
        encoded = segmenter.encode(picture)
        answers = [encoded(**ask) for ask in asks]
    for ask, found in zip(asks, answers, strict=True):
        wanted = eager(**ask)
        torch.testing.assert_close(found.mask_logits, wanted.mask_logits, rtol=1e-3, atol=1e-3)
        for name in ("class_logits", "quality"):
            if getattr(wanted, name) is not None:
                torch.testing.assert_close(
                    getattr(found, name), getattr(wanted, name), rtol=1e-3, atol=1e-3
                )
    if kind is Prompts:  # what was not exported has its graph made
        assert len(encoded(points=[[[1, 2]], [[3, 4], [5, 6], [7, 8]]], multimask=True)) == 6
