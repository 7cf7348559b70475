"""The label schema: which number on disk means which class, and which mean "unknown".

Nothing is guessed and nothing is shifted: a number that the schema does not name is a fault of the
data, void is not a class called background, and a class called background is not void.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable
from triptych.classes import Classes, Colour
from triptych.errors import TriptychError
from triptych.truth import MAX_CLASSES, ignored_id

LARGEST = 2**16
"""Label maps have 8 or 16 bits, so numbers on disk are below this."""

NOT_NAMED = MAX_CLASSES
"""Marks numbers that the schema does not name, in :meth:`Schema.table`."""


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
    unlisted: frozenset[int] = frozenset()
    """Those of ``void`` that have a class in the data, which the user's class table leaves out."""
    colours: Mapping[Colour, int] = field(default_factory=dict)
    """Colour on disk to number, for label maps in colour."""
    by_colour: bool = False
    """Whether the colour counts where a file has both (a palette), and not the number."""

    def __post_init__(self) -> None:
        if len(self.classes) > MAX_CLASSES:
            raise TriptychError(
                f"the data have {len(self.classes)} classes, and a map can tell {MAX_CLASSES} "
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

    def choose(self, own: ClassTable | None, unclear: frozenset[str] = frozenset()) -> Schema:
        """The same numbers under a class table of the user's own.

        Classes that the table does not list become its rest, or void.

        Args:
            own: the table; None for the data's own.
            unclear: names of classes of which the data do not tell whether they are things.

        Raises:
            TriptychError: the table does not fit the classes (see :meth:`ClassTable.merge`), or
                does not tell whether an unclear one is a thing.
        """
        if own is None:
            return self
        for group in own.groups:
            if group.thing is None and not unclear.isdisjoint(group.of or (group.name,)):
                raise TriptychError(
                    f"classes: the data do not tell whether {group.name!r} is a thing; say 'thing: "
                    "true' or 'thing: false'"
                )
        merged = own.merge(self.classes)
        ids: dict[int, int] = {}
        unlisted: set[int] = set()
        for number, old in self.ids.items():
            new = merged.new[old]
            if new is None:
                unlisted.add(number)
            else:
                ids[number] = new
        return Schema(
            merged.classes,
            ids,
            self.void | unlisted,
            merged.rest,
            frozenset(unlisted),
            self.colours,
            self.by_colour,
        )
