"""ONNX: the exchange format of networks, run by ONNX Runtime on the CPU."""

from __future__ import annotations

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

OPSET = 20
"""Version of the operators: the first with all that the networks need, 5-D ``GridSample`` among
them."""

INSTEAD = "openvino or eager"
"""What to use where it cannot take a network."""


class Onnx(GraphEngine):
    """Runs graphs with ONNX Runtime; see ``triptych.engines.base.Engine``.

    It uses as many threads as torch does when a session is made.
    """

    name = "onnx"
    suffix = ".onnx"
    # Threads that wait for more by spinning take the cores from the readings, which come next, and
    # from other programs.
    sharing: Mapping[str, Any] = {"session.intra_op.allow_spinning": "0"}

    def __init__(self, model: nn.Module, exported: Exported | None = None) -> None:
        super().__init__(model, exported)
        self._runtime = need("onnx", "onnxruntime")

    def compile(self, traced: Traced, precision: str) -> Run:
        """See :class:`triptych.engines.graph.GraphEngine`."""
        graph = convert(self.model, traced)
        try:
            return self._ready(graph, traced.part)
        except Exception as error:  # its types share no base but this one
            raise unsupported("ONNX Runtime", error, instead=INSTEAD) from error

    def load(self, part: Part, precision: str, file: Path) -> Run:
        """See :class:`triptych.engines.graph.GraphEngine`."""
        try:
            return self._ready(str(file), part)
        except Exception as error:  # its types share no base but this one
            raise TriptychError(
                f"{file}: ONNX Runtime cannot read it; export it again (triptych export)"
            ) from error

    def _ready(self, graph: str | bytes, part: Part) -> Run:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        for name, value in self.sharing.items():
            options.add_session_config_entry(name, value)
        options.log_severity_level = 3  # errors; warnings tell how nodes were placed
        session = self._runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]

        taken = places(part, names)

        def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            feed = {name: inputs[place].numpy() for name, place in zip(names, taken, strict=True)}
            return tuple(map(torch.from_numpy, session.run(None, feed)))

        return run

    def check(self, precision: str) -> None:
        """Refuse what ONNX Runtime has no kernels for on a CPU.

        Raises:
            TriptychError: the precision is not fp32.
        """
        if precision != "fp32":
            raise TriptychError(
                f"the engine onnx computes in fp32 on a CPU, not in {precision}; use the engine "
                "openvino or eager for that"
            )

    def write(self, traced: Traced, file: Path) -> None:
        """See :class:`triptych.engines.graph.GraphEngine`."""
        file.write_bytes(convert(self.model, traced))


def convert(model: nn.Module, traced: Traced) -> bytes:
    """A part of a network as an ONNX file; its inputs and outputs have their names.

    Raises:
        TriptychError: it cannot hold this network, or what writes it is not installed.
    """
    need("onnx", "onnxscript")
    need("onnx", "onnx")
    try:
        # What rewrites the graph must choose the kernels that the trace chose.
        with quiet(), torch.no_grad():
            exported = torch.onnx.export(
                traced.program,
                opset_version=OPSET,
                input_names=[one.name for one in traced.part.inputs],
                output_names=list(traced.outputs),
                external_data=False,
                verbose=False,
            )
            assert exported is not None
            written: bytes = exported.model_proto.SerializeToString()
    except Exception as error:
        raise unsupported("ONNX", error, model, traced.program, instead=INSTEAD) from error
    return written
