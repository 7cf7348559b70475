"""A bar on stderr while something long goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def shown(items: Iterable[T], total: int | None, unit: str) -> Iterable[T]:
    """Pass items on, and show how far it is where somebody may be watching.

    Args:
        items: taken one by one; the bar moves when the next one is asked for.
        total: how many they are; None where nobody knows.
        unit: what they are, for the rate ("images").
    """
    if not sys.stderr.isatty():
        yield from items
        return

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class Rate(ProgressColumn):
        def render(self, task: Task) -> str:
            return f"{task.speed:.1f} {unit}/s" if task.speed else ""

    columns = (
        MofNCompleteColumn(),
        BarColumn(),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        for item in items:
            yield item
            progress.advance(task)
