"""One object that is followed, and how objects are followed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from triptych.errors import TriptychError
from triptych.readings.instance import Box


class State(Enum):
    """How sure a track is."""

    NEW = "new"
    """Seen too few times to count."""
    SEEN = "seen"
    LOST = "lost"
    """Counted, but out of sight now: behind something, or missed by the network. While the network
    still half sees it, its place is known, and it is not forgotten."""


@dataclass(frozen=True, eq=False)
class Track:
    """One object that is followed, as it is at one moment. All lengths are in pixels."""

    id: int
    """From 1, never given twice."""
    class_id: int
    name: str
    score: float
    """Of the newest sight of it."""
    state: State
    box: Box
    """``(x0, y0, x1, y1)`` round what is seen of it, less crumbs; where it should be by now if
    it is lost."""
    mask: np.ndarray | None
    """Bool, of the size of the box: its shape within it, or that of its last sight. None after
    the picture has changed its size."""
    instance: int | None
    """Its place among the instances of this frame; None if it is lost."""
    body: Box
    """The whole of it, as far as it is known: more than ``box`` while something hides a part."""
    velocity: tuple[float, float]
    """``(vx, vy)`` a second."""
    first: float
    """When it was first seen, on the clock of :attr:`triptych.stream.frames.Frame.moment`."""
    last: float
    """When it was last seen."""
    moment: float
    """The time to which ``box`` and ``body`` belong."""
    sights: int
    """Frames in which it was seen."""

    @property
    def age(self) -> float:
        """Seconds from the first to the last sight."""
        return self.last - self.first


@dataclass(frozen=True)
class Tracking:
    """How objects are followed.

    Raises:
        TriptychError: a value is out of range.
    """

    min_iou: float = 0.15
    """Two shapes that overlap by less are not taken for the same object at first sight."""
    reach: float = 1.0
    """Objects that overlap with nothing are looked for around where they should be, as far as so
    many times their longer edge, at ten frames a second; less far in proportion where frames are
    closer, and twice as far if they were seen once only."""
    confirm: int = 3
    """An object counts when it has been seen in so many frames running."""
    memory: float = 1.5
    """Seconds for which an object out of sight is remembered."""
    faint: float = 0.1
    """Lowest score of what still keeps a known object from being forgotten, although it is below
    the threshold of instances; 1 for nothing."""

    def __post_init__(self) -> None:
        if not 0 < self.min_iou < 1:
            raise TriptychError(f"min_iou is {self.min_iou}; give a number between 0 and 1")
        for name, value in (("reach", self.reach), ("memory", self.memory)):
            if not 0 < value <= 60:
                raise TriptychError(f"{name} is {value}; give a number above 0, up to 60")
        if not 0 <= self.faint <= 1:
            raise TriptychError(f"faint is {self.faint}; give a share from 0 to 1")
        if self.confirm < 1:
            raise TriptychError(f"confirm is {self.confirm}; ask for at least one sight")
