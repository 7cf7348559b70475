"""Work on tokens in chunks, so that what lies between two layers stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

CHUNK = 1024
"""Tokens handled at once; measured from 256 to 4096."""


def eager_cpu(x: Tensor) -> bool:
    """Whether what is done to ``x`` happens at once and on a CPU: not traced, not exported."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    return x.device.type == "cpu" and not traced


def in_chunks(x: Tensor) -> bool:
    """Whether to go in chunks: on a CPU, where nothing is differentiated, traced or exported.

    Memory that a process has just got from the system is several times slower than the cache, and
    a whole layer's intermediates are new memory each time (Mask2Former at 640x640, the hidden
    layer of one feed-forward: 34 MB).
    """
    return eager_cpu(x) and not torch.is_grad_enabled()


def chunks(length: int, size: int) -> Iterator[slice]:
    """Cut ``length`` into slices of at most ``size``."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def by_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)`` of tokens ``(..., C)``, for a function that treats each token by itself."""
    if not in_chunks(x) or x.numel() <= CHUNK * x.shape[-1]:
        return function(x)
    rows = x.reshape(-1, x.shape[-1])
    out: Tensor | None = None
    for some in chunks(len(rows), CHUNK):
        y = function(rows[some])
        if out is None:
            out = y.new_empty(len(rows), y.shape[-1])
        out[some] = y
    assert out is not None
    return out.view(*x.shape[:-1], -1)
