"""Engines by name: plain data, so that listing them imports nothing heavy."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Literal, get_args

from triptych.errors import TriptychError

if TYPE_CHECKING:
    from torch import nn

    from triptych.engines.base import Engine
    from triptych.engines.folder import Exported

EngineName = Literal["eager", "compile", "onnx", "openvino"]
EngineChoice = Literal["auto", EngineName]

PrecisionName = Literal["fp32", "bf16", "fp16"]
PrecisionChoice = Literal["auto", PrecisionName]

ENGINES: dict[str, str] = {
    "eager": "triptych.engines.eager:Eager",
    "compile": "triptych.engines.compiled:Compiled",
    "onnx": "triptych.engines.onnx:Onnx",
    "openvino": "triptych.engines.openvino:OpenVINO",
}
"""Name to ``module:class``. Adding one is one file in ``engines/`` and one line here."""

EXPORTS = ("onnx", "openvino")
"""Those whose graphs can be written to a folder."""

assert get_args(EngineName) == tuple(ENGINES)


def check_engine(name: str) -> None:
    """Refuse what is no engine's name.

    Raises:
        TriptychError: there is no such engine.
    """
    if name not in ENGINES:
        near = difflib.get_close_matches(name.lower(), ENGINES, n=1, cutoff=0.4)
        perhaps = f" (perhaps you meant {near[0]})" if near else ""
        raise TriptychError(
            f"no engine is called {name!r}{perhaps}; choose from {', '.join(ENGINES)}"
        )


def make_engine(name: str, model: nn.Module, exported: Exported | None = None) -> Engine:
    """An engine that runs ``model``.

    Args:
        name: one of :data:`ENGINES`.
        model: in evaluation mode, on the device where it is to run.
        exported: graphs of this model that were written before. Others are made when needed.

    Raises:
        TriptychError: there is no such engine, what it needs is not installed, or it cannot run
            where the model is.
    """
    check_engine(name)
    module, attribute = ENGINES[name].split(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)(model, exported)
    return engine
