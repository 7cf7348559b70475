"""One line, or one zone, and the objects that pass it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from triptych.stream.layout import Line, Point, Zone
from triptych.stream.track import State, Track

MARGIN = 0.005
"""As a share of the picture: what is nearer to a line, or the border of a zone, is on neither
side yet. Otherwise an object that stands there would cross it at every tremble of its outline."""


def foot(track: Track, size: tuple[int, int]) -> Point:
    """Where an object stands: the middle of the lower edge of what is seen of it."""
    return (track.box[0] + track.box[2]) / 2 / size[1], track.box[3] / size[0]


@dataclass
class LineTally:
    """Who crossed a line."""

    line: Line
    forward: Counter[str] = field(default_factory=Counter)
    backward: Counter[str] = field(default_factory=Counter)
    settled: dict[int, Point] = field(default_factory=dict)
    """Of each track, where it last stood clearly on one side."""

    def update(self, tracks: Sequence[Track], size: tuple[int, int]) -> Counter[str]:
        """Go on to the next frame.

        Returns:
            What happened in it: keys like ``forward.car``.
        """
        events: Counter[str] = Counter()
        present = {track.id for track in tracks}
        self.settled = {id_: point for id_, point in self.settled.items() if id_ in present}
        for track in tracks:
            point = foot(track, size)
            if track.instance is None or abs(self._side(point)) < MARGIN:
                continue
            before = self.settled.setdefault(track.id, point)
            if track.state is State.NEW:
                continue  # when it is confirmed, it is judged from where it was first seen
            self.settled[track.id] = point
            if self._side(before) * self._side(point) < 0 and self._between_ends(before, point):
                way = "forward" if self._side(point) > 0 else "backward"
                (self.forward if way == "forward" else self.backward)[track.name] += 1
                events[f"{way}.{track.name}"] += 1
        return events

    def copy(self) -> LineTally:
        """The same, independent of what follows."""
        return LineTally(self.line, self.forward.copy(), self.backward.copy(), self.settled.copy())

    def _side(self, point: Point) -> float:
        """Distance from the line: positive to the right of who walks from ``a`` to ``b``."""
        return _cross(self.line.a, self.line.b, point) / math.dist(self.line.a, self.line.b)

    def _between_ends(self, start: Point, end: Point) -> bool:
        """Whether the way from one side to the other passes the line between its ends."""
        return _cross(start, end, self.line.a) * _cross(start, end, self.line.b) <= 0


@dataclass
class ZoneTally:
    """Who is in a zone, who came and went, and how long they stayed."""

    zone: Zone
    entered: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    stayed: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds inside, of all that left."""
    inside: dict[int, tuple[str, float]] = field(default_factory=dict)
    """Class and time of entry of the tracks inside."""

    def update(
        self, tracks: Sequence[Track], gone: Sequence[Track], size: tuple[int, int]
    ) -> Counter[str]:
        """Go on to the next frame.

        Returns:
            What happened in it: keys like ``entered.car``.
        """
        events: Counter[str] = Counter()
        for track in gone:
            self._leave(track.id, track.last, events)
        for track in tracks:
            if track.state is not State.SEEN:
                continue
            point = foot(track, size)
            if _border_distance(point, self.zone.corners) < MARGIN:
                continue
            if not self.zone.holds(point):
                self._leave(track.id, track.last, events)
            elif track.id not in self.inside:
                self.inside[track.id] = track.name, track.last
                self.entered[track.name] += 1
                events[f"entered.{track.name}"] += 1
        return events

    def _leave(self, track_id: int, moment: float, events: Counter[str]) -> None:
        if track_id in self.inside:
            name, since = self.inside.pop(track_id)
            self.left[name] += 1
            self.stayed[name] += moment - since
            events[f"left.{name}"] += 1

    def copy(self) -> ZoneTally:
        """The same, independent of what follows."""
        return ZoneTally(
            self.zone,
            self.entered.copy(),
            self.left.copy(),
            self.stayed.copy(),
            self.inside.copy(),
        )


def _cross(a: Point, b: Point, point: Point) -> float:
    """Positive where ``point`` lies to the right of the way from ``a`` to ``b`` (y points down)."""
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])


def _border_distance(point: Point, corners: Sequence[Point]) -> float:
    """From a point to the nearest side of a polygon."""
    nearest = math.inf
    for a, b in zip(corners, (*corners[1:], corners[0]), strict=True):
        length = math.dist(a, b)
        along = 0.0
        if length > 0:
            dot = (point[0] - a[0]) * (b[0] - a[0]) + (point[1] - a[1]) * (b[1] - a[1])
            along = min(max(dot / length**2, 0.0), 1.0)
        at = a[0] + along * (b[0] - a[0]), a[1] + along * (b[1] - a[1])
        nearest = min(nearest, math.dist(point, at))
    return nearest
