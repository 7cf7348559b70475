"""The rules of the readings by which a query can drop out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a query in one reading; the value is the sentence a person reads."""

    KEPT = "kept"
    NO_OBJECT = "'no object' is its best class"
    NO_CLASS = "a promptable network names no classes"
    UNLISTED = "the table of classes does not list its class"
    BEYOND_TOP = "not among the top-scoring pairs"
    STUFF = "its best class is stuff, this reading takes things"
    LOW_SCORE = "score below the threshold"
    NO_PIXEL = "won no pixel of its own mask"
    OUTVOTED = "other queries decide all pixels of its mask"
    OVERLAP = "won too few pixels for the size of its mask (overlap test)"


def by_mask(outcomes: Sequence[Outcome], groups: Sequence[int] | None) -> list[Outcome]:
    """Of each mask of a pixel labeller, what became of its class.

    Args:
        outcomes: of each class.
        groups: the class of each mask, if they were regrouped; see
            :class:`triptych.readings.masks.Masks`.
    """
    if groups is None:
        return list(outcomes)
    return [(*outcomes, Outcome.UNLISTED)[group] for group in groups]
