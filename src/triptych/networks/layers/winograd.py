"""3x3 convolutions with a quarter of the multiplications.

Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016, section 4): tiles of 6 x 6 pixels, 4 x 4 of which come out. Tiles and kernels
are transformed, multiplied channels by channels at each of 36 places, and transformed back.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from triptych.networks.layers.cache import Cached
from triptych.networks.layers.chunks import chunks, eager_cpu

TILES = 160
"""Tiles at once, about; measured from 40 to 1600."""

MIN_WORK = 1 << 30
"""Multiplications of a plain convolution below which this one saves nothing."""

# The points 0, 1, -1, 2, -2 and infinity, as in the paper.
_TILE = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.double,
    device="cpu",
)
_KERNEL = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]],
    dtype=torch.double,
    device="cpu",
).div_(24)
_BACK = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.double,
    device="cpu",
)


class Conv3x3(nn.Conv2d):
    """3x3 convolution without bias, padded to keep its input's size.

    On a CPU in float32, large ones are computed by Winograd's method: 1.6 times as quick with 256
    channels on 160x160 pixels (Zen 4), and 1e-5 of the largest value apart. So is the gradient of
    their input.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)
        self._cached: Cached[Tensor] = Cached()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, h, w)`` to ``(B, outputs, h, w)``."""
        work = 9 * len(self.weight) * x.numel()
        half = torch.is_autocast_enabled("cpu") or x.dtype != torch.float32
        if half or work < MIN_WORK or not eager_cpu(x):
            return super().forward(x)
        if torch.is_grad_enabled():
            y: Tensor = _Differentiable.apply(x, self.weight)
            return y
        kernel = self._cached.get((self.weight,), lambda: transformed_kernel(self.weight))
        return _images(x, kernel)


class _Differentiable(torch.autograd.Function):
    """Winograd's method with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _images(x, transformed_kernel(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight = ctx.needs_input_grad
        turned = weight.flip((2, 3)).transpose(0, 1)
        result = None
        if for_weight:
            one = (1, 1)
            _, result, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, one, one, one, False, (0, 0), 1, (False, True, False)
            )
        return _images(gradient, transformed_kernel(turned)) if for_x else None, result


def _images(x: Tensor, kernel: Tensor) -> Tensor:
    """One image after the other, channels last."""
    if len(x) == 1:
        return winograd(x, kernel)
    out = x.new_empty(len(x), *x.shape[2:], kernel.shape[2]).permute(0, 3, 1, 2)
    for number, image in enumerate(x.split(1)):
        out[number] = winograd(image, kernel)[0]
    return out


def transformed_kernel(weight: Tensor) -> Tensor:
    """Kernels ``(outputs, inputs, 3, 3)`` in Winograd's form ``(36, inputs, outputs)``."""
    both = torch.kron(_KERNEL, _KERNEL) @ weight.double().flatten(2).permute(2, 1, 0).flatten(1)
    return both.to(weight.dtype).unflatten(1, (weight.shape[1], -1))


def winograd(image: Tensor, kernel: Tensor) -> Tensor:
    """Convolve ``(1, inputs, h, w)`` with :func:`transformed_kernel`: ``(1, outputs, h, w)``."""
    height, width = image.shape[2:]
    down, across = -(-height // 4), -(-width // 4)
    # Channels last, one pixel of padding and whole tiles.
    beyond = (0, 0, 1, 4 * across - width + 1, 1, 4 * down - height + 1)
    padded = F.pad(image[0].permute(1, 2, 0), beyond)
    tiles = padded.unfold(0, 6, 4).unfold(1, 6, 4).permute(3, 4, 0, 1, 2)  # (6, 6, down, across, C)
    there = torch.kron(_TILE, _TILE).to(image.dtype)
    back = torch.kron(_BACK, _BACK).to(image.dtype)
    out = image.new_empty(down, 4, across, 4, kernel.shape[2])
    for rows in chunks(down, max(1, TILES // across)):
        some = tiles[:, :, rows]
        count = some.shape[2]
        values = (there @ some.reshape(36, -1)).view(36, count * across, -1)
        products = torch.bmm(values, kernel).flatten(1)
        result = (back @ products).view(4, 4, count, across, -1)
        out[rows] = result.permute(2, 0, 3, 1, 4)
    return out.view(4 * down, 4 * across, -1)[:height, :width].permute(2, 0, 1)[None]
