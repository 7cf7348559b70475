"""What can be loaded and what can be built, as a table; without importing torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from triptych.checkpoints.bundled import bundled
from triptych.checkpoints.catalogue import CatalogueEntry, Publication, catalogue
from triptych.errors import TriptychError
from triptych.networks.backbones.registry import BACKBONES
from triptych.networks.models.registry import FAMILIES, UNTRAINED

_UNKNOWN = "-"


def select(
    family: str | None = None, task: str | None = None, data: str | None = None
) -> tuple[CatalogueEntry, ...]:
    """Known checkpoints, all or some.

    Args:
        family: a name in :data:`triptych.networks.models.registry.FAMILIES`.
        task: what they were trained for.
        data: part of a data set's name, in capitals or not.

    Raises:
        TriptychError: there is no such family or data set.
    """
    known = catalogue()
    if family and family not in FAMILIES:
        raise TriptychError(f"no family is called {family!r}; choose from {', '.join(FAMILIES)}")
    if data and not any(data.lower() in entry.data.lower() for entry in known):
        sets = ", ".join(dict.fromkeys(entry.data for entry in known))
        raise TriptychError(f"no checkpoint here is for {data!r}; choose from {sets}")
    return tuple(
        entry
        for entry in known
        if family in (None, entry.family)
        and task in (None, entry.task)
        and (data or "").lower() in entry.data.lower()
    )


def table(entries: Sequence[CatalogueEntry]) -> str:
    """Checkpoints as lines of text, where their figures are from, and what else there is."""
    sources = list(dict.fromkeys(entry.source for entry in entries if entry.source))
    head = ("name", "family", "size", "task", "data", "classes", "params", "score", "source")
    rows = [head, *(_row(entry, sources) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    notes = [
        f"[{number}] {' '.join(filter(None, (source.title, source.url)))}; licence of the weights: "
        f"{source.licence}"
        for number, source in enumerate(sources, 1)
    ]
    return "\n".join([*(lines if entries else ["none"]), "", *notes, *_rest()])


def as_json(entries: Sequence[CatalogueEntry]) -> str:
    """Checkpoints as a JSON list of objects."""
    here = bundled()
    facts = [{**dataclasses.asdict(entry), "bundled": entry.name in here} for entry in entries]
    return json.dumps(facts, indent=1)


def _row(entry: CatalogueEntry, sources: Sequence[Publication]) -> tuple[str, ...]:
    return (
        entry.name,
        entry.family,
        entry.size,
        entry.task,
        entry.data,
        str(entry.classes),
        f"{entry.parameters:.1f} M",
        _UNKNOWN if entry.score is None else f"{entry.metric} {entry.score}",
        f"[{sources.index(entry.source) + 1}]" if entry.source else _UNKNOWN,
    )


def _rest() -> list[str]:
    names = ", ".join(bundled()) or "none"
    return [
        f"Bundled: {names}. The others are fetched from the Hugging Face hub when they are loaded.",
        "--model also takes other hub names of these families, folders and files.",
        f"Families for training: {', '.join(name for name in FAMILIES if name not in UNTRAINED)}",
        f"Backbones: {', '.join(BACKBONES)}",
    ]
