"""OpenVINO: Intel's runtime for CPUs of either make."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.engines.base import GraphEngine, Session, need, quiet, trace
from triptych.engines.folder import Exported, Size
from triptych.engines.unsupported import unsupported
from triptych.errors import TriptychError

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
INSTEAD = "onnx or eager"
"""What to use where it cannot take a network."""
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}


class OpenVINO(GraphEngine):
    """Runs graphs that OpenVINO compiled for the CPU; see ``triptych.engines.base.Engine``.

    It uses as many threads as torch does when a session is made.
    """

    name = "openvino"
    suffix = ".xml"
    # Threads that keep to a core wait for it when another program has it.
    sharing: Mapping[str, Any] = {"ENABLE_CPU_PINNING": False}

    def __init__(self, model: nn.Module, exported: Exported | None = None) -> None:
        super().__init__(model, exported)
        self._core = load_openvino().Core()

    def session(self, size: Size, precision: str, file: Path | None) -> Session:
        """See :class:`triptych.engines.base.GraphEngine`."""
        graph = self._read(file) if file else convert(self.model, size)
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            **self.sharing,
        }
        try:
            compiled = self._core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise unsupported("OpenVINO", error, instead=INSTEAD) from error

        def run(pixels: Tensor) -> tuple[Tensor, ...]:
            results = compiled(pixels.numpy(), share_inputs=True)
            return tuple(torch.from_numpy(array) for array in results.to_tuple())

        return run

    def check(self, precision: str) -> None:
        """Refuse a precision that this processor would silently replace by fp32.

        Raises:
            TriptychError: it has no such arithmetic.
        """
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if CAPABILITIES[precision] not in able:
            can = [name for name, word in CAPABILITIES.items() if word in able]
            raise TriptychError(
                f"OpenVINO has no {precision} on this processor; use {' or '.join(can)}"
            )

    def write(self, size: Size, file: Path) -> None:
        """See :class:`triptych.engines.base.GraphEngine`; the weights go into a ``.bin`` beside."""
        openvino = load_openvino()
        # Half the weights' digits would be a second, silent change beside the precision.
        openvino.save_model(convert(self.model, size), file, compress_to_fp16=False)

    def _read(self, file: Path) -> Any:
        try:
            return self._core.read_model(file)
        except RuntimeError as error:
            raise TriptychError(
                f"{file}: OpenVINO cannot read it; export it again (triptych export)"
            ) from error


def load_openvino() -> Any:
    """Import OpenVINO, without the package by which it reports its use over the network.

    Raises:
        TriptychError: it is not installed.
    """
    # OpenVINO's own answer to its absence is to report nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return need("openvino", "openvino")


def convert(model: nn.Module, size: Size) -> Any:
    """A network as an ``openvino.Model`` for one picture of ``size``.

    Raises:
        TriptychError: it cannot take this network.
    """
    openvino = load_openvino()
    program = trace(model, size)
    try:
        with quiet():
            return openvino.convert_model(program)
    except Exception as error:
        raise unsupported("OpenVINO", error, model, program, instead=INSTEAD) from error
