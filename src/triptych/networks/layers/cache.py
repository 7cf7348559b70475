"""A cache of what is computed from weights: valid until they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Cached(Generic[T]):
    """One cached value, made of some tensors."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._of: list[tuple[int, torch.dtype, int]] = []

    def get(self, tensors: Sequence[Tensor], make: Callable[[], T]) -> T:
        """The value for ``tensors``: as it is, or made anew if one of them has changed."""
        # Tensors made in inference mode count no changes; they cannot be trained either.
        now = [(t.data_ptr(), t.dtype, 0 if t.is_inference() else t._version) for t in tensors]
        if self._value is None or now != self._of:
            self._value, self._of = make(), now
        return self._value
