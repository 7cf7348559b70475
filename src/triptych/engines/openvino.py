"""OpenVINO: Intel's runtime for CPUs of either make."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.engines.base import need
from triptych.engines.folder import Exported
from triptych.engines.graph import GraphEngine, Run, Traced, places, quiet
from triptych.engines.parts import Part
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
        self._core = shared_core()

    def compile(self, traced: Traced, precision: str) -> Run:
        """See :class:`triptych.engines.graph.GraphEngine`."""
        return self._ready(convert(self.model, traced), traced.part, precision)

    def load(self, part: Part, precision: str, file: Path) -> Run:
        """See :class:`triptych.engines.graph.GraphEngine`."""
        try:
            graph = self._core.read_model(file)
        except RuntimeError as error:
            raise TriptychError(
                f"{file}: OpenVINO cannot read it; export it again (triptych export)"
            ) from error
        return self._ready(graph, part, precision)

    def _ready(self, graph: Any, part: Part, precision: str) -> Run:
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

        taken = places(part, [port.any_name for port in compiled.inputs])

        def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            results = compiled([inputs[place].numpy() for place in taken], share_inputs=True)
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

    def write(self, traced: Traced, file: Path) -> None:
        """See :class:`triptych.engines.graph.GraphEngine`; weights go into a ``.bin`` beside."""
        openvino = load_openvino()
        # Half the weights' digits would be a second, silent change beside the precision.
        openvino.save_model(convert(self.model, traced), file, compress_to_fp16=False)


_sharing = threading.Lock()
_core: Any = None


def shared_core() -> Any:
    """OpenVINO's core, made once for the process and never let go.

    Its CPU plugin gives the thread that loads it a stack of its own for signal handlers, and puts
    the former one back when it is let go. Where there are several cores that is another's, freed
    by then: the next signal, Ctrl-C among them, would end the process without a word.

    Raises:
        TriptychError: OpenVINO is not installed.
    """
    global _core
    openvino = load_openvino()
    with _sharing:
        if _core is None:
            _core = openvino.Core()
        return _core


def load_openvino() -> Any:
    """Import OpenVINO, without the package by which it reports its use over the network.

    Raises:
        TriptychError: it is not installed.
    """
    # OpenVINO's own answer to its absence is to report nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return need("openvino", "openvino")


def convert(model: nn.Module, traced: Traced) -> Any:
    """A part of a network as an ``openvino.Model``; its inputs and outputs have their names.

    Raises:
        TriptychError: it cannot take this network.
    """
    openvino = load_openvino()
    try:
        with quiet():
            found = openvino.convert_model(traced.program)
    except Exception as error:
        raise unsupported("OpenVINO", error, model, traced.program, instead=INSTEAD) from error
    # It leaves out the inputs that the network has no use for.
    given = traced.program.graph_signature.user_inputs
    names = dict(zip(given, (one.name for one in traced.part.inputs), strict=True))
    for port in found.inputs:
        (name,) = port.get_names() & names.keys()
        port.get_tensor().set_names({names[name]})
    for port, name in zip(found.outputs, traced.outputs, strict=True):
        port.get_tensor().set_names({name})
    return found
