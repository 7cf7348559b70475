"""Class tables: classes merged and renamed, many to one, the rest void.

One table form serves data sets (in their YAML) and checkpoints: the key is the new name, its
members are old classes, each in at most one group. What no group lists is void, unless the table
has a class for the rest.

    classes:
      car: [car, truck, bus]                                    # merged
      tree: tree-merged                                         # renamed
      person:                                                   # as it is
      sign: {of: [traffic light, stop sign], thing: false}      # things that become stuff

A checkpoint is regrouped by the same table, in Python, in a file of its own, or in short on the
command line: ``"car: car, truck, bus; tree: tree-merged; person"``. Its groups never mix things
and stuff, and what none lists joins "no object".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from triptych.classes import Classes
from triptych.config import Document, build, read_document, suggest
from triptych.errors import TriptychError

LONGEST_NAME = 100
"""Letters."""

REST_COLOUR = (110, 110, 116)
"""Grey: what is none of the classes should not look like one."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """What a class of a table is made of."""

    of: tuple[str, ...] = ()
    """The old classes; by default the one of the same name."""
    thing: bool | None = None
    """Countable. By default as the old classes are, which must then agree."""
    colour: tuple[int, int, int] | None = None
    """Red, green, blue, 0 to 255."""


@dataclass(frozen=True, kw_only=True)
class Group(Members):
    """One class of a table that is written as a list; a name alone is short for one."""

    name: str
    """What the class is called."""


TableForm = Mapping[str, Members | tuple[str, ...] | str | None] | tuple[Group | str, ...]
"""How a table is written: a mapping from new names to members, or a list of groups."""

Regrouping = (
    Mapping[str, Sequence[str]]
    | Mapping[str, Members | tuple[str, ...] | str | None]
    | Sequence["Group | str"]
)
"""The same for checkpoints, in Python: lists will do as well."""

REGROUP = "regroup"
"""What messages on a checkpoint's table begin with."""


@dataclass(frozen=True)
class Merged:
    """The classes that a table makes of others."""

    classes: Classes
    new: tuple[int | None, ...]
    """``(K,)`` the new class id by the old one; None: void."""
    rest: int | None = None
    """The new class of what no group lists; None: there is none."""

    @classmethod
    def unchanged(cls, classes: Classes) -> Merged:
        """Every class as it is."""
        return cls(classes, tuple(range(len(classes))))

    def then(self, later: Merged) -> Merged:
        """The classes that ``later`` makes of these."""
        new = tuple(None if one is None else later.new[one] for one in self.new)
        return Merged(later.classes, new, later.rest)

    def members(self, old: Classes) -> dict[str, tuple[str, ...]]:
        """Names of the old classes that each new one is made of, by its name."""
        table = list(zip(old.names, self.new, strict=True))
        return {
            name: tuple(one for one, place in table if place == number)
            for number, name in enumerate(self.classes.names)
        }

    def table(self, old: Classes) -> ClassTable:
        """The table that makes these classes of the old ones."""
        rows = zip(
            self.members(old).items(), self.classes.is_thing, self.classes.colours, strict=True
        )
        return ClassTable(
            tuple(
                Group(name=name, of=of, thing=thing, colour=colour)
                for (name, of), thing, colour in rows
            )
        )

    def heirs(self, later: Merged) -> tuple[frozenset[int], ...]:
        """``(K,)`` for each of these classes: those of ``later`` that share a member with it.

        Both are made of the same old classes.
        """
        found: list[set[int]] = [set() for _ in self.classes.names]
        for mine, theirs in zip(self.new, later.new, strict=True):
            if mine is not None and theirs is not None:
                found[mine].add(theirs)
        return tuple(map(frozenset, found))


