"""The rules of the readings by which a query can drop out."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of a query in one reading; the value is the sentence a person reads."""

    KEPT = "kept"
    NO_OBJECT = "'no object' is its best class"
    NO_CLASS = "a promptable network names no classes"
    BEYOND_TOP = "not among the top-scoring pairs"
    STUFF = "its best class is stuff, this reading takes things"
    LOW_SCORE = "score below the threshold"
    NO_PIXEL = "won no pixel of its own mask"
    OUTVOTED = "other queries decide all pixels of its mask"
    OVERLAP = "won too few pixels for the size of its mask (overlap test)"
