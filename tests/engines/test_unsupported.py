"""What exporters cannot do is told in one plain line: what, where, and what to do."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.test_engines import needs
from tests.tiny_model import tiny_segformer
from torch import Tensor, nn

from triptych.commands.cli import main
from triptych.engines import openvino as openvino_engine
from triptych.engines.graph import trace
from triptych.engines.parts import whole
from triptych.engines.registry import make_engine
from triptych.engines.unsupported import unsupported
from triptych.errors import TriptychError
from triptych.networks.contract import Prediction

RED, PLAIN = "\x1b[31m", "\x1b[0m"


class Network(nn.Module):
    """Does whatever it is told."""

    def __init__(self, work: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.work = work

    def forward(self, pixels: Tensor) -> Prediction:
        return Prediction.from_logits(self.work(pixels * self.weight), None)


def svd(pixels: Tensor) -> Tensor:
    return torch.linalg.svd(pixels)[0]


def undecided(pixels: Tensor) -> Tensor:
    return pixels if pixels.sum() > 0 else -pixels


def failing(pixels: Tensor) -> Tensor:
    raise ValueError(f"{RED}broken{PLAIN} here\nand here")


def line_of(work: Callable[..., Any]) -> int:
    """The line that the only statement of a function stands on."""
    return work.__code__.co_firstlineno + 1


@pytest.mark.parametrize(
    ("engine", "work", "words"),
    [
        ("onnx", failing, r"torch\.export cannot .* \(ValueError: broken here, at LINE\)"),
        ("onnx", undecided, r"torch\.export cannot .* data-dependent .*, at LINE\)"),
        ("openvino", undecided, r"torch\.export cannot .* data-dependent .*, at LINE\)"),
        ("onnx", svd, r"^ONNX cannot .*No ONNX function found for .*aten\._linalg_svd"),
        ("openvino", svd, r"^OpenVINO cannot .*No conversion rule .*aten\._linalg_svd"),
    ],
)
def test_one_line_names_cause_and_place(
    engine: str,
    work: Callable[[Tensor], Tensor],
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    needs(engine)
    with pytest.raises(TriptychError) as told:
        make_engine(engine, Network(work))(torch.randn(1, 3, 8, 8))
    text = str(told.value)
    place = re.escape(f"{__name__.replace('.', '/')}.py:{line_of(work)}")
    assert re.search(words.replace("LINE", place), text), text
    assert text.endswith("eager")
    assert text.isprintable()
    assert text.count("cannot take") == 1
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_the_command_ends_with_that_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("openvino")
    tiny_segformer().save(tmp_path / "made")

    def fails(*_: object) -> None:
        raise RuntimeError(f"Check '{RED}x' failed\nSummary:\n-- No rule for: aten.x{PLAIN}")

    monkeypatch.setattr(openvino_engine.load_openvino(), "convert_model", fails)
    out = tmp_path / "out"
    command = ["export", str(tmp_path / "made"), "--to", "openvino", "--out", str(out)]
    assert main([*command, "--size", "64x64"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "triptych: OpenVINO cannot take this network (RuntimeError: No rule for: aten.x); "
        "use the engine onnx or eager\n"
    )
    assert not out.exists()


def test_an_operation_is_looked_up_in_the_graph() -> None:
    model = Network(svd)
    program = trace(model, whole((8, 8))).program
    error = RuntimeError("no rule for aten.linalg_svd.default")
    place = f"test_unsupported.py:{line_of(Network.forward)})"
    assert place in str(unsupported("T", error, model, program))
    # A longer name is another operation.
    error = RuntimeError("no rule for aten.linalg_svd.default_of_another")
    assert ".py" not in str(unsupported("T", error, model, program))


@pytest.mark.parametrize(
    ("text", "gist"),
    [
        ("", "no message"),
        ("\n\n  one \n two", "one"),
        (f"{RED}a{PLAIN}b \x1b[1;38;5;7mc\x1b]8;;http://x\x07d", "ab cd"),
        ("Check failed\nSummary:\n-- no a\n-- no b", "no a, no b"),
        ("Summary:", "Summary:"),
        ("x" * 300, "x" * 200),
    ],
)
def test_the_gist_of_a_message(text: str, gist: str) -> None:
    told = str(unsupported("T", ValueError(text)))
    assert told == f"T cannot take this network (ValueError: {gist}); use the engine eager"


def test_the_cause_is_what_all_was_raised_from() -> None:
    error = RuntimeError("next steps: write to us")
    error.__cause__ = KeyError("the cause")
    assert "(KeyError: 'the cause')" in str(unsupported("T", error))


def test_the_root_logger_stays_as_it_was() -> None:
    needs("openvino")
    root = logging.getLogger()
    before = root.level, list(root.handlers), list(root.filters)
    with pytest.raises(TriptychError):
        make_engine("openvino", Network(svd))(torch.randn(1, 3, 8, 8))
    assert (root.level, list(root.handlers), list(root.filters)) == before
