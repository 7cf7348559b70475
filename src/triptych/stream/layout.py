"""Counting lines and zones as the user draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from triptych.errors import TriptychError

Point: TypeAlias = tuple[float, float]
"""``(x, y)`` as shares of the picture's width and height, 0 to 1: a change of size keeps it."""

MAX_SHAPES = 50
"""Lines, and zones, of one source."""
MAX_CORNERS = 100
LONGEST_NAME = 80


@dataclass(frozen=True)
class Line:
    """Counts what crosses it, each way.

    Raises:
        TriptychError: the name is empty or long, or the ends are no two points of the picture.
    """

    name: str
    a: Point
    b: Point

    def __post_init__(self) -> None:
        _check_name("line", self.name)
        for end in ("a", "b"):
            object.__setattr__(self, end, _point(f"line {self.name!r}", getattr(self, end)))
        if math.dist(self.a, self.b) < 1e-3:
            raise TriptychError(f"line {self.name!r} is too short; drag it over the street")


@dataclass(frozen=True)
class Zone:
    """Counts what is inside, what enters and leaves, and how long it stays.

    Raises:
        TriptychError: the name is empty or long, or the corners enclose nothing.
    """

    name: str
    corners: tuple[Point, ...]
    """Of a polygon, in order; the last one is joined to the first."""

    def __post_init__(self) -> None:
        _check_name("zone", self.name)
        if not isinstance(self.corners, list | tuple) or not 3 <= len(self.corners) <= MAX_CORNERS:
            raise TriptychError(f"zone {self.name!r}: give 3 to {MAX_CORNERS} corners")
        corners = tuple(_point(f"zone {self.name!r}", corner) for corner in self.corners)
        object.__setattr__(self, "corners", corners)
        spans = [max(axis) - min(axis) for axis in zip(*corners, strict=True)]
        if min(spans) < 1e-3:
            raise TriptychError(f"zone {self.name!r} has no area; spread its corners")

    def holds(self, point: Point) -> bool:
        """Whether a point lies inside, by the even-odd rule."""
        x, y = point
        inside = False
        for (x0, y0), (x1, y1) in zip(
            self.corners, self.corners[1:] + self.corners[:1], strict=True
        ):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                inside = not inside
        return inside


@dataclass(frozen=True)
class Layout:
    """All lines and zones of one source.

    Raises:
        TriptychError: there are too many, or two of a kind share a name.
    """

    lines: tuple[Line, ...] = ()
    zones: tuple[Zone, ...] = ()

    def __post_init__(self) -> None:
        for kind, shapes in (("lines", self.lines), ("zones", self.zones)):
            if len(shapes) > MAX_SHAPES:
                raise TriptychError(f"{len(shapes)} {kind}; a source has at most {MAX_SHAPES}")
            names = [shape.name for shape in shapes]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise TriptychError(f"two {kind} are called {min(twice)!r}; names must differ")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file; :meth:`from_dict` reads it back."""
        return {
            "lines": [{"name": s.name, "a": list(s.a), "b": list(s.b)} for s in self.lines],
            "zones": [
                {"name": s.name, "corners": [list(corner) for corner in s.corners]}
                for s in self.zones
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layout:
        """Read what :meth:`to_dict` wrote.

        Raises:
            TriptychError: the data is not of that form, or a line or zone is wrong.
        """
        try:
            unknown = set(data) - {"lines", "zones"}
            if unknown:
                raise KeyError(min(unknown))
            return cls(
                tuple(Line(**shape) for shape in data.get("lines", ())),
                tuple(Zone(**shape) for shape in data.get("zones", ())),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise TriptychError(
                f"lines and zones: expected {{'lines': [{{name, a, b}}], 'zones': [{{name, "
                f"corners}}]}} ({type(error).__name__}: {error})"
            ) from error


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
        raise TriptychError(f"a {kind} needs a name of 1 to {LONGEST_NAME} characters")


def _point(where: str, value: object) -> Point:
    if (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(type(v) in (int, float) and 0 <= v <= 1 for v in value)
    ):
        return float(value[0]), float(value[1])
    raise TriptychError(f"{where}: {value!r} is no point; give (x, y), each from 0 to 1")