@dataclass(frozen=True)
class ClassTable:
    """Which old classes each new one is made of."""

    groups: tuple[Group, ...]
    rest: str | None = None
    """Name of a stuff class for everything that no group lists. Without it, all that is void."""

    @classmethod
    def read(cls, form: TableForm, rest: str | None = None) -> ClassTable | None:
        """A table as it is written; None where nothing is.

        Raises:
            TriptychError: ``rest`` without ``classes``.
        """
        if isinstance(form, Mapping):
            groups = tuple(_group(name, members) for name, members in form.items())
        else:
            groups = tuple(Group(name=g) if isinstance(g, str) else g for g in form)
        if not groups and rest is not None:
            raise TriptychError("rest: list the other classes under 'classes'")
        return cls(groups, rest) if groups else None

    @classmethod
    def of(cls, table: Regrouping | ClassTable) -> ClassTable:
        """A checkpoint's table, in any of its forms; lists of members may be lists or tuples.

        Raises:
            TriptychError: it is empty, or no table.
        """
        if isinstance(table, ClassTable):
            return table
        if isinstance(table, str) or not isinstance(table, Mapping | Sequence):
            raise TriptychError(
                f"{REGROUP}: {table!r} is no table; give a mapping from new names to classes"
            )
        try:
            if isinstance(table, Mapping):
                groups = tuple(_group(name, members) for name, members in table.items())
            else:
                groups = tuple(Group(name=g) if isinstance(g, str) else g for g in table)
        except TypeError as error:  # members that are no list
            raise TriptychError(
                f"{REGROUP}: {table!r} is no table; give each group a list of classes"
            ) from error
        if not groups:
            raise TriptychError(
                f"{REGROUP}: the table is empty; name at least one group, such as 'vehicle: car'"
            )
        for group in groups:
            if not isinstance(group, Group) or not all(
                isinstance(name, str) and name.strip() for name in (group.name, *group.of)
            ):
                raise TriptychError(
                    f"{REGROUP}: {group!r} is no group; give a name, and names of classes"
                )
            if not group.name.isprintable() or len(group.name) > LONGEST_NAME:
                raise TriptychError(
                    f"{REGROUP}: {group.name[:LONGEST_NAME]!a} is no name of a group; give up "
                    f"to {LONGEST_NAME} letters that can be printed"
                )
        return cls(groups)

    @classmethod
    def parse(cls, text: str) -> ClassTable:
        """A checkpoint's table from the command line: in short, or the path of a YAML file.

        In short: ``vehicle: car, bus, truck; way: road, pavement``; a group without members is
        the class of its name. The file holds the mapping itself, or has it under ``classes``, as
        the description of a data set does.

        Raises:
            TriptychError: the file is missing or wrong, the table is empty, or a group stands
                twice.
        """
        if _is_file(text):
            return cls.of(_read_file(Path(text)))
        if text.strip() and ":" not in text and Path(text).is_dir():
            raise TriptychError(f"{text}: is a folder; give the file of a class table")
        if ":" not in text and (text.endswith((".yaml", ".yml", ".json")) or "/" in text):
            raise TriptychError(f"no such class table: {text}; check the path")
        groups: dict[str, tuple[str, ...]] = {}
        for part in filter(None, map(str.strip, text.split(";"))):
            name, _, members = (piece.strip() for piece in part.partition(":"))
            if not name:
                raise TriptychError(f"{REGROUP}: {part!r} has no name; write 'name: class, class'")
            if name in groups:
                raise TriptychError(f"{REGROUP}: the group {name!r} stands twice; keep one")
            groups[name] = tuple(filter(None, map(str.strip, members.split(","))))
        return cls.of(groups)

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data for a JSON file; :meth:`from_list` reads it back."""
        return [
            {
                "name": group.name,
                "of": list(group.of),
                "thing": group.thing,
                "colour": None if group.colour is None else list(group.colour),
            }
            for group in self.groups
        ]

    @classmethod
    def from_list(cls, entries: Sequence[Any]) -> ClassTable:
        """Read what :meth:`to_list` wrote.

        Raises:
            TriptychError: it is something else.
        """
        known = {"name", "of", "thing", "colour"}
        for entry in entries:
            if isinstance(entry, Mapping) and entry.keys() - known:
                unknown = min(entry.keys() - known, key=str)
                raise TriptychError(f"{REGROUP}: unknown entry {unknown!r} of a group")
        try:
            return cls.of(tuple(msgspec.convert(entries, list[Group])))
        except msgspec.ValidationError as error:
            raise TriptychError(f"{REGROUP}: {error}") from error

    def regroup(self, old: Classes) -> Merged:
        """Make the new classes of a checkpoint.

        A group has the colour of the class of its name if that is a member, else of its first
        member, unless the table gives another.

        Raises:
            TriptychError: the table names a class that is not there, or one in two groups; a group
                mixes things and stuff; two groups share a name.
        """
        names = [group.name for group in self.groups]
        for group in self.groups:
            members = group.of or (group.name,)
            if names.count(group.name) > 1:
                raise TriptychError(f"{REGROUP}: the group {group.name!r} stands twice; keep one")
            kinds = {old.is_thing[old.index(one)]: one for one in members if one in old.names}
            if len(kinds) > 1:
                raise TriptychError(
                    f"{REGROUP}: {group.name!r} mixes things ({kinds[True]}) and stuff "
                    f"({kinds[False]}); make two groups"
                )
        merged = self.merge(old, "the checkpoint has", REGROUP)
        first = [group.of or (group.name,) for group in self.groups]
        colours = tuple(
            group.colour or old.colours[old.index(group.name if group.name in of else of[0])]
            for group, of in zip(self.groups, first, strict=True)
        )
        new = merged.classes
        return Merged(Classes(new.names, new.is_thing, colours), merged.new)

    def merge(self, old: Classes, having: str = "the data have", key: str = "classes") -> Merged:
        """Make the new classes.

        Args:
            old: the classes that there are.
            having: who has them, for messages.
            key: what messages begin with.

        Raises:
            TriptychError: the table names a class that is not there, or one in two groups; a
                group mixes things and stuff and does not say which it is; two groups share a name.
        """
        groups: list[tuple[Group, tuple[str, ...]]] = []
        new: list[int | None] = [None] * len(old)
        for number, group in enumerate(self.groups):
            members = group.of or (group.name,)
            groups.append((group, members))
            for name in members:
                if name not in old.names:
                    raise TriptychError(
                        f"{key}: {having} no class {name!r}{suggest(name, old.names)}; "
                        f"there are: {', '.join(old.names)}"
                    )
                place = old.index(name)
                if new[place] is not None:
                    raise TriptychError(f"{key}: {name!r} is taken twice; keep one")
                new[place] = number
        entries = [
            {
                "name": group.name,
                "thing": _is_thing(
                    group, [old.is_thing[old.index(n)] for n in members], having, key
                ),
                "colour": group.colour,
            }
            for group, members in groups
        ]
        if self.rest is None:
            return Merged(Classes.from_list(entries), tuple(new))
        entries.append({"name": self.rest, "thing": False, "colour": REST_COLOUR})
        rest = len(groups)
        filled = tuple(rest if number is None else number for number in new)
        return Merged(Classes.from_list(entries), filled, rest)


def _group(name: str, members: Members | Iterable[str] | str | None) -> Group:
    if isinstance(members, Members):
        return Group(name=name, of=members.of, thing=members.thing, colour=members.colour)
    if isinstance(members, str):
        members = (members,)
    return Group(name=name, of=() if members is None else tuple(members))


def _is_thing(group: Group, members: Sequence[bool], having: str, key: str) -> bool:
    if group.thing is None:
        if len(set(members)) > 1:
            raise TriptychError(
                f"{key}: {group.name!r} is made of things and stuff; say 'thing: false'"
            )
        return members[0]
    if group.thing and not all(members):
        raise TriptychError(
            f"{key}: {group.name!r} cannot be a thing: {having} objects told apart in only "
            "some of what it is made of; say 'thing: false'"
        )
    return group.thing


@dataclass(frozen=True)
class _File:
    """What a file of a checkpoint's table holds, below one key."""

    regroup: TableForm


