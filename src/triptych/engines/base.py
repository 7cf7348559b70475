"""What an engine is: it runs a network, whole or in its two halves."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.contract import Ask, Features, Prediction

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
