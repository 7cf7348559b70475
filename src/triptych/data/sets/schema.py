"""The label schema: which number on disk means which class, and which mean "unknown".

Nothing is guessed and nothing is shifted: a number that the schema does not name is a fault of the
data, void is not a class called background, and a class called background is not void.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from triptych.colours import Colour
from triptych.errors import TriptychError
from triptych.masks import Classes
from triptych.metrics.truth import MOST_CLASSES, ignored_id
from triptych.strict import suggest

LARGEST = 2**16
"""Label maps have 8 or 16 bits, so numbers on disk are below this."""

NOT_NAMED = MOST_CLASSES
"""Marks numbers that the schema does not name, in :meth:`Schema.table`."""

REST_COLOUR = (110, 110, 116)
"""Grey: what is none of the classes should not look like one."""


@dataclass(frozen=True)
class Schema:
    """Meaning of the numbers on disk.

    Raises:
        TriptychError: there are more classes than fit a map of bytes, or a number has two
            meanings.
    """

    classes: Classes
    ids: Mapping[int, int]
    """Number on disk to class id."""
    void: frozenset[int] = frozenset()
    """Numbers on disk that mean "unknown"."""
    rest: int | None = None
    """Class id of pixels that no outline covers, where truth is a list of outlines; None: void."""
    colours: Mapping[Colour, int] = field(default_factory=dict)
    """Colour on disk to number, for label maps in colour."""
    by_colour: bool = False
    """Whether the colour counts where a file has both (a palette), and not the number."""

    def __post_init__(self) -> None:
        if len(self.classes) > MOST_CLASSES:
            raise TriptychError(
                f"the data have {len(self.classes)} classes, and a map can tell {MOST_CLASSES} "
                "apart; choose some under 'classes'"
            )
        both = self.void & self.ids.keys()
        if both:
            name = self.classes.names[self.ids[min(both)]]
            raise TriptychError(
                f"void: the number {min(both)} is class {name!r} as well; remove one of the two"
            )

    def table(self) -> NDArray[np.uint16]:
        """``(65536,)``: class id of each number, that of void, or :data:`NOT_NAMED`."""
        table = np.full(LARGEST, NOT_NAMED, np.uint16)
        table[list(self.void)] = ignored_id(len(self.classes))
        table[list(self.ids)] = list(self.ids.values())
        return table

    def choose(self, own: Own | None, unclear: frozenset[str] = frozenset()) -> Schema:
        """The same numbers under a class table of the user's own.

        Classes that nobody chose become ``own.rest``, or void.

        Args:
            own: the table; None for the data's own.
            unclear: names of classes of which the data do not tell whether they are things.

        Raises:
            TriptychError: ``own`` names a class that the data do not have, or one twice, or does
                not tell whether an unclear one is a thing.
        """
        if own is None:
            return self
        sources = [entry.of or (entry.name,) for entry in own.classes]
        names = self.classes.names
        for name in (name for given in sources for name in given):
            if name not in names:
                raise TriptychError(
                    f"classes: the data have no class {name!r}{suggest(name, names)}; "
                    f"there are: {', '.join(names)}"
                )
            if sum(name in given for given in sources) > 1:
                raise TriptychError(f"classes: {name!r} is taken twice; keep one")
        for entry, given in zip(own.classes, sources, strict=True):
            if entry.thing is None and not unclear.isdisjoint(given):
                raise TriptychError(
                    f"classes: the data do not tell whether {entry.name!r} is a thing; say 'thing: "
                    "true' or 'thing: false'"
                )
        things = [
            _is_thing(entry, [self.classes.is_thing[self.classes.index(name)] for name in given])
            for entry, given in zip(own.classes, sources, strict=True)
        ]
        entries = [
            {"name": entry.name, "thing": thing, "colour": entry.colour}
            for entry, thing in zip(own.classes, things, strict=True)
        ]
        if own.rest is not None:
            entries.append({"name": own.rest, "thing": False, "colour": REST_COLOUR})
        rest = None if own.rest is None else len(own.classes)
        new = {name: number for number, given in enumerate(sources) for name in given}
        ids, void = {}, set(self.void)
        for number, old in self.ids.items():
            chosen = new.get(names[old], rest)
            if chosen is None:
                void.add(number)
            else:
                ids[number] = chosen
        return Schema(
            Classes.from_list(entries), ids, frozenset(void), rest, self.colours, self.by_colour
        )


def _is_thing(entry: Entry, sources: Sequence[bool]) -> bool:
    if entry.thing is None:
        if len(set(sources)) > 1:
            raise TriptychError(
                f"classes: {entry.name!r} is made of things and stuff; say 'thing: false'"
            )
        return sources[0]
    if entry.thing and not all(sources):
        raise TriptychError(
            f"classes: {entry.name!r} cannot be a thing: the data do not tell apart all it is "
            "made of; say 'thing: false'"
        )
    return entry.thing


@dataclass(frozen=True)
class Entry:
    """One class of a user's own class table; a name alone is short for one."""

    name: str
    """What the class is called."""
    of: tuple[str, ...] = ()
    """Classes of the data that it is made of; the one called ``name`` by default."""
    thing: bool | None = None
    """Countable. By default as the data have it."""
    colour: tuple[int, int, int] | None = None
    """Red, green, blue, 0 to 255."""


@dataclass(frozen=True)
class Own:
    """A class table in place of the data's own."""

    classes: tuple[Entry, ...]
    rest: str | None = None
    """Name of a stuff class for everything that is labelled as none of ``classes``. Without it,
    all that is void. Void itself stays void."""


def own_table(classes: Iterable[Entry | str], rest: str | None) -> Own | None:
    """What a description says about classes; None where it says nothing.

    Raises:
        TriptychError: ``rest`` without ``classes``.
    """
    entries = tuple(Entry(one) if isinstance(one, str) else one for one in classes)
    if not entries and rest is not None:
        raise TriptychError("rest: list the other classes under 'classes'")
    return Own(entries, rest) if entries else None
