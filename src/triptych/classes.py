"""Classes: names, things and stuff, and colours.

Default colours are the ones that street scenes are known by (those of the Cityscapes benchmark,
Cordts et al., 2016), and distinct ones for the rest.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.errors import TriptychError

Colour = tuple[int, int, int]

NAMED: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "pavement": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "tree": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "pedestrian": (220, 20, 60),
    "rider": (255, 0, 0),
    "bicyclist": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

GOLDEN = 0.618033988749895


def distinct(index: int) -> Colour:
    """The ``index``-th of an endless row of colours in which neighbours differ strongly.

    Steps of the golden ratio round the hue circle never come back to the same place, and three
    brightness levels tell apart the hues that end up close to each other.
    """
    hue = (0.02 + index * GOLDEN) % 1.0
    saturation, value = ((0.75, 0.95), (0.55, 0.80), (0.90, 0.65))[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def default_colours(names: Iterable[str]) -> tuple[Colour, ...]:
    """One colour a class: its :data:`NAMED` one, or the next distinct one not yet taken."""
    names = tuple(names)
    taken = {NAMED[name] for name in names if name in NAMED}
    free = (colour for colour in map(distinct, range(100_000)) if colour not in taken)
    return tuple(NAMED[name] if name in NAMED else next(free) for name in names)


@dataclass(frozen=True)
class Classes:
    """Names, thing/stuff flags and colours of the ``K`` classes, in the order of their ids.

    Raises:
        TriptychError: the three tuples differ in length, a name is empty or appears twice, or a
            colour is not three whole numbers from 0 to 255.
    """

    names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    """True for countable objects (car), False for stuff (road)."""
    colours: tuple[Colour, ...]
    """Red, green, blue, 0 to 255."""

    def __post_init__(self) -> None:
        if not self.names:
            raise TriptychError("classes: the list is empty; name at least one class")
        if not len(self.names) == len(self.is_thing) == len(self.colours):
            raise TriptychError(
                f"classes: {len(self.names)} names, {len(self.is_thing)} thing flags and "
                f"{len(self.colours)} colours; give one of each for every class"
            )
        for name in self.names:
            if not isinstance(name, str) or not name:
                raise TriptychError(f"classes: {name!r} is no class name; use non-empty text")
            if self.names.count(name) > 1:
                raise TriptychError(f"classes: {name!r} appears twice; names must differ")
        for name, colour in zip(self.names, self.colours, strict=True):
            if len(colour) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in colour):
                raise TriptychError(
                    f"classes: colour {colour!r} of {name!r} is not three whole numbers 0 to 255"
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """Ids of the countable classes."""
        return tuple(i for i, thing in enumerate(self.is_thing) if thing)

    @property
    def stuff_ids(self) -> tuple[int, ...]:
        """Ids of the uncountable classes."""
        return tuple(i for i, thing in enumerate(self.is_thing) if not thing)

    def index(self, name: str) -> int:
        """The id of the class called ``name``.

        Raises:
            TriptychError: there is no such class.
        """
        if name not in self.names:
            raise TriptychError(f"no class {name!r}; there are: {', '.join(self.names)}")
        return self.names.index(name)

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data for a JSON or YAML file; :meth:`from_list` reads it back."""
        return [
            {"name": name, "thing": thing, "colour": list(colour)}
            for name, thing, colour in zip(self.names, self.is_thing, self.colours, strict=True)
        ]

    @classmethod
    def from_list(cls, entries: Sequence[Mapping[str, Any]]) -> Classes:
        """Read what :meth:`to_list` wrote; a missing ``colour`` gets its default.

        Raises:
            TriptychError: an entry is not of the form ``{"name", "thing", "colour"}``.
        """
        try:
            names = tuple(entry["name"] for entry in entries)
            things = tuple(entry["thing"] for entry in entries)
            given = tuple(entry.get("colour") for entry in entries)
            if not all(isinstance(thing, bool) for thing in things):
                raise TypeError("'thing' must be true or false")
            fallback = default_colours(map(str, names))
            colours = tuple(
                spare if colour is None else tuple(colour)
                for colour, spare in zip(given, fallback, strict=True)
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise TriptychError(
                f"classes: an entry is not {{name, thing, colour}} ({error}); correct the list"
            ) from error
        return cls(names, things, colours)

    @classmethod
    def of(cls, names: Iterable[str], things: Iterable[str] = ()) -> Classes:
        """Classes called ``names`` with default colours; those also in ``things`` are countable.

        Raises:
            TriptychError: ``things`` names a class that ``names`` does not.
        """
        names, things = tuple(names), tuple(things)
        unknown = [thing for thing in things if thing not in names]
        if unknown:
            raise TriptychError(f"things name {unknown[0]!r}, which is not among the classes")
        return cls(names, tuple(name in things for name in names), default_colours(names))
