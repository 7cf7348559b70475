"""The label schema: which number on disk means which class, and which mean "unknown".

Nothing is guessed and nothing is shifted: a number that the schema does not name is a fault of the
data, void is not a class called background, and a class called background is not void.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.class_table import ClassTable
from triptych.data.sets.base import MOST_CLASSES, UNKNOWN
from triptych.errors import TriptychError
from triptych.masks import Classes

LARGEST = 2**16
"""Label maps have 8 or 16 bits, so numbers on disk are below this."""

NOT_NAMED = UNKNOWN + 1
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

    def __post_init__(self) -> None:
        if len(self.classes) > MOST_CLASSES:
            raise TriptychError(
                f"the data have {len(self.classes)} classes, of which {MOST_CLASSES} can be told "
                "apart; choose some under 'classes'"
            )
        both = self.void & self.ids.keys()
        if both:
            name = self.classes.names[self.ids[min(both)]]
            raise TriptychError(
                f"void: the number {min(both)} is class {name!r} as well; remove one of the two"
            )

    def table(self) -> NDArray[np.uint16]:
        """``(65536,)``: class id of each number, :data:`UNKNOWN` for void, or NOT_NAMED."""
        table = np.full(LARGEST, NOT_NAMED, np.uint16)
        table[list(self.void)] = UNKNOWN
        table[list(self.ids)] = list(self.ids.values())
        return table

    def choose(self, own: ClassTable | None) -> Schema:
        """The same numbers under a class table of the user's own.

        Classes that the table does not list become its rest, or void.

        Raises:
            TriptychError: the table does not fit the classes; see :meth:`ClassTable.merge`.
        """
        if own is None:
            return self
        merged = own.merge(self.classes)
        ids: dict[int, int] = {}
        unlisted: set[int] = set()
        for number, old in self.ids.items():
            new = merged.new[old]
            if new is None:
                unlisted.add(number)
            else:
                ids[number] = new
        return Schema(merged.classes, ids, self.void | unlisted, merged.rest, frozenset(unlisted))
