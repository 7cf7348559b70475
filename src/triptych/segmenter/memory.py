"""Too little memory, told in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from triptych.errors import TriptychError


@contextlib.contextmanager
def memory_told(for_what: str) -> Iterator[None]:
    """Turn what PyTorch raises where memory does not suffice ``for_what`` into a line.

    Raises:
        TriptychError: it did not.
    """
    try:
        yield
    except RuntimeError as error:
        # CUDA has a type of its own for this; the CPU only says so.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate" in str(error):
            raise TriptychError(f"not enough memory for {for_what}") from error
        raise
