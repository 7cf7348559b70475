"""What a source hands on: pictures with their times, and how the source itself fares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video."""

    pixels: np.ndarray
    """``(H, W, 3)`` uint8, upright RGB. Never modified."""
    index: int
    """Its number in the source, from 0; frames that were skipped are counted too."""
    time: float
    """When it was decoded, ``time.monotonic()`` seconds."""
    media_time: float | None = None
    """Seconds from the start of a recording; None for a live source, which has no other time
    than the present."""
    decode_seconds: float = 0.0
    """What decoding and the conversion to RGB took."""
    anew: bool = False
    """Whether a film begins again with it, or with one that was skipped before it: nothing that is
    followed goes on."""

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def moment(self) -> float:
        """Seconds on the clock by which things in the picture move."""
        return self.time if self.media_time is None else self.media_time


class Phase(Enum):
    """What a source is doing."""

    CONNECTING = "connecting"
    RUNNING = "running"
    PAUSED = "paused"
    STALLED = "stalled"
    """Connected, but no picture has come for a while."""
    WAITING = "waiting"
    """Lost; it is tried again after a while, which grows with every failure."""
    ENDED = "ended"
    """A recording that has been read to its end."""
    FAILED = "failed"
    """Not to be read at all; it is not tried again."""
    CLOSED = "closed"


@dataclass(frozen=True)
class SourceStatus:
    """How a source fares, at the moment it is asked."""

    phase: Phase
    message: str
    """One line on what is wrong; empty while all is well. Never holds a password."""
    since: float
    """``time.monotonic()`` at which the phase began."""
    size: tuple[int, int] | None
    """``(H, W)`` of the newest frame."""
    frames: int
    """Pictures that came, those that were dropped included."""
    dropped: Mapping[str, int]
    """Pictures nobody got to see, by reason: see :class:`DropReason`."""
    connections: int
    """How often it was connected; more than one means that it was lost in between."""
    waiting: int
    """Frames that wait to be taken: 0 or 1."""

    @property
    def over(self) -> bool:
        """Whether no more frames will come."""
        return self.phase in (Phase.ENDED, Phase.FAILED, Phase.CLOSED) and not self.waiting


class DropReason:
    """Reasons for which a frame is skipped, as they are shown."""

    BUSY = "busy"
    """A newer one came before the network was free."""
    BROKEN = "broken"
    """Its data is damaged."""
    PAUSED = "paused"
    """A live source went on while it was paused."""
    UNREAD = "unread"
    """The network or a reading failed on it."""
