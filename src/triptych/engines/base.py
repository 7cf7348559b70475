"""What an engine is, and what engines that need a graph for each input shape share."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from triptych.engines.folder import Exported, Size
from triptych.engines.unsupported import unsupported
from triptych.errors import TriptychError
from triptych.networks.contract import Ask, Features, Prediction

log = logging.getLogger(__name__)

Session = Callable[[Tensor], tuple[Tensor, ...]]
"""Runs a graph: float32 pixels ``(1, 3, Hn, Wn)`` of its one size to mask logits and, if there are
any, class logits."""

KEPT = 8
"""Sessions that are kept. A network's inputs have few sizes: one for each aspect ratio."""

PRECISIONS = {None: "fp32", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
"""Types of arithmetic, as the command line calls them."""


class Engine(Protocol):
    """Runs one network."""

    name: str
    """As :data:`triptych.engines.registry.ENGINES` has it."""
    model: nn.Module
    """The network."""
    runs_modules: bool
    """Whether the modules of ``model`` run, so that hooks on them see something."""
    preparation: float
    """Seconds that went into compiling so far."""

    def __call__(
        self, pixels: Tensor, precision: torch.dtype | None = None, ask: Ask | None = None
    ) -> Prediction:
        """Predict for normalised pixels ``(B, 3, Hn, Wn)``.

        Args:
            pixels: on the network's device, of its weights' type.
            precision: type of the arithmetic where the engine thinks it safe; None for that of
                the weights.
            ask: what to say to the network; see :class:`triptych.networks.contract.Network`.

        Raises:
            TriptychError: the engine cannot do it in this precision, or cannot run this network.
        """
        ...

    def encode(self, pixels: Tensor, precision: torch.dtype | None = None) -> Features:
        """The first half: what depends on the image alone."""
        ...

    def decode(
        self, features: Features, ask: Ask | None = None, precision: torch.dtype | None = None
    ) -> Prediction:
        """The second half. May be called from any thread, as the others."""
        ...


class Outputs(nn.Module):
    """A network whose output is a tuple of tensors, which is what graphs have."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Mask logits ``(B, N, h, w)`` and, if there are any, class logits ``(B, N, K+1)``."""
        prediction = self.model(pixels)
        if prediction.class_logits is None:
            return (prediction.mask_logits,)
        return prediction.mask_logits, prediction.class_logits


def trace(model: nn.Module, size: Size) -> torch.export.ExportedProgram:
    """The graph of a network for one picture of ``size``, weights included.

    Sizes are written into it as numbers: of positions, windows and resized maps.

    Raises:
        TriptychError: the network does something that no graph can hold.
    """
    width, height = size
    example = next(model.parameters()).new_zeros(1, 3, height, width)
    try:
        # Ordinary tensors, whatever the caller's mode: a graph's constants must be saved.
        with quiet(), torch.inference_mode(False), torch.no_grad():
            return torch.export.export(Outputs(model).eval(), (example,), strict=False)
    except Exception as error:
        raise unsupported("torch.export", error, model) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' reports: on their progress, on what they skip, on what they guess.

    Where OpenVINO's converter fails it leaves the root logger changed; here it is put back.
    """
    names = ("torch.onnx", "torch.fx", "torch._export", "torch.export", "onnxscript", "onnx_ir")
    root, *loggers = (logging.getLogger(name) for name in ("", *names))
    levels = [(logger, logger.level) for logger in (root, *loggers)]
    handlers, filters = list(root.handlers), list(root.filters)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        said = io.StringIO()
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
        root.handlers, root.filters = handlers, filters


class GraphEngine:
    """An engine that has a session for each input size and precision.

    A session is made when its size is first seen, which takes seconds, from an exported file where
    there is one. The least recently used gives way when there are more than :data:`KEPT`. The
    pictures of a batch go through one by one, which on a CPU is as quick. Calls may come from any
    thread; they take turns.

    Args:
        model: the network, on the CPU, with weights in float32.
        exported: graphs that were written before.

    Raises:
        TriptychError: the network is elsewhere, or its weights are of another type.
    """

    name: str
    suffix: str
    """Of the files that :meth:`write` writes."""
    sharing: Mapping[str, Any]
    """Settings of the runtime with which its threads leave the cores to others where they wait."""
    runs_modules = False

    def __init__(self, model: nn.Module, exported: Exported | None = None) -> None:
        weight = next(model.parameters())
        if weight.device.type != "cpu":
            raise TriptychError(
                f"the engine {self.name} computes on the CPU, not on {weight.device}; use "
                "--device cpu (device='cpu'), or the engine eager or compile"
            )
        if weight.dtype != torch.float32:
            raise TriptychError(
                f"the engine {self.name} takes weights in float32, not {weight.dtype}; give the "
                "precision of the arithmetic instead (--precision)"
            )
        self.model = model
        self.exported = exported if exported and exported.engine == self.name else None
        self.preparation = 0.0
        self._sessions: OrderedDict[tuple[Size, str], Session] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, pixels: Tensor, precision: torch.dtype | None = None) -> Prediction:
        """See :class:`Engine`."""
        size = (pixels.shape[3], pixels.shape[2])
        with self._lock:
            session = self._session(size, PRECISIONS[precision])
            found = [session(one.contiguous()) for one in pixels.split(1)]
        masks, *classes = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Prediction.from_logits(masks, classes[0] if classes else None)

    def _session(self, size: Size, precision: str) -> Session:
        key = size, precision
        if key not in self._sessions:
            self.check(precision)
            file = self.exported.graphs.get(size) if self.exported else None
            began = time.perf_counter()
            self._sessions[key] = self.session(size, precision, file)
            took = time.perf_counter() - began
            self.preparation += took
            log.info("engine %s: ready for %dx%d in %s, %.1f s", self.name, *size, precision, took)
            if len(self._sessions) > KEPT:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def session(self, size: Size, precision: str, file: Path | None) -> Session:
        """Make a session from an exported file, or from the network.

        Raises:
            TriptychError: the engine cannot take this network, or the file is damaged.
        """
        raise NotImplementedError

    def check(self, precision: str) -> None:
        """Refuse arithmetic ("fp32", "bf16" or "fp16") that the engine has not got here.

        Raises:
            TriptychError: it has not.
        """
        raise NotImplementedError

    def write(self, size: Size, file: Path) -> None:
        """Write the graph for inputs of one size, weights included.

        Raises:
            TriptychError: the engine cannot take this network.
        """
        raise NotImplementedError


def largest_difference(given: Tensor, wanted: Tensor) -> float:
    """Largest difference of two tensors beside the largest value of the second."""
    return float((given.float() - wanted.float()).abs().max() / wanted.abs().max())


def differences(given: Prediction, wanted: Prediction) -> dict[str, float]:
    """By name of the output, the largest difference beside the largest value of ``wanted``."""
    found = {"mask logits": largest_difference(given.mask_logits, wanted.mask_logits)}
    if given.class_logits is not None and wanted.class_logits is not None:
        found["class logits"] = largest_difference(given.class_logits, wanted.class_logits)
    return found


def need(extra: str, module: str) -> Any:
    """Import what an extra brings.

    Raises:
        TriptychError: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TriptychError(
            f"this needs {error.name or module}; pip install '.[{extra}]' in the checkout"
        ) from error
