"""What the JSON API is asked: the types that check a body are the ones that describe it.

Structs are called as their schemas in the description (:mod:`triptych.dashboard.openapi`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request

from triptych.dashboard.guard import is_json
from triptych.dashboard.naming import LONGEST, LONGEST_SOURCE
from triptych.errors import TriptychError
from triptych.stream.layout import LONGEST_NAME, MAX_CORNERS, MAX_SHAPES

LONGEST_CLASS = 200
"""Characters of a class's name."""

MAX_GROUPS = 1000

Share = Annotated[float, Meta(ge=0, le=1)]
Whole = Annotated[float, Meta(ge=1, multiple_of=1)]
"""JSON has one kind of number: 5.0 is 5."""
ShapeName = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, pattern=r"\S")]
ClassName = Annotated[str, Meta(min_length=1, max_length=LONGEST_CLASS, pattern=r"\S")]
Point = Annotated[
    tuple[Share, Share], Meta(description="x and y as shares of the picture's width and height.")
]


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A JSON object that has no other keys."""


class Switch(Body, frozen=True):
    """Begin or end a recording."""

    on: bool


class Pause(Body, frozen=True):
    """Let a source stand still, or go on."""

    paused: bool


class NewSource(Body, frozen=True):
    """A source to add."""

    source: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=LONGEST_SOURCE,
            pattern=r"\S",
            description="Whatever triptych serve takes, where the operator allows it.",
        ),
    ]
    name: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=LONGEST,
                pattern=r"^[\w .-]*[\w-][\w .-]*$",
                description="Letters, digits, spaces, dots and dashes; made up if it is absent.",
            ),
        ]
        | UnsetType
    ) = UNSET


class Thresholds(Body, frozen=True):
    """Those that are to change."""

    instance_threshold: Share | UnsetType = UNSET
    top: Whole | UnsetType = UNSET
    panoptic_threshold: Share | UnsetType = UNSET
    overlap: Share | UnsetType = UNSET


class Regroup(Body, frozen=True):
    """Groups of the network's classes, which take their place; things and stuff do not mix."""

    groups: Annotated[
        dict[ClassName, tuple[ClassName, ...]],
        Meta(
            min_length=1,
            max_length=MAX_GROUPS,
            description="Classes of each group by its name; none: the class of that name.",
        ),
    ]


class Line(Body, frozen=True):
    """A counting line."""

    name: ShapeName
    a: Point
    b: Point


class Zone(Body, frozen=True):
    """A polygon that has an area."""

    name: ShapeName
    corners: Annotated[tuple[Point, ...], Meta(min_length=3, max_length=MAX_CORNERS)]


class Layout(Body, frozen=True):
    """Lines and zones; names of a kind differ."""

    lines: Annotated[tuple[Line, ...], Meta(max_length=MAX_SHAPES)] = ()
    zones: Annotated[tuple[Zone, ...], Meta(max_length=MAX_SHAPES)] = ()


BODIES: tuple[type[Body], ...] = (Switch, Pause, NewSource, Thresholds, Regroup, Layout)

WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
"""Types of JSON, for messages."""

T = TypeVar("T", bound=Body)


class NotJSONError(TriptychError):
    """The body claims to be something else."""


async def read_body(request: Request, kind: type[T]) -> T:
    """The body of a request.

    Raises:
        NotJSONError: it claims to be something else.
        TriptychError: it is no JSON, or does not fit; the line names the key and its value.
    """
    if not is_json(request.headers):
        raise NotJSONError("send the body as content-type: application/json")
    try:
        body = json.loads(await request.body(), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise TriptychError(f"the body is not JSON ({error})") from error
    if not isinstance(body, dict):
        raise TriptychError("the body is no JSON object")
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise TriptychError(_told(str(error), body, kind)) from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise TriptychError(f"the key {twice!r} stands twice; keep one")
    return found


def given(body: Body) -> dict[str, Any]:
    """What a body holds, as plain data; what was not given is not there."""
    found: dict[str, Any] = msgspec.to_builtins(body)
    return found


def schemas() -> dict[str, Any]:
    """JSON schemas of all bodies, and of what they are made of, by name."""
    _, found = msgspec.json.schema_components(BODIES, ref_template="#/components/schemas/{name}")
    plain: dict[str, Any] = json.loads(json.dumps(found))  # lists, as JSON has them
    return plain


def _told(error: str, body: Mapping[str, Any], kind: type[Body]) -> str:
    """An error of msgspec, with the key and the value that it is about."""
    # Of a mapping msgspec does not say which key it means: the mapping is told.
    text, _, path = error.replace(" - at `key` in `$", " as a key - at `$").partition(" - at `$")
    path = path.partition("[...]")[0]
    place = re.findall(r"\.(\w+)|\[(\d+)\]", path)
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text):
        names = f"; there are {', '.join(kind.__struct_fields__)}" if not place else ""
        return f"nothing here is called {unknown[1]!r}{names}"
    text = re.sub(r", got `\w+`", "", text).replace("Expected", "give")
    for name, words in WORDS.items():
        text = text.replace(f"`{name}`", words)
    if not place:
        return f"the body does not fit: {text}"
    value: Any = body
    for key, number in place:
        value = value[key] if key else value[int(number)]
    return f"{path.rstrip('`').lstrip('.')} is {json.dumps(value)}; {text}"
