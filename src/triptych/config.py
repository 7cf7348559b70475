"""Strict YAML: a file becomes frozen dataclasses, or one line says what is wrong and where.

A typing error in a recipe must not cost an hour of training, nor one in the description of a data
set wrong figures, so nothing is guessed: unknown keys, doubled keys and wrong types are errors that
name the key, its line and what is allowed there. msgspec checks the values; the keys are checked
here, since for dataclasses msgspec lets unknown ones pass.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import msgspec
import yaml

from triptych.errors import TriptychError

T = TypeVar("T")
Key = tuple[str, ...]

MAPPINGS = (dict, typing.get_origin(Mapping[str, Any]))
"""What annotations of mappings are of."""


MOST = 1_000_000
"""Values that a file may hold."""


class _Loader(yaml.SafeLoader):
    """PyYAML reads ``1e-4`` as text, because YAML 1.1 wants a dot; everybody means the number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass
class Document:
    """Plain values of a YAML file, and where each key stands."""

    source: str
    """Name of the file, for messages."""

    values: dict[str, Any] = field(default_factory=dict)
    """The nested mapping."""

    places: dict[Key, str] = field(default_factory=dict)
    """Path of a key to its place, such as ``line 12`` or ``--override``."""

    what: str = "recipe"
    """What the file is, for messages."""

    count: int = 0
    """Values that were read so far."""

    def place(self, key: Key) -> str:
        """Words for messages: the file, and the line of ``key`` or of the nearest section."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.places:
                return f"{self.source}, {self.places[key[:length]]}"
        return self.source


def read_document(path: str | Path, what: str = "recipe") -> Document:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: the file.
        what: what it is, for messages.

    Raises:
        TriptychError: missing or unreadable file, bad syntax, a doubled key, or no mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TriptychError(f"no such {what}: {path}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise TriptychError(f"cannot read {what} {path}: {reason}") from None
    document = Document(str(path), what=what)
    node = _compose(text, document.source)
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise TriptychError(f"{path}: a {what} is a mapping of keys, such as 'name: ...'")
    if node is not None:
        try:
            document.values = _construct(node, (), document)
        except RecursionError:  # an alias to the very thing that it stands in
            raise TriptychError(f"{path}: sections are nested without end") from None
    return document


def override(document: Document, assignment: str) -> None:
    """Set one value from ``key.path=value``; the value is read as YAML.

    Raises:
        TriptychError: there is no ``=``, the value is no YAML, or the path leads through a value.
    """
    path, equals, text = assignment.partition("=")
    key = tuple(path.strip().split("."))
    if not equals or not all(key):
        raise TriptychError(
            f"--override {assignment}: write key.path=value, such as optimisation.steps=500"
        )
    scratch = Document(f"--override {path.strip()}")
    node = _compose(text, scratch.source)
    value = None if node is None else _construct(node, key, scratch)
    inner = document.values
    for depth, part in enumerate(key[:-1], start=1):
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise TriptychError(
                f"--override {assignment}: {'.'.join(key[:depth])} is a value, not a section"
            )
    inner[key[-1]] = value
    document.places = {k: v for k, v in document.places.items() if k[: len(key)] != key}
    document.places[key] = "--override"


def build(kind: type[T], document: Document, key: Key = ()) -> T:
    """Make the dataclass ``kind`` from the section of ``document`` at ``key``.

    Raises:
        TriptychError: unknown or missing key, wrong type, or a value that ``kind`` refuses.
    """
    values: Any = document.values
    for part in key:
        values = values[part]
    return _section(kind, {} if values is None else values, key, document)


def _section(kind: type[T], values: Any, key: Key, document: Document) -> T:
    name = ".".join(key)
    if not isinstance(values, Mapping):
        raise TriptychError(f"{document.place(key)}: {name} is a section with keys of its own")
    allowed = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    arguments = {}
    for part, value in values.items():
        here = (*key, str(part))
        if part not in allowed:
            where = f"section {name!r}" if name else f"the {document.what}"
            raise TriptychError(
                f"{document.place(here)}: unknown key {str(part)!r} in {where}"
                f"{suggest(str(part), allowed)}; allowed: {', '.join(allowed)}"
            )
        arguments[part] = _convert(value, hints[part], here, document)
    for part, f in allowed.items():
        if part not in arguments and f.default is MISSING and f.default_factory is MISSING:
            where = f"section {name!r}" if name else f"the {document.what}"
            raise TriptychError(f"{document.place(key)}: {where} needs the key {part!r}")
    try:
        return kind(**arguments)
    except TriptychError as error:
        # The dataclass knows which field is wrong, only the document knows where that stands.
        first = re.match(r"\w+", str(error))
        here = (*key, first[0]) if first and first[0] in allowed else key
        prefix = f"{name}." if name and len(here) > len(key) else ""
        raise TriptychError(f"{document.place(here)}: {prefix}{error}") from None


def suggest(word: str, known: typing.Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` when a known word is close to ``word``, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _convert(value: Any, hint: Any, key: Key, document: Document) -> Any:
    """``value`` as the type ``hint``: what has keys of its own here, what has none by msgspec."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return _section(hint, {} if value is None else value, key, document)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType) and (kind := _only_kind(value, inner)):
        return _convert(value, kind, key, document)
    if origin in MAPPINGS and (value is None or isinstance(value, Mapping)):
        return {
            _convert(k, inner[0], (*key, str(k)), document): _convert(
                v, inner[1], (*key, str(k)), document
            )
            for k, v in (value or {}).items()
        }
    if origin is tuple and inner[-1] is Ellipsis and isinstance(value, list):
        return tuple(_convert(v, inner[0], key, document) for v in value)
    try:
        return msgspec.convert(value, hint, dec_hook=_path)
    except msgspec.ValidationError:
        raise TriptychError(
            f"{document.place(key)}: {'.'.join(key)} must be {describe(hint)}, not {value!r}"
            + (suggest(str(value), map(str, inner)) if origin is Literal else "")
        ) from None


