"""ONNX: the exchange format of networks, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from triptych.engines.base import GraphEngine, Session, need, trace, unsupported
from triptych.engines.folder import Exported, Size
from triptych.errors import TriptychError

OPSET = 20
"""Version of the operators: the first with all that the networks need, 5-D ``GridSample`` among
them."""


class Onnx(GraphEngine):
    """Runs graphs with ONNX Runtime; see ``triptych.engines.base.Engine``.

    It uses as many threads as torch does when a session is made.
    """

    name = "onnx"
    suffix = ".onnx"

    def __init__(self, model: nn.Module, exported: Exported | None = None) -> None:
        super().__init__(model, exported)
        self._runtime = need("onnx", "onnxruntime")

    def session(self, size: Size, precision: str, file: Path | None) -> Session:
        """See :class:`triptych.engines.base.GraphEngine`."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait for more by spinning take the cores from the readings, which come next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors; warnings tell how nodes were placed
        try:
            session = self._runtime.InferenceSession(
                str(file) if file else convert(self.model, size),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # its types share no base but this one
            if file:
                raise TriptychError(
                    f"{file}: ONNX Runtime cannot read it; export it again (triptych export)"
                ) from error
            raise unsupported("ONNX Runtime", error) from error

        def run(pixels: Tensor) -> tuple[Tensor, ...]:
            return tuple(map(torch.from_numpy, session.run(None, {"pixels": pixels.numpy()})))

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

    def write(self, size: Size, file: Path) -> None:
        """See :class:`triptych.engines.base.GraphEngine`."""
        file.write_bytes(convert(self.model, size))


def convert(model: nn.Module, size: Size) -> bytes:
    """A network as an ONNX file for one picture of ``size``.

    Raises:
        TriptychError: it cannot hold this network, or what writes it is not installed.
    """
    need("onnx", "onnxscript")
    need("onnx", "onnx")
    program = trace(model, size)
    names = ["mask_logits", "class_logits"]
    outputs = len(program.graph_signature.user_outputs)
    try:
        with _quiet():
            exported = torch.onnx.export(
                program,
                opset_version=OPSET,
                input_names=["pixels"],
                output_names=names[:outputs],
                external_data=False,
                verbose=False,
            )
            assert exported is not None
            written: bytes = exported.model_proto.SerializeToString()
    except Exception as error:
        raise unsupported("ONNX", error) from error
    return written


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's reports: on its own progress, on torchvision, on what it skips."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
