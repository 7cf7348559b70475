"""Counts that go on while the classes change.

Counts are kept by the name that an object had when it was counted. When the classes change, the
names of before become *keys* that say which of the network's classes they stood for. A class shows
its own count and that of every key whose classes are all among its own: three cars and two buses
are five vehicles, and three cars and two buses again under the old table. What was counted as a
vehicle cannot be told apart later; it waits until a table has a class for it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, MutableMapping

from triptych.stream.crossing import LineTally, Place, ZoneTally

_MARK = "\x1f"
"""Begins a key and stands between its classes; ASCII's unit separator, which no name has."""

Members = Mapping[str, frozenset[str]]
"""Names of the network's classes by the name of each class."""


def key_of(members: frozenset[str]) -> str:
    """The key of what was counted as a class of these members."""
    return "".join(_MARK + name for name in sorted(members))


def by_keys(counter: MutableMapping[str, float], old: Members) -> None:
    """Put keys in place of the names of classes."""
    for name, value in list(counter.items()):
        if name in old:
            del counter[name]
            key = key_of(old[name])
            counter[key] = counter.get(key, 0) + value


def by_class(counter: Mapping[str, float], members: Members) -> Counter[str]:
    """The count that each class shows; what no class can show is left out."""
    class_of = {one: name for name, some in members.items() for one in some}
    found: Counter[str] = Counter()
    for name, value in counter.items():
        shown = {class_of.get(one) for one in name.split(_MARK)[1:]} or {name}
        if len(shown) == 1 and (only := shown.pop()) is not None:
            found[only] += value  # type: ignore[assignment]
    return found


def rename_line(tally: LineTally, old: Members, names: Mapping[int, str]) -> None:
    """Go on under other names.

    Args:
        tally: changed in place.
        old: the classes so far.
        names: what each object that is followed is called now, by its number.
    """
    for counter in (tally.forward, tally.backward):
        by_keys(counter, old)  # type: ignore[arg-type]
    tally.places = _renamed(tally.places, names)


def rename_zone(tally: ZoneTally, old: Members, names: Mapping[int, str], moment: float) -> None:
    """Go on under other names, as :func:`rename_line`; who is inside has come in as what it is now.

    Who is inside and not followed any more has left at this ``moment``.
    """
    for counter in (tally.entered, tally.left, tally.stayed):
        by_keys(counter, old)  # type: ignore[arg-type]
    inside = {}
    for number, (name, since) in tally.inside.items():
        key = key_of(old[name]) if name in old else name
        if number in names:
            move(tally.entered, key, names[number])
            inside[number] = names[number], since
        else:
            tally.left[key] += 1
            tally.stayed[key] += moment - since
    tally.inside = inside
    tally.places = _renamed(tally.places, names)


def move(counter: Counter[str], old: str, new: str) -> None:
    """Count one of ``old`` as one of ``new``."""
    counter[old] -= 1
    if not counter[old]:
        del counter[old]
    counter[new] += 1


def _renamed(places: Mapping[int, Place], names: Mapping[int, str]) -> dict[int, Place]:
    found = {}
    for number, place in places.items():
        if number in names and place.visit is not None:
            visit = dataclasses.replace(place.visit, name=names[number])
            found[number] = dataclasses.replace(place, visit=visit)
        elif number in names:
            found[number] = place
    return found
