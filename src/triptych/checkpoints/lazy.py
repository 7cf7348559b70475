"""Tensors that are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TensorEntry:
    """A tensor that lies in a file."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


class Tensors(Mapping[str, Tensor]):
    """Tensors by name, which are read at each look-up, so that no more are held than are used."""

    def __init__(self, entries: Mapping[str, TensorEntry]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> Tensor:
        return self._entries[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # the default would read the values

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, whose values are not read for it."""
        return self._entries[name].shape