def _read_file(path: Path) -> TableForm:
    found = read_document(path, "class table")
    if "layout" in found.values:
        if found.values.get("rest") is not None:
            raise TriptychError(
                f"{found.place(('rest',))}: rest is for data sets; list its classes as a group"
            )
        if isinstance(found.values.get("classes"), list):
            raise TriptychError(
                f"{found.place(('classes',))}: classes is a plain list and no table of groups"
            )
    inner: tuple[str, ...] = ()
    described = "layout" in found.values or list(found.values) == ["classes"]
    if described and "classes" in found.values and not _are_names(found.values["classes"]):
        inner = ("classes",)  # the description of a data set, or only this part of one
    document = Document(found.source, what=found.what)
    document.values = {REGROUP: found.values[inner[0]] if inner else found.values}
    document.places = {
        (REGROUP, *key[len(inner) :]): line
        for key, line in found.places.items()
        if key[: len(inner)] == inner
    }
    return build(_File, document).regroup


def _are_names(members: object) -> bool:
    """Whether these are members of a group that is called "classes"."""
    if isinstance(members, Mapping):
        return bool(members) and members.keys() <= {"of", "thing", "colour"}
    return not isinstance(members, Sequence) or all(isinstance(one, str) for one in members)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or no text that a name may have
        return False
