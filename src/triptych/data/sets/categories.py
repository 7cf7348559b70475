"""The list ``categories`` of COCO's files: which entries are classes.

A category that no annotation uses never refuses a set: it may be the root of a tree of names, or
lack whatever it likes. One that is used must say what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.classes import Colour
from triptych.data.sets.base import Fault, FaultKind
from triptych.data.sets.values import Id, colour, flag, plain_id, shown, text
from triptych.errors import TriptychError


@dataclass(frozen=True)
class Category:
    """An entry of ``categories`` that is a class."""

    name: str
    thing: bool | None
    """Countable; None where nobody says so."""
    colour: Colour | None = None


def read_categories(
    path: Path,
    entries: Sequence[Any],
    used: Mapping[Id, int],
    panoptic: bool,
    faults: list[Fault],
) -> tuple[list[Category], dict[Id, int]]:
    """The classes in the order of the file, and the place of each id among them.

    Args:
        path: of the file.
        entries: of its list.
        used: how many annotations name each id.
        panoptic: False where all classes are things unless they say otherwise.
        faults: entries that are left out are added.

    Raises:
        TriptychError: there are none, or one that is used has no name, or the id or name of
            another one.
    """
    if not entries:
        raise TriptychError(f"{path} lists no categories, so its objects have no class; add them")
    named: dict[Id, tuple[str, Any]] = {}
    for place, entry in enumerate(entries):
        number = plain_id(entry.get("id")) if isinstance(entry, dict) else None
        name = None if number is None else text(entry.get("name"))
        where = f"{path}: categories[{place}]"
        if number is None:
            faults.append(_left_out(f"{where} has no id"))
        elif name is None:
            if used.get(number):
                raise TriptychError(
                    f"{where}, id {shown(number)}, has no name, and {used[number]} annotations use "
                    "it; name it"
                )
            faults.append(_left_out(f"{where} has no name"))
        elif number not in named:
            named[number] = name, entry
        elif named[number][0] == name:
            faults.append(_left_out(f"{where} stands in the list before"))
        elif used.get(number):
            raise TriptychError(
                f"{path}: categories {named[number][0]!r} and {name!r} share the id "
                f"{shown(number)}, which {used[number]} annotations use; give each its own"
            )
        else:
            faults.append(_left_out(f"{where}, {name!r}, has the id of {named[number][0]!r}"))
    roots = _roots(named, used)
    for number in roots:
        text_ = f"category {shown(number)}, {named[number][0]!r}, only groups the others"
        faults.append(Fault(FaultKind.REMARK, f"{path}: {text_}; it is left out"))
        del named[number]
    if not named:
        raise TriptychError(f"{path}: no category has an id and a name: {faults[0].text}")
    categories: list[Category] = []
    places: dict[Id, int] = {}
    for name, numbers in _by_name(named).items():
        kept = [number for number in numbers if used.get(number)] or numbers[:1]
        if len(kept) > 1:
            told = " and ".join(f"{shown(n)} ({used[n]} annotations)" for n in kept[:2])
            raise TriptychError(
                f"{path}: two categories are called {name!r}: {told}; rename one of them"
            )
        if len(numbers) > 1:
            others = ", ".join(shown(number) for number in numbers if number not in kept)
            faults.append(
                Fault(
                    FaultKind.REMARK,
                    f"{path}: category {others} is called {name!r} like {shown(kept[0])} and no "
                    "annotation uses it; it is left out",
                )
            )
        places[kept[0]] = len(categories)
        entry = named[kept[0]][1]
        thing = _thing(path, name, entry.get("isthing"), panoptic, bool(used.get(kept[0])))
        categories.append(Category(name, thing, colour(entry.get("color"))))
    return categories, places


def _by_name(named: Mapping[Id, tuple[str, Any]]) -> dict[str, list[Id]]:
    found: dict[str, list[Id]] = {}
    for number, (name, _) in named.items():
        found.setdefault(name, []).append(number)
    return found


def _roots(named: Mapping[Id, tuple[str, Any]], used: Mapping[Id, int]) -> list[Id]:
    """Unused entries that stand for a group of others, as Roboflow writes them."""
    groups = {entry.get("supercategory") for _, entry in named.values() if _is_text(entry)}
    return [
        number
        for number, (name, entry) in named.items()
        if not used.get(number) and name in groups and entry.get("supercategory") == "none"
    ]


def _is_text(entry: Any) -> bool:
    return isinstance(entry.get("supercategory"), str)


def _thing(path: Path, name: str, value: Any, panoptic: bool, used: bool) -> bool | None:
    """Whether objects are told apart. Without a word about it, objects of outlines are."""
    thing = flag(value)
    if thing is None and value is not None and used:
        raise TriptychError(f"{path}: category {name!r} has isthing {shown(value)}; give 0 or 1")
    if thing is None:
        return None if panoptic and used else not panoptic
    return thing


def _left_out(what: str) -> Fault:
    return Fault(FaultKind.BROKEN_ENTRY, f"{what}; it is left out")
