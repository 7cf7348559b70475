"""What engines that need a graph for each input shape share."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.engines.base import PRECISIONS
from triptych.engines.folder import Exported
from triptych.engines.parts import (
    OUTPUTS,
    Part,
    PartModule,
    decoding,
    encoding,
    outputs_of,
    prediction_of,
    tensors_in,
    two_halves,
    whole,
)
from triptych.engines.unsupported import unsupported
from triptych.errors import TriptychError
from triptych.networks.contract import (
    Ask,
    Features,
    Prediction,
    Prompts,
    features_of,
    tensors_of,
)

log = logging.getLogger(__name__)

Run = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
"""Runs a graph: its inputs to its outputs, in their order."""

KEPT = 16
"""Sessions that are cached. A network's inputs have few sizes: one for each aspect ratio."""

PROMPTS = (1, 8, 64)
"""Prompts that a graph takes at once: as many as there are, filled up to one of these; beyond, to a
multiple of the last. Prompts do not see each other, so that what fills up changes nothing."""


@dataclass(frozen=True)
class Session:
    """A graph that is ready to run."""

    run: Run
    outputs: tuple[str, ...]
    """Names of what it gives."""

    def __call__(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The outputs by name."""
        given = self.run([tensor.contiguous() for tensor in inputs])
        # Folders of before do not name their outputs, of which a network has one or two.
        return dict(zip(self.outputs or OUTPUTS[: len(given)], given, strict=True))


@dataclass(frozen=True)
class Traced:
    """A part of a network as ``torch.export`` sees it, weights included."""

    part: Part
    program: torch.export.ExportedProgram
    outputs: tuple[str, ...]
    """Names of the outputs."""


def trace(model: nn.Module, part: Part) -> Traced:
    """The graph of a part of a network.

    Sizes are written into it as numbers: of positions, windows and resized maps.

    Raises:
        TriptychError: the network does something that no graph can hold.
    """
    told: list[tuple[str, ...]] = []
    module = PartModule(model, part, told.append).eval()
    try:
        # Ordinary tensors, whatever the caller's mode: a graph's constants must be saved.
        with quiet(), torch.inference_mode(False), torch.no_grad():
            program = torch.export.export(module, part.examples(), strict=False)
    except Exception as error:
        raise unsupported("torch.export", error, model) from error
    return Traced(part, program, told[-1])


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
        self._sessions: OrderedDict[tuple[Part, str], Session] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(
        self, pixels: Tensor, precision: torch.dtype | None = None, ask: Ask | None = None
    ) -> Prediction:
        """See :class:`triptych.engines.base.Engine`."""
        if ask is not None:
            return self.decode(self.encode(pixels, precision), ask, precision)
        part = whole((pixels.shape[3], pixels.shape[2]))
        return prediction_of(self._each(part, [pixels], precision))

    def encode(self, pixels: Tensor, precision: torch.dtype | None = None) -> Features:
        """See :class:`triptych.engines.base.Engine`."""
        kind = two_halves(self.model).features_type
        part = encoding((pixels.shape[3], pixels.shape[2]))
        return features_of(kind, self._each(part, [pixels], precision))

    def decode(
        self, features: Features, ask: Ask | None = None, precision: torch.dtype | None = None
    ) -> Prediction:
        """See :class:`triptych.engines.base.Engine`."""
        if isinstance(ask, Prompts):
            return self._point(features, ask, precision)
        two_halves(self.model)
        first = features_of(type(features), {n: t[:1] for n, t in tensors_of(features).items()})
        part, _ = decoding(first, ask)
        return prediction_of(self._each(part, list(tensors_of(features).values()), precision))

    def _point(self, features: Features, ask: Prompts, precision: torch.dtype | None) -> Prediction:
        count = len(ask)
        part, inputs = decoding(features, filled_up(ask))
        found = self._run(part, inputs, precision)
        rows = found["mask_logits"].shape[1] // graph_prompts(count) * count
        return prediction_of({name: tensor[:, :rows] for name, tensor in found.items()}, count)

    def _each(
        self, part: Part, inputs: Sequence[Tensor], precision: torch.dtype | None
    ) -> dict[str, Tensor]:
        """Run a part for one picture on each of a batch."""
        found = [
            self._run(part, one, precision)
            for one in zip(*(t.split(1) for t in inputs), strict=True)
        ]
        return {name: torch.cat([one[name] for one in found]) for name in found[0]}

    def _run(
        self, part: Part, inputs: Sequence[Tensor], precision: torch.dtype | None
    ) -> dict[str, Tensor]:
        with self._lock:
            return self._session(part, PRECISIONS[precision])(inputs)

    def _session(self, part: Part, precision: str) -> Session:
        key = part, precision
        if key not in self._sessions:
            self.check(precision)
            exported = self.exported.graphs.get(part) if self.exported else None
            began = time.perf_counter()
            if exported:
                self._sessions[key] = Session(
                    self.load(part, precision, exported.file), exported.outputs
                )
            else:
                traced = trace(self.model, part)
                self._sessions[key] = Session(self.compile(traced, precision), traced.outputs)
            took = time.perf_counter() - began
            self.preparation += took
            log.info("engine %s: ready for %s in %s, %.1f s", self.name, part, precision, took)
            if len(self._sessions) > KEPT:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def compile(self, traced: Traced, precision: str) -> Run:
        """Make a graph ready to run.

        Raises:
            TriptychError: the engine cannot take this network.
        """
        raise NotImplementedError

    def load(self, part: Part, precision: str, file: Path) -> Run:
        """Make a graph ready to run that :meth:`write` wrote.

        Raises:
            TriptychError: the file is damaged.
        """
        raise NotImplementedError

    def check(self, precision: str) -> None:
        """Refuse arithmetic ("fp32", "bf16" or "fp16") that the engine has not got here.

        Raises:
            TriptychError: it has not.
        """
        raise NotImplementedError

    def write(self, traced: Traced, file: Path) -> None:
        """Write a graph, weights included.

        Raises:
            TriptychError: the engine cannot take this network.
        """
        raise NotImplementedError


def places(part: Part, names: Sequence[str]) -> list[int]:
    """Which inputs of a part a graph takes, and in which order: it may have no use for some.

    Folders of before have other names, and one input.
    """
    known = [one.name for one in part.inputs]
    return [known.index(name) if name in known else place for place, name in enumerate(names)]


def graph_prompts(count: int) -> int:
    """How many prompts the graph takes in which ``count`` find room."""
    return next((room for room in PROMPTS if room >= count), -(-count // PROMPTS[-1]) * PROMPTS[-1])


def filled_up(ask: Prompts) -> Prompts:
    """As many prompts as a graph takes; the last one fills up."""
    more = graph_prompts(len(ask)) - len(ask)
    rows = {
        name: torch.cat((tensor, tensor[-1:].expand(more, *tensor.shape[1:])))
        for name, tensor in tensors_in(ask).items()
    }
    return dataclasses.replace(ask, **rows)  # type: ignore[arg-type]


@torch.no_grad()
def largest_difference(given: Tensor, wanted: Tensor) -> float:
    """Largest difference of two tensors beside the largest value of the second."""
    return float((given.float() - wanted.float()).abs().max() / wanted.abs().max())


def differences(given: Prediction, wanted: Prediction) -> dict[str, float]:
    """By name of the output, the largest difference beside the largest value of ``wanted``."""
    mine = outputs_of(given)
    return {
        name.replace("_", " "): largest_difference(mine[name], tensor)
        for name, tensor in outputs_of(wanted).items()
    }
