"""Queries that answer for one class, carried over to another table of classes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from triptych.classes import Classes
from triptych.networks.models.registry import builder
from triptych.train.starting import weights_by

Queries = dict[str, list[int | None]]
"""Arguments of :class:`triptych.train.matcher.Matcher`."""

KINDS = ("crowd_query", "own_query")


def carried_queries(
    told: Mapping[str, Any], old: Classes, new: Classes, sources: Sequence[int | None]
) -> Queries:
    """``crowd_query`` and ``own_query`` of a checkpoint, for the classes that it is to learn.

    A class takes over the query of the class that it starts from; new things take crowd queries,
    and new stuff own queries, of classes that are gone. With crowd queries the semantic loss reads
    no others than these two kinds, so then each class must get one, or none is carried over.

    Args:
        told: what the checkpoint was trained with; may lack either.
        old: the classes it knows.
        new: the classes it is to learn.
        sources: for each new class the number of the old one that it starts from.

    Returns:
        One entry for each query of the checkpoint, None where it becomes free; nothing where
        nothing is carried over.
    """
    result: Queries = {}
    for kind in KINDS:
        before = list(told.get(kind, ()))
        if not all(number is None or _known(number, old) for number in before):
            return {}  # not written by us
        of_kind = [i for i, thing in enumerate(new.is_thing) if thing == (kind == "crowd_query")]
        after = [
            next((i for i in of_kind if number is not None and sources[i] == number), None)
            for number in before
        ]
        waiting = [number for number in of_kind if number not in after]
        for place, number in enumerate(after):
            if number is None and waiting:
                after[place] = waiting.pop(0)
        if after:
            result[kind] = after
    given = {number for queries in result.values() for number in queries}
    if "crowd_query" in result and not given.issuperset(range(len(new))):
        return {}
    return result


def behind_new_ones(queries: Queries, new: int) -> Queries:
    """The same queries where ``new`` free ones stand before them."""
    first = next(iter(queries), None)
    free: list[int | None] = [None] * new
    return {kind: free + rows if kind == first else rows for kind, rows in queries.items()}


def query_count(family: str, arguments: Mapping[str, Any]) -> int | None:
    """How many queries a network has; None if it has no queries.

    Args:
        family: of the network.
        arguments: what it is built with.
    """
    parameters = inspect.signature(builder(family)).parameters
    if "queries" not in parameters:
        return None
    number = arguments.get("queries", parameters["queries"].default)
    return number if type(number) is int else None


def query_weights(family: str, arguments: Mapping[str, Any]) -> list[str]:
    """Names of a network's weights that have a row for each query."""
    return weights_by(family, arguments, "queries", query_count(family, arguments) or 0)


def _known(number: Any, classes: Classes) -> bool:
    return type(number) is int and 0 <= number < len(classes)
