"""Exported graphs: what lies beside a checkpoint so that an engine need not make them again.

An exported folder is a checkpoint folder like any other, ``config.json`` with classes and
preprocessing, and weights, with two things more: ``engine.json``, and the graphs that it names. So
whatever loads a checkpoint loads it, and an input shape that was not exported is no dead end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.checkpoints.folder import WEIGHTS, read_json, write_json
from triptych.engines.parts import Part, whole
from triptych.errors import TriptychError

ENGINE = "engine.json"
VERSION = 2
"""Version 1 had graphs of whole networks alone, and reads as such."""


@dataclass(frozen=True)
class Graph:
    """The file of one graph."""

    file: Path
    outputs: tuple[str, ...]
    """Names of what it gives; empty where version 1 does not say."""


@dataclass(frozen=True)
class Exported:
    """Graphs of one network for one engine."""

    folder: Path
    engine: str
    """A name in :data:`triptych.engines.registry.ENGINES`."""
    precision: str
    """Arithmetic that was asked for: "fp32", "bf16" or "fp16"."""
    graphs: Mapping[Part, Graph]
    """By what they compute, for one picture at a time."""
    made_with: str
    """Packages that made them, and their versions, for people."""

    def write(self) -> None:
        """Write ``engine.json``, when the weights and graphs are in the folder.

        Raises:
            TriptychError: the folder cannot be written.
        """
        graphs = [
            {
                "part": part.name,
                "inputs": {name: list(shape) for name, shape in part.inputs},
                "outputs": list(graph.outputs),
                "file": graph.file.name,
            }
            for part, graph in self.graphs.items()
        ]
        write_json(
            self.folder / ENGINE,
            {
                "format": "triptych-engine",
                "version": VERSION,
                "engine": self.engine,
                "precision": self.precision,
                "weights": _digest(self.folder / WEIGHTS),
                "graphs": graphs,
                "made_with": self.made_with,
            },
        )


def read_exported(folder: Path) -> Exported | None:
    """What was exported to a checkpoint folder; None if nothing was.

    Raises:
        TriptychError: it is damaged, of another version, or of other weights than the folder has.
    """
    path = folder / ENGINE
    if not path.is_file():
        return None
    data = read_json(path)
    again = "export it again (triptych export)"
    if not isinstance(data, dict) or data.get("format") != "triptych-engine":
        raise TriptychError(f'{path}: has no "format": "triptych-engine"; {again}')
    if data.get("version") not in (1, VERSION):
        raise TriptychError(
            f"{path}: has version {data.get('version')!r} and this Triptych reads up to {VERSION}; "
            f"{again}, or remove the file to use the checkpoint without it"
        )
    try:
        found = Exported(
            folder,
            str(data["engine"]),
            str(data["precision"]),
            dict(_graph(folder, entry) for entry in data["graphs"]),
            str(data["made_with"]),
        )
        digest = data["weights"]
    except (KeyError, TypeError, ValueError) as error:
        raise TriptychError(f"{path}: is damaged ({error!r}); {again}") from error
    for file in (graph.file for graph in found.graphs.values()):
        if file.parent != folder or not file.is_file():
            raise TriptychError(f"{path}: names {file.name}, which is not in the folder; {again}")
    if digest != _digest(folder / WEIGHTS):
        raise TriptychError(
            f"{path}: its graphs were made from other weights than {WEIGHTS} holds; {again}"
        )
    return found


def _graph(folder: Path, entry: Mapping[str, Any]) -> tuple[Part, Graph]:
    file = folder / entry["file"]
    if "input" in entry:  # version 1
        width, height = entry["input"]
        return whole((int(width), int(height))), Graph(file, ())
    shapes = {name: tuple(map(int, shape)) for name, shape in entry["inputs"].items()}
    return Part.named(entry["part"], shapes), Graph(file, tuple(map(str, entry["outputs"])))


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TriptychError(f"{path}: cannot be read ({error.strerror})") from error
