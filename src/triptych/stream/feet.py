"""Where objects stand, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from triptych.stream.track import Track

SMOOTH = 3
"""A foot is the median of so many: a mask that is merged with another, or cut off, for a frame does
not move it."""

MARGIN = 0.005
"""The least margin, as a share of the picture's longer edge."""

TREMBLE = 0.15
"""The margin as a share of the object's size, the root of the area of its box: by so much, or
less, the lower edge of an outline trembles from frame to frame."""

LAG = 0.05
"""Seconds of the object's own movement in the margin."""

Pixel: TypeAlias = tuple[float, float]
"""``(x, y)``."""


@dataclass(frozen=True)
class Stand:
    """An object in sight, and where it stands."""

    track: Track
    foot: Pixel
    """The middle of the lower edge of what is seen of it, smoothed over its last sights."""
    margin: float
    """In pixels: it may as well stand so far from there."""


class Feet:
    """Smooths the feet of all tracks of one source."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Pixel, ...]] = {}

    def update(self, tracks: Sequence[Track], size: tuple[int, int]) -> list[Stand]:
        """Go on to the next frame.

        Args:
            tracks: all that is followed.
            size: ``(H, W)`` of the frame.

        Returns:
            Those in sight.
        """
        self._last = {t.id: self._last[t.id] for t in tracks if t.id in self._last}
        stands = []
        for track in tracks:
            if track.instance is None:
                continue
            x0, y0, x1, y1 = track.box
            self._last[track.id] = (*self._last.get(track.id, ()), ((x0 + x1) / 2, y1))[-SMOOTH:]
            xs, ys = zip(*self._last[track.id], strict=True)
            margin = max(
                MARGIN * max(size),
                TREMBLE * math.sqrt((x1 - x0) * (y1 - y0)),
                LAG * math.hypot(*track.velocity),
            )
            stands.append(Stand(track, (statistics.median(xs), statistics.median(ys)), margin))
        return stands

    def copy(self) -> Feet:
        """The same, independent of what follows."""
        twin = Feet()
        twin._last = self._last.copy()
        return twin