def _only_kind(value: Any, kinds: Sequence[Any]) -> Any:
    """The one of several types that a mapping or a list can be; None if it can be none."""
    if isinstance(value, Mapping):
        has_keys = [k for k in kinds if is_dataclass(k) or typing.get_origin(k) in MAPPINGS]
        return has_keys[0] if has_keys else None
    lists = [k for k in kinds if typing.get_origin(k) is tuple]
    return lists[0] if isinstance(value, list) and len(lists) == 1 else None


def _path(kind: type, value: Any) -> Any:
    """A path, which msgspec does not know, from text."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError


def describe(hint: Any) -> str:
    """A type in words, for messages."""
    words = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        Path: "a path",
        type(None): "null",
    }
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in words:
        return words[hint]
    if origin in (Union, types.UnionType):
        return " or ".join(describe(kind) for kind in inner)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in inner)
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"a list of entries that are each {describe(inner[0])}"
        return "[" + ", ".join(describe(kind) for kind in inner) + "]"
    return "a mapping"


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TriptychError(f"{source}{line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise TriptychError(f"{source}: sections are nested too deeply") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise TriptychError(f"{source}: not valid YAML: {reason}") from None


def _construct(node: yaml.Node, key: Key, document: Document) -> Any:
    """Plain values of a node; the line of each mapping key is noted in ``document``."""
    document.count += 1
    if document.count > MOST:  # aliases of aliases make billions of a few lines
        raise TriptychError(f"{document.source}: has more than {MOST} values, aliases written out")
    if isinstance(node, yaml.MappingNode):
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise TriptychError(f"{_at(key_node, document.source)}: a key must be plain text")
            name = _scalar(key_node, document.source)
            here = (*key, str(name))
            line = f"line {key_node.start_mark.line + 1}"
            if name in values:
                raise TriptychError(
                    f"{document.source}, {line}: the key {'.'.join(here)} stands twice "
                    f"(first in {document.places[here]}); remove one"
                )
            document.places[here] = line
            values[name] = _construct(value_node, here, document)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*key, str(i)), document) for i, item in enumerate(node.value)]
    return _scalar(node, document.source)


def _scalar(node: yaml.Node, source: str) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError):  # a tag such as !!python/name, a date such as 2024-99-99
        raise TriptychError(
            f"{_at(node, source)}: {node.value!r} is no plain value; put text into quotes"
        ) from None
    finally:
        loader.dispose()


def _at(node: yaml.Node, source: str) -> str:
    return f"{source}, line {node.start_mark.line + 1}"
