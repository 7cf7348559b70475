"""Tensors that depend on sizes alone, made once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def constant(make: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Cache a function from sizes, device and dtype to a tensor, which callers must not write to.

    A plain ``lru_cache`` would keep what a tracer passed through (``torch.export``'s fake tensors,
    whose memory holds anything) and what inference mode made, which training must not save.
    """
    cached = functools.lru_cache(maxsize=64)(make)

    @functools.wraps(make)
    def lookup(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if torch.compiler.is_compiling():
            return make(*args, **kwargs)
        with torch.inference_mode(False):
            return cached(*args, **kwargs)  # type: ignore[arg-type]

    return lookup
