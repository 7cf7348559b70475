"""The house: imports run one way, from the rooms above to those below, and never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"

LEVELS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "errors",
        "atomic classes config runtime truth",
        "class_table image networks",
        "readings",
        "checkpoints metrics render",
        "engines mask_set",
        "windows",
        "segmenter",
        "bench interop stream",
        "data evaluation predict train",
        "dashboard",
        "commands",
    )
)
"""Rooms from the ground up; each imports from its own level and from those below."""

MAX_MODULES = 10
"""Directly in ``triptych/``."""
MAX_LINES = 400
"""Of a file; what is longer asks to be two."""


def modules() -> dict[str, Path]:
    """All modules of the package by their dotted names; a package is its ``__init__``."""
    found = {}
    for file in sorted((SOURCE / "triptych").rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> set[str]:
    """What a file imports of the package, in functions and for type checkers as well."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in known else node.module for name in inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known.keys()


def room(module: str) -> str:
    """The room that a module stands in: the second part of its name."""
    return module.split(".")[1] if "." in module else ""


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    assert len(known) > 200
    return {name: imports(file, known) for name, file in known.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of an import circle, or an empty list."""
    left = dict(graph)
    while leaves := [name for name, wanted in left.items() if not wanted & left.keys()]:
        for name in leaves:
            del left[name]
    if not left:
        return []
    way = [next(iter(left))]
    while way[-1] not in way[:-1]:
        way.append(next(name for name in left[way[-1]] if name in left))
    return way[way.index(way[-1]) :]


def test_there_is_no_circle(graph: dict[str, set[str]]) -> None:
    assert circle(graph) == []


def test_a_circle_would_be_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) in (list("bcb"), list("cbc"))


def test_imports_run_one_way(graph: dict[str, set[str]]) -> None:
    level = {name: number for number, names in enumerate(LEVELS) for name in names}
    wrong = [
        f"{name} imports {other}"
        for name, wanted in graph.items()
        for other in wanted
        # The package itself: its version, and the public names that it finds on first use.
        if room(name) not in ("", "__main__")
        if room(other) and level[room(name)] < level[room(other)]
    ]
    assert wrong == []


def test_every_room_has_a_level(graph: dict[str, set[str]]) -> None:
    assert {room(name) for name in graph} - {"", "__main__"} == frozenset().union(*LEVELS)


def test_no_room_is_crowded() -> None:
    assert len(list((SOURCE / "triptych").glob("*.py"))) <= MAX_MODULES
    long = {
        str(file.relative_to(SOURCE / "triptych")): lines
        for file in modules().values()
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}
