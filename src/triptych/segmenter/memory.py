"""Too little memory, told in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from triptych.errors import TriptychError
from triptych.image.preprocess import Batch


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


def input_of(batch: Batch) -> str:
    """The size of a network's input, for messages."""
    count, _, height, width = batch.pixels.shape
    return f"a network input of {count} x {height} x {width} pixels"
