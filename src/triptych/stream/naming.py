"""Which classes the results of a pipeline have: those of the network, or groups of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from triptych.class_table import ClassTable, Merged
from triptych.classes import Classes
from triptych.mask_set import MaskSet


@dataclass(frozen=True, eq=False)
class Naming:
    """The classes that hold for a frame, from its readings to its counts."""

    own: Classes
    """The network's."""
    merged: Merged
    """What is made of them."""
    table: ClassTable | None
    """By which table; None: they are as they are."""
    countable: tuple[str, ...]
    """Names of the classes whose objects are followed and counted."""

    @classmethod
    def of(cls, own: Classes, things_only: bool, table: ClassTable | None = None) -> Naming:
        """What a table makes of the classes of a network; None: nothing.

        Raises:
            TriptychError: the table does not fit them; see
                :meth:`triptych.class_table.ClassTable.regroup`.
        """
        merged = Merged.unchanged(own) if table is None else table.regroup(own)
        pairs = zip(merged.classes.names, merged.classes.is_thing, strict=True)
        countable = tuple(name for name, thing in pairs if thing or not things_only)
        return cls(own, merged, table, countable)

    @property
    def classes(self) -> Classes:
        """Those that results have."""
        return self.merged.classes

    @functools.cached_property
    def members(self) -> dict[str, frozenset[str]]:
        """Names of the network's classes that each class is made of."""
        found = self.merged.members(self.own)
        return {name: frozenset(members) for name, members in found.items()}

    def apply(self, masks: MaskSet) -> MaskSet:
        """The masks of the network with these classes."""
        return masks if self.table is None else masks.regrouped(self.merged)
