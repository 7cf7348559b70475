"""``torch.compile``, region by region: the blocks that a network repeats.

Compiling a whole network takes minutes on a CPU and makes some of it slower (``grid_sample``: by
seven times). A repeated block is compiled once for all places that have it in the same shape.
"""

from __future__ import annotations

import copy
import functools
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from triptych.engines.eager import inference
from triptych.engines.folder import Exported
from triptych.engines.parts import Part, decoding, encoding, two_halves, whole
from triptych.engines.unsupported import unsupported
from triptych.networks.contract import Ask, Features, Prediction
from triptych.networks.layers.deformable import DeformableAttention

log = logging.getLogger(__name__)

VARIANTS = 64
"""Shapes and settings in which one kind of block may be compiled; torch's own limit is 8."""


class Compiled:
    """Runs the network with its repeated blocks compiled; see ``triptych.engines.base.Engine``.

    Blocks are compiled when an input shape is first seen, which takes from half a minute to
    minutes; torch keeps what it compiled on the disk for the next time. The network that it was
    given stays as it is: a copy that shares its weights is compiled.
    """

    name = "compile"
    runs_modules = True

    def __init__(self, model: nn.Module, exported: Exported | None = None) -> None:
        shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
        self.model: nn.Module = copy.deepcopy(model, shared)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations within torch's own compiler
            for block in regions(self.model):
                block.compile(dynamic=False)
        self.preparation = 0.0
        self._seen: set[tuple[tuple[Part, int], torch.dtype | None]] = set()

    def __call__(
        self, pixels: Tensor, precision: torch.dtype | None = None, ask: Ask | None = None
    ) -> Prediction:
        """See :class:`triptych.engines.base.Engine`."""
        if ask is not None:
            return self.decode(self.encode(pixels, precision), ask, precision)
        part = whole((pixels.shape[3], pixels.shape[2]))
        work = functools.partial(self.model, pixels)
        found: Prediction = self._run((part, len(pixels)), precision, pixels.device, work)
        return found

    def encode(self, pixels: Tensor, precision: torch.dtype | None = None) -> Features:
        """See :class:`triptych.engines.base.Engine`."""
        model = two_halves(self.model)
        part = encoding((pixels.shape[3], pixels.shape[2]))
        work = functools.partial(model.encode, pixels)
        return self._run((part, len(pixels)), precision, pixels.device, work)

    def decode(
        self, features: Features, ask: Ask | None = None, precision: torch.dtype | None = None
    ) -> Prediction:
        """See :class:`triptych.engines.base.Engine`."""
        model = two_halves(self.model)
        part, inputs = decoding(features, ask)
        work = functools.partial(model.decode, features, ask)
        found: Prediction = self._run((part, 1), precision, inputs[0].device, work)
        return found

    def _run(
        self,
        what: tuple[Part, int],
        precision: torch.dtype | None,
        device: torch.device,
        work: Callable[[], Any],
    ) -> Any:
        """Do some work, whose blocks are compiled first; ``what`` it is tells its shapes."""
        if (what, precision) not in self._seen:
            began = time.perf_counter()
            self._compile(work, device, precision)
            took = time.perf_counter() - began
            self.preparation += took
            self._seen.add((what, precision))
            log.info("engine compile: ready for %s in %.1f s", what[0], took)
        with inference(device, precision):
            return work()

    def _compile(
        self, work: Callable[[], Any], device: torch.device, precision: torch.dtype | None
    ) -> None:
        """Let the blocks be compiled by what comes to them."""
        limit = torch._dynamo.config.patch(recompile_limit=VARIANTS)
        try:
            with warnings.catch_warnings(), limit, inference(device, precision):
                warnings.simplefilter("ignore")
                work()
        except torch._dynamo.exc.TorchDynamoException as error:
            raise unsupported("torch.compile", error) from error


def regions(model: nn.Module) -> Iterator[nn.Module]:
    """What is compiled: the innermost modules with parts that stand in a row of their like.

    Blocks around deformable attention are left as they are, since its sampling is faster so on a
    CPU.
    """
    row = isinstance(model, nn.ModuleList | nn.Sequential)
    for child in model.children():
        inner = list(regions(child))
        like = sum(type(other) is type(child) for other in model.children())
        plain = not any(isinstance(part, DeformableAttention) for part in child.modules())
        if inner:
            yield from inner
        elif row and like > 1 and plain and any(child.children()):
            yield child
