"""The engine that is always there: PyTorch runs the modules one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from triptych.engines.folder import Exported
from triptych.networks.contract import Ask, Features, Prediction, tensors_of


@contextlib.contextmanager
def inference(device: torch.device, precision: torch.dtype | None) -> Iterator[None]:
    """How PyTorch computes answers: no gradients, and autocast unless ``precision`` is None."""
    autocast = torch.autocast(device.type, precision, enabled=precision is not None)
    with torch.inference_mode(), autocast:
        yield


class Eager:
    """Runs the network as it is; see :class:`triptych.engines.base.Engine`."""

    name = "eager"
    runs_modules = True
    preparation = 0.0

    def __init__(self, model: nn.Module, exported: Exported | None = None) -> None:
        self.model = model

    def __call__(
        self, pixels: Tensor, precision: torch.dtype | None = None, ask: Ask | None = None
    ) -> Prediction:
        """See :class:`triptych.engines.base.Engine`."""
        with inference(pixels.device, precision):
            prediction: Prediction = self.model(pixels) if ask is None else self.model(pixels, ask)
        return prediction

    def encode(self, pixels: Tensor, precision: torch.dtype | None = None) -> Features:
        """See :class:`triptych.engines.base.Engine`."""
        with inference(pixels.device, precision):
            return self.model.encode(pixels)  # type: ignore[operator]

    def decode(
        self, features: Features, ask: Ask | None = None, precision: torch.dtype | None = None
    ) -> Prediction:
        """See :class:`triptych.engines.base.Engine`."""
        some = next(iter(tensors_of(features).values()))
        with inference(some.device, precision):
            prediction: Prediction = self.model.decode(features, ask)  # type: ignore[operator]
        return prediction
