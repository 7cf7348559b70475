"""Which parts, seen in different windows, are one object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SAME = 0.5
"""Two windows see one object where, in what both show, their masks share more than this of the
smaller one. At the edge of its picture a network often sees less of an object than further in."""


@dataclass(frozen=True)
class Match:
    """Two parts of different windows that may be one object."""

    iou: float
    """In the pixels that both windows show, 0 to 1."""
    shared: float
    """Intersection over the smaller of the two there, 0 to 1."""
    one: int
    other: int


def join(window_of: Sequence[int], matches: Iterable[Match]) -> list[list[int]]:
    """Put parts together that are one object.

    Those with the highest IoU come first. Two parts of one window stay two objects, also where a
    part in another window would connect them: within a window the network has told them apart.

    Args:
        window_of: the window of each part.
        matches: pairs of parts; those not above :data:`SAME` are left out.

    Returns:
        The parts of each object, ascending; objects by their first part.
    """
    group_of = [[part] for part in range(len(window_of))]
    for match in sorted(matches, key=lambda match: -match.iou):
        one, other = group_of[match.one], group_of[match.other]
        seen = {window_of[part] for part in one}
        if match.shared <= SAME or one is other or any(window_of[part] in seen for part in other):
            continue
        one += other
        for part in other:
            group_of[part] = one
    return sorted({id(group): sorted(group) for group in group_of}.values())


def pooled(scores: Sequence[float], areas: Sequence[int]) -> float:
    """The score of an object of several parts: their mean, by area."""
    if len(scores) == 1 or not any(areas):
        return scores[0]
    return sum(s * a for s, a in zip(scores, areas, strict=True)) / sum(areas)
