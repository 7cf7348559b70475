"""Lines and zones drawn on the picture, and how many objects passed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from triptych.stream.crossing import SECONDS, LineTally, ZoneTally
from triptych.stream.feet import Feet
from triptych.stream.layout import Layout
from triptych.stream.renaming import (
    Members,
    by_class,
    by_keys,
    key_of,
    move,
    rename_line,
    rename_zone,
)
from triptych.stream.track import State, Track


@dataclass(frozen=True)
class LineCount:
    """Objects that crossed a line, by class."""

    forward: Mapping[str, int] = field(default_factory=dict)
    """To the side that lies to the right of somebody who walks from ``a`` to ``b``."""
    backward: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ZoneCount:
    """Objects in a zone, by class. ``inside`` is always ``entered`` less ``left``."""

    inside: Mapping[str, int] = field(default_factory=dict)
    entered: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)
    """Those that vanished inside are among them."""
    dwell: Mapping[str, float] = field(default_factory=dict)
    """Mean seconds that those which left had spent inside."""


@dataclass(frozen=True)
class Counts:
    """What is counted in one frame, and since the start.

    Every class that can be counted has an entry, 0 or not.
    """

    now: Mapping[str, int]
    """Confirmed objects in sight."""
    entered: Mapping[str, int]
    """Objects that have come into the picture, and were followed for half a second."""
    left: Mapping[str, int]
    """Objects that have gone from it; those lost for a moment are not among them."""
    share: Mapping[str, float]
    """Of every class (things and stuff), the share of the pixels in the semantic map, 0 to 1."""
    lines: Mapping[str, LineCount]
    """By the name of the line."""
    zones: Mapping[str, ZoneCount]
    """By the name of the zone."""


class Tally:
    """All that is counted in one source.

    Args:
        names: classes that can be counted.
        layout: the lines and zones to begin with.
    """

    def __init__(self, names: Iterable[str], layout: Layout | None = None) -> None:
        self.layout = Layout()
        self._names = tuple(names)
        self._members: Members = {}
        self._present: dict[int, str] = {}
        self._entered: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._lines: list[LineTally] = []
        self._zones: list[ZoneTally] = []
        self._feet = Feet()
        self.draw(layout or Layout())

    def draw(self, layout: Layout) -> None:
        """Count with other lines and zones; those that stay as they were keep their counts."""
        lines = {tally.line: tally for tally in self._lines}
        zones = {tally.zone: tally for tally in self._zones}
        self._lines = [lines.get(line) or LineTally(line) for line in layout.lines]
        self._zones = [zones.get(zone) or ZoneTally(zone) for zone in layout.zones]
        self.layout = layout

    def rename(
        self,
        names: Iterable[str],
        old: Members,
        new: Members,
        tracks: Sequence[Track],
        moment: float,
    ) -> None:
        """Go on with other classes; see :mod:`triptych.stream.renaming`.

        Args:
            names: classes that can be counted now.
            old: what the classes so far are made of.
            new: what they are made of now.
            tracks: all that is or was followed, under its new name. What is not among them is let
                go: it has left, without an event.
            moment: now, on the clock of the tracks.
        """
        called = {track.id: track.name for track in tracks}
        for counter in (self._entered, self._left):
            by_keys(counter, old)  # type: ignore[arg-type]
        present = {}
        for number, name in self._present.items():
            key = key_of(old[name]) if name in old else name
            if number in called:
                move(self._entered, key, called[number])
                present[number] = called[number]
            else:
                self._left[key] += 1
        self._present = present
        for line in self._lines:
            rename_line(line, old, called)
        for zone in self._zones:
            rename_zone(zone, old, called, moment)
        self._names, self._members = tuple(names), new

    def update(
        self, tracks: Sequence[Track], gone: Sequence[Track], size: tuple[int, int]
    ) -> Counter[str]:
        """Go on to the next frame.

        Args:
            tracks: all that is followed.
            gone: counted tracks that were given up.
            size: ``(H, W)`` of the frame.

        Returns:
            What happened in it: ``entered.car``, ``line.NAME.forward.car`` and the like.
        """
        events: Counter[str] = Counter()
        for track in gone:
            if self._present.pop(track.id, None) is not None:
                self._left[track.name] += 1
                events[f"left.{track.name}"] += 1
        for track in tracks:
            known = track.state is State.SEEN and track.last - track.first >= SECONDS
            if known and track.id not in self._present:
                self._present[track.id] = track.name
                self._entered[track.name] += 1
                events[f"entered.{track.name}"] += 1
        stands, present = self._feet.update(tracks, size), {track.id for track in tracks}
        for line in self._lines:
            for key, count in line.update(stands, gone, size).items():
                events[f"line.{line.line.name}.{key}"] += count
            line.forget(present)
        for zone in self._zones:
            for key, count in zone.update(stands, gone, size).items():
                events[f"zone.{zone.zone.name}.{key}"] += count
            zone.forget(present)
        return events

    def counts(self, tracks: Sequence[Track], share: Mapping[str, float]) -> Counts:
        """The figures after :meth:`update`.

        Args:
            tracks: as there.
            share: of the pixels, by class.
        """
        return Counts(
            now=self._by_class(Counter(t.name for t in tracks if t.state is State.SEEN)),
            entered=self._by_class(self._entered),
            left=self._by_class(self._left),
            share=share,
            lines={
                tally.line.name: LineCount(
                    self._by_class(tally.forward), self._by_class(tally.backward)
                )
                for tally in self._lines
            },
            zones={
                tally.zone.name: ZoneCount(
                    self._by_class(Counter(name for name, _ in tally.inside.values())),
                    self._by_class(tally.entered),
                    self._by_class(tally.left),
                    self._dwell(tally),
                )
                for tally in self._zones
            },
        )

    def copy(self) -> Tally:
        """The same, independent of what follows."""
        twin = Tally(self._names)
        twin._members = self._members
        twin.layout = self.layout
        twin._present = self._present.copy()
        twin._entered, twin._left = self._entered.copy(), self._left.copy()
        twin._lines = [tally.copy() for tally in self._lines]
        twin._zones = [tally.copy() for tally in self._zones]
        twin._feet = self._feet.copy()
        return twin

    def _by_class(self, counter: Counter[str]) -> dict[str, int]:
        shown = by_class(counter, self._members)
        return {name: shown[name] for name in self._names}

    def _dwell(self, tally: ZoneTally) -> dict[str, float]:
        stayed, left = by_class(tally.stayed, self._members), by_class(tally.left, self._members)
        return {name: stayed[name] / left[name] for name in left if left[name]}
