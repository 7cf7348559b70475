"""What a source reads from, how it deals with what is slower, and how patient it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np

from triptych.errors import TriptychError


class Hopeless(TriptychError):
    """A source cannot be read, and would not be if it were tried again."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What a reader yields."""

    pixels: np.ndarray | None
    """``(H, W, 3)`` uint8 RGB; None if the data of this picture is damaged."""
    media_time: float | None = None
    """Seconds from the start of a recording; None for what is live."""
    decode_seconds: float = 0.0


Opener: TypeAlias = Callable[[], Iterator[Picture]]
"""Begins to read; called again to connect again. It, and the iterator, raise ``TriptychError``
with one line on what is wrong. An iterator with ``close()``, as generators have, is closed."""


class Mode(Enum):
    """How a source deals with a reader of frames that is slower than its pictures come."""

    LIVE = "live"
    """Keeps the newest frame, counts the others; a lost connection is tried again forever."""
    REALTIME = "real time"
    """A recording at the pace at which it was taken; keeps the newest frame."""
    LOSSLESS = "lossless"
    """A recording of which every frame is wanted: it waits."""


@dataclass(frozen=True)
class Patience:
    """Seconds that a source takes for things."""

    stall: float = 2.0
    """A live source counts as stalled after so long without a picture."""
    damage: float = 10.0
    """It is connected anew after so long of nothing but damaged pictures."""
    wait: float = 0.5
    """Pause before it is connected again, doubled with every failure up to ``longest_wait``."""
    longest_wait: float = 30.0
    still: float = 1.0
    """Pause before a single picture at an address is asked for again."""
