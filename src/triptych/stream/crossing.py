"""One line, or one zone, and the objects that pass it.

Outlines tremble, and masks of neighbours merge and split, so that one look at an object is no
evidence of where it is. A change of sides counts by three rules:

- An object is on a side when its foot, smoothed, is further from the border than a margin that
  grows with the object and its speed (:mod:`triptych.stream.feet`); nearer, it is on neither.
- It has changed sides when it was seen on the other one :data:`SIGHTS` times, and for
  :data:`SECONDS`. Sights within the margin count for neither side.
- What is seen on its old side again before that has not changed sides: both ways are forgotten.

An object that is gone meanwhile has passed if it had the sights. ``LineZone`` of the supervision
library has the second rule with frames alone (``minimum_crossing_threshold``), for boxes.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from triptych.stream.feet import Pixel, Stand
from triptych.stream.layout import Line, Zone
from triptych.stream.track import State, Track

SIGHTS = 3
"""Times that an object must be seen on the other side ..."""

SECONDS = 0.5
"""... and how long it must have been there."""


@dataclass(frozen=True)
class Visit:
    """An object on the other side than it was; not for long enough yet."""

    name: str
    since: float
    """When it was first seen there."""
    sights: int = 1

    def lasts(self, track: Track) -> bool:
        """Whether it is long enough by now.

        A track that is not confirmed yet is judged later, from where it was first seen.
        """
        long = self.sights >= SIGHTS and track.last - self.since >= SECONDS
        return long and track.state is State.SEEN


@dataclass(frozen=True)
class Place:
    """Which side an object is on, for all that is sure."""

    side: bool
    foot: Pixel
    """Where it last stood there."""
    visit: Visit | None = None

    def see(self, stand: Stand, side: bool) -> Place:
        """The object stands clearly on ``side`` now."""
        if side == self.side:
            return Place(side, stand.foot)
        if self.visit is None:
            return dataclasses.replace(self, visit=Visit(stand.track.name, stand.track.last))
        visit = dataclasses.replace(self.visit, sights=self.visit.sights + 1)
        return dataclasses.replace(self, visit=visit)


@dataclass
class LineTally:
    """Who crossed a line."""

    line: Line
    forward: Counter[str] = field(default_factory=Counter)
    backward: Counter[str] = field(default_factory=Counter)
    places: dict[int, Place] = field(default_factory=dict)
    """Of each track; the side is True to the right of who walks from ``a`` to ``b``."""

    def update(
        self, stands: Sequence[Stand], gone: Sequence[Track], size: tuple[int, int]
    ) -> Counter[str]:
        """Go on to the next frame.

        Args:
            stands: the objects in sight.
            gone: counted tracks that were given up.
            size: ``(H, W)`` of the frame.

        Returns:
            What happened in it: keys like ``forward.car``.
        """
        events: Counter[str] = Counter()
        a, b = (_pixel(end, size) for end in (self.line.a, self.line.b))
        for track in gone:
            place = self.places.pop(track.id, None)
            if place and place.visit and place.visit.sights >= SIGHTS:
                self._count(not place.side, place.visit.name, events)
        for stand in stands:
            distance = _cross(a, b, stand.foot) / math.dist(a, b)
            if abs(distance) < stand.margin:
                continue
            side, number = distance > 0, stand.track.id
            before = self.places.get(number) or Place(side, stand.foot)
            place = before.see(stand, side)
            if place.visit is not None and not _between(before.foot, stand.foot, a, b):
                place = Place(side, stand.foot)  # it went round an end of the line
            elif place.visit is not None and place.visit.lasts(stand.track):
                self._count(side, stand.track.name, events)
                place = Place(side, stand.foot)
            self.places[number] = place
        return events

    def _count(self, side: bool, name: str, events: Counter[str]) -> None:
        way = "forward" if side else "backward"
        (self.forward if side else self.backward)[name] += 1
        events[f"{way}.{name}"] += 1

    def forget(self, present: set[int]) -> None:
        """Keep only what is known of these tracks."""
        self.places = {number: place for number, place in self.places.items() if number in present}

    def copy(self) -> LineTally:
        """The same, independent of what follows."""
        return LineTally(self.line, self.forward.copy(), self.backward.copy(), self.places.copy())


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
    places: dict[int, Place] = field(default_factory=dict)
    """Of each track; the side is True inside."""

    def update(
        self, stands: Sequence[Stand], gone: Sequence[Track], size: tuple[int, int]
    ) -> Counter[str]:
        """Go on to the next frame; see :meth:`LineTally.update`.

        Returns:
            What happened in it: keys like ``entered.car``.
        """
        events: Counter[str] = Counter()
        corners = [_pixel(corner, size) for corner in self.zone.corners]
        for track in gone:
            place = self.places.pop(track.id, None)
            if place and place.visit and place.visit.sights >= SIGHTS:
                self._pass(track.id, place.visit, events)
            self._leave(track.id, track.last, events)
        for stand in stands:
            if _border_distance(stand.foot, corners) < stand.margin:
                continue
            y, x = stand.foot[1] / size[0], stand.foot[0] / size[1]
            side, number = self.zone.holds((x, y)), stand.track.id
            # Whatever appears inside has come in.
            place = (self.places.get(number) or Place(False, stand.foot)).see(stand, side)
            if place.visit is not None and place.visit.lasts(stand.track):
                self._pass(number, place.visit, events)
                place = Place(side, stand.foot)
            self.places[number] = place
        return events

    def _pass(self, number: int, visit: Visit, events: Counter[str]) -> None:
        if number in self.inside:
            self._leave(number, visit.since, events)
        else:
            self.inside[number] = visit.name, visit.since
            self.entered[visit.name] += 1
            events[f"entered.{visit.name}"] += 1

    def _leave(self, number: int, moment: float, events: Counter[str]) -> None:
        if number in self.inside:
            name, since = self.inside.pop(number)
            self.left[name] += 1
            self.stayed[name] += moment - since
            events[f"left.{name}"] += 1

    def forget(self, present: set[int]) -> None:
        """Keep only what is known of these tracks."""
        self.places = {number: place for number, place in self.places.items() if number in present}

    def copy(self) -> ZoneTally:
        """The same, independent of what follows."""
        return ZoneTally(
            self.zone,
            self.entered.copy(),
            self.left.copy(),
            self.stayed.copy(),
            self.inside.copy(),
            self.places.copy(),
        )


def _pixel(point: tuple[float, float], size: tuple[int, int]) -> Pixel:
    return point[0] * size[1], point[1] * size[0]


def _cross(a: Pixel, b: Pixel, point: Pixel) -> float:
    """Positive where ``point`` lies to the right of the way from ``a`` to ``b`` (y points down)."""
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])


def _between(start: Pixel, end: Pixel, a: Pixel, b: Pixel) -> bool:
    """Whether the way from ``start`` to ``end`` passes the line between its ends."""
    return _cross(start, end, a) * _cross(start, end, b) <= 0


def _border_distance(point: Pixel, corners: Sequence[Pixel]) -> float:
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
