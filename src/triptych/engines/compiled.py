"""``torch.compile``, region by region: the blocks that a network repeats.

Compiling a whole network takes minutes on a CPU and makes some of it slower (``grid_sample``: by
seven times). A repeated block is compiled once for all places that have it in the same shape.
"""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from triptych.engines.eager import inference
from triptych.engines.folder import Exported
from triptych.engines.unsupported import unsupported
from triptych.networks.contract import Prediction
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
        self._seen: set[tuple[torch.Size, torch.dtype | None]] = set()

    def __call__(self, pixels: Tensor, precision: torch.dtype | None = None) -> Prediction:
        """See :class:`triptych.engines.base.Engine`."""
        if (pixels.shape, precision) not in self._seen:
            began = time.perf_counter()
            self._compile(pixels, precision)
            took = time.perf_counter() - began
            self.preparation += took
            self._seen.add((pixels.shape, precision))
            log.info("engine compile: ready for %s in %.1f s", tuple(pixels.shape), took)
        with inference(pixels.device, precision):
            prediction: Prediction = self.model(pixels)
        return prediction

    def _compile(self, pixels: Tensor, precision: torch.dtype | None) -> None:
        """Let the blocks be compiled by what comes to them."""
        limit = torch._dynamo.config.patch(recompile_limit=VARIANTS)
        try:
            with warnings.catch_warnings(), limit, inference(pixels.device, precision):
                warnings.simplefilter("ignore")
                self.model(pixels)
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
