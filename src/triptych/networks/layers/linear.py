"""Linear layers that a CPU computes in one pass, with what follows them."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from triptych.networks.layers.cache import Cached
from triptych.networks.layers.chunks import eager_cpu

Activation = Literal["none", "relu", "gelu"]

FUSED = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.mkldnn.is_available()
    else None
)
"""oneDNN's product with bias and activation, where torch has it."""


def _knows_bf16() -> bool:
    """Whether oneDNN multiplies bfloat16 on this processor: not without AVX-512."""
    ask = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return ask is not None and bool(ask())


TYPES = (torch.float32, torch.bfloat16) if FUSED and _knows_bf16() else (torch.float32,)
"""Arithmetic that it has here."""

MIN_WORK = 1 << 25
"""Multiplications below which oneDNN takes longer to begin than it saves."""


class _Fused:
    """Weight and bias in the type of the arithmetic: their own, or a copy kept for autocast.

    (autocast keeps its copies for no longer than one pass, and none of frozen weights.)
    """

    _cached: Cached[list[Tensor]]

    def fused(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, then: Activation
    ) -> Tensor | None:
        """``(..., inputs)`` to ``(..., outputs)``, or None where oneDNN is not to be used."""
        if FUSED is None or not eager_cpu(x) or x.numel() * len(weight) < MIN_WORK:
            return None
        half = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if half else x.dtype
        if dtype not in TYPES:
            return None
        x, weight = x.to(dtype), weight.flatten(1)
        if torch.is_grad_enabled():
            bias = None if bias is None else bias.to(dtype)
            after: Activation = "none" if then == "gelu" else then
            y: Tensor = _Differentiable.apply(x, weight.to(dtype), bias, after)
            return F.gelu(y) if then == "gelu" else y
        if weight.dtype != dtype:
            parts = [weight] if bias is None else [weight, bias]
            weight, *rest = self._cached.get(parts, lambda: [part.to(dtype) for part in parts])
            bias = rest[0] if rest else None
        result: Tensor = FUSED(x, weight, bias, then, [], "none")
        return result


class _Differentiable(torch.autograd.Function):
    """oneDNN's product with its gradients, which torch does not have."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, then: Literal["none", "relu"]
    ) -> Tensor:
        assert FUSED is not None
        y: Tensor = FUSED(x, weight, bias, then, [], "none")
        ctx.save_for_backward(x, weight, y if then == "relu" else None)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        if y is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        rows = gradient.reshape(-1, len(weight))
        return (
            (rows @ weight).view(x.shape) if for_x else None,
            rows.T @ x.reshape(len(rows), -1) if for_weight else None,
            rows.sum(0) if for_bias else None,
            None,
        )


class Linear(nn.Linear, _Fused):
    """``nn.Linear`` whose call may name the activation that follows.

    On a CPU the product, the bias and the activation are one call of oneDNN, which otherwise serves
    torch's compiler: 1.1 to 1.4 times as quick as ``F.linear``, which first copies the bias over
    the whole result (Zen 4, 400 to 8400 tokens of 96 to 3072 numbers).
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self._cached = Cached()

    def forward(self, x: Tensor, activation: Activation = "none") -> Tensor:
        """Map ``(..., inputs)`` to ``(..., outputs)``."""
        y = self.fused(x, self.weight, self.bias, activation)
        if y is not None:
            return y
        y = super().forward(x)
        if activation == "relu":
            # In place of what a gradient needs, torch would copy it twice on the way back.
            return F.relu(y, inplace=not y.requires_grad)
        return F.gelu(y) if activation == "gelu" else y


class PointConv(nn.Conv2d, _Fused):
    """1x1 convolution; on a CPU the linear layer that it is, as :class:`Linear`.

    The result is laid out channels last then, which spares maps that became tokens, or will, a
    copy each way.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)
        self._cached = Cached()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, h, w)`` to ``(B, outputs, h, w)``."""
        y = self.fused(x.permute(0, 2, 3, 1), self.weight, self.bias, "none")
        return super().forward(x) if y is None else y.permute(0, 3, 1, 2)
