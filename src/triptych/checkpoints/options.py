"""Reading configurations that others wrote: each entry checked, each refusal one line.

Such a file has entries that do not matter to us (loss weights, versions of software) and leaves
out what has its default, so entries are asked for by name and the rest is not looked at.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from triptych.errors import TriptychError


class Options:
    """The entries of a configuration. An entry that is null counts as absent.

    Args:
        entries: what the file holds.
        part: how messages call what lies around the entries: "backbone_config.", say.
    """

    def __init__(self, entries: Mapping[str, Any], part: str = "") -> None:
        self.entries = entries
        self.part = part

    def __contains__(self, name: str) -> bool:
        return self.entries.get(name) is not None

    def within(self, name: str) -> Options:
        """The entries of the configuration inside this one called ``name``; none if absent."""
        return Options(self._get(name, {}, dict, "entries in braces"), f"{self.part}{name}.")

    def text(self, name: str, default: str) -> str:
        """Some text."""
        return self._get(name, default, str, "text")

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        return self._get(name, default, bool, "true or false")

    def count(self, name: str, default: int) -> int:
        """A whole number above 0."""
        value = self._get(name, default, object, "")
        if not _is_count(value):
            raise self._wrong(name, value, "a whole number above 0")
        return value

    def rate(self, name: str, default: float) -> float:
        """A number of 0 or more."""
        value = self._get(name, default, object, "")
        if not _is_rate(value):
            raise self._wrong(name, value, "a number of 0 or more")
        return value

    def counts(self, name: str, default: Sequence[int]) -> list[int]:
        """As many whole numbers above 0 as ``default`` has."""
        return self._list(name, default, _is_count, "whole numbers above 0")

    def rates(self, name: str, default: Sequence[float]) -> list[float]:
        """As many numbers of 0 or more as ``default`` has."""
        return self._list(name, default, _is_rate, "numbers of 0 or more")

    def only(self, name: str, *supported: Any) -> None:
        """Refuse an entry that is there and none of ``supported``.

        Raises:
            TriptychError: naming the entry, its value and what is supported.
        """
        if name in self and _plain(self.entries[name]) not in [_plain(v) for v in supported]:
            told = " or ".join(repr(value) for value in supported)
            raise TriptychError(
                f"{self.part}{name} is {self.entries[name]!r}, which is not supported, only {told}"
            )

    def _get(self, name: str, default: Any, kind: type, wanted: str) -> Any:
        value = self.entries.get(name)
        value = default if value is None else value
        if not isinstance(value, kind):
            raise self._wrong(name, value, wanted)
        return value

    def _list(self, name: str, default: Sequence[Any], fits: Any, wanted: str) -> list[Any]:
        value = self._get(name, default, object, "")
        if not (isinstance(value, list | tuple) and len(value) == len(default)) or not all(
            map(fits, value)
        ):
            raise self._wrong(name, value, f"{len(default)} {wanted}")
        return list(value)

    def _wrong(self, name: str, value: object, wanted: str) -> TriptychError:
        return TriptychError(f"{self.part}{name} is {value!r}; expected {wanted}")


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_rate(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")  # type: ignore[operator]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def with_defaults(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a function, completed by those that it has defaults for.

    Raises:
        TriptychError: the function does not take these arguments.
    """
    try:
        bound = inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise TriptychError(f"{error}; correct the arguments of {function.__name__}") from error
    bound.apply_defaults()
    return dict(bound.arguments)


def without_defaults(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a function less those that say what its defaults say."""
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    return {
        name: value for name, value in arguments.items() if _plain(value) != _plain(defaults[name])
    }
