"""Class tables: classes merged and renamed, many to one, the rest void.

One table form serves data sets (in their YAML) and checkpoints: the key is the new name, its
members are old classes, each in at most one group. What no group lists is void, unless the table
has a class for the rest.

    classes:
      car: [car, truck, bus]                                    # merged
      tree: tree-merged                                         # renamed
      person:                                                   # as it is
      sign: {of: [traffic light, stop sign], thing: false}      # things that become stuff
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triptych.classes import Classes
from triptych.config import suggest
from triptych.errors import TriptychError

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


@dataclass(frozen=True)
class Merged:
    """The classes that a table makes of others."""

    classes: Classes
    new: tuple[int | None, ...]
    """``(K,)`` the new class id by the old one; None: void."""
    rest: int | None = None
    """The new class of what no group lists; None: there is none."""


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

    def merge(self, old: Classes, having: str = "the data have") -> Merged:
        """Make the new classes.

        Args:
            old: the classes that there are.
            having: who has them, for messages.

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
                        f"classes: {having} no class {name!r}{suggest(name, old.names)}; "
                        f"there are: {', '.join(old.names)}"
                    )
                place = old.index(name)
                if new[place] is not None:
                    raise TriptychError(f"classes: {name!r} is taken twice; keep one")
                new[place] = number
        entries = [
            {
                "name": group.name,
                "thing": _is_thing(group, [old.is_thing[old.index(n)] for n in members], having),
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


def _group(name: str, members: Members | Sequence[str] | str | None) -> Group:
    if isinstance(members, Members):
        return Group(name=name, of=members.of, thing=members.thing, colour=members.colour)
    if isinstance(members, str):
        members = (members,)
    return Group(name=name, of=tuple(members or ()))


def _is_thing(group: Group, members: Sequence[bool], having: str) -> bool:
    if group.thing is None:
        if len(set(members)) > 1:
            raise TriptychError(
                f"classes: {group.name!r} is made of things and stuff; say 'thing: false'"
            )
        return members[0]
    if group.thing and not all(members):
        raise TriptychError(
            f"classes: {group.name!r} cannot be a thing: {having} objects told apart in only "
            "some of what it is made of; say 'thing: false'"
        )
    return group.thing
