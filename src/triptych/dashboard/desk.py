"""Everything that the pages and the API act upon, in one place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych import __version__
from triptych.class_table import ClassTable
from triptych.dashboard.addresses import Policy
from triptych.dashboard.figures import Figures
from triptych.dashboard.live import Live
from triptych.dashboard.recorder import Recorder
from triptych.dashboard.store import Store, default_path
from triptych.dashboard.thresholds import changed
from triptych.dashboard.wire import class_entries
from triptych.readings.settings import ReadingSettings
from triptych.stream.layout import Layout
from triptych.stream.pipeline import Pipeline


@dataclass(frozen=True)
class DeskOptions:
    """What the operator chose."""

    device: str = "cpu"
    """Where the network computes, for show."""
    allow_sources: Policy = "none"
    """Who may be added as a source while the server runs."""
    most_sources: int = 16
    """Sources at a time, those from the command line included."""
    recordings: Path | None = None
    """Gets recordings; None forbids them."""
    state: Path = field(default_factory=default_path)
    """Keeps lines, zones, thresholds and groups of classes."""
    usual: ReadingSettings = field(default_factory=ReadingSettings)
    """The thresholds where none were stored, and what the page goes back to."""


class Desk:
    """Pipeline, pages, recordings and what is stored.

    Args:
        pipeline: started and closed by others.
        options: see there.

    Raises:
        TriptychError: the file of lines and zones is damaged.
    """

    def __init__(self, pipeline: Pipeline, options: DeskOptions) -> None:
        self.pipeline = pipeline
        self.options = options
        self.store = Store(options.state, options.usual)
        self.live = Live(pipeline)
        self.recorder = Recorder(pipeline, options.recordings)
        self.figures = Figures(self.live, self.recorder)
        self._drawing = threading.Lock()
        self._reading = asyncio.Lock()
        self._former: dict[str, dict[str, Any]] = {}

    def greeting(self) -> dict[str, Any]:
        """What a page is told first, and again when the classes change."""
        naming = self.pipeline.naming
        present = naming.classes.names
        return {
            "type": "hello",
            "version": __version__,
            "model": {"name": self.pipeline.network.name, "device": self.options.device},
            "classes": class_entries(naming.classes),
            "countable": naming.countable,
            # Of earlier tables: the history has them still.
            "former_classes": [one for name, one in self._former.items() if name not in present],
            "groups_revision": self.figures.groups_revision,
            "default_readings": self.options.usual.thresholds(),
            "window": self.pipeline.settings.window,
            "can_record": self.options.recordings is not None,
            "can_add": self.options.allow_sources,
        }

    def draw(self, source: str, layout: Layout) -> None:
        """Change the lines and zones of a source, and store them.

        Raises:
            TriptychError: there is no such source, or they cannot be stored; nothing has changed.
        """
        with self._drawing:
            self.pipeline.layout(source)  # raises before anything is stored
            self.store.keep(source, layout)
            self.pipeline.draw(source, layout)
            revisions = self.figures.layout_revisions
            revisions[source] = revisions.get(source, 0) + 1

    async def read_with(self, values: Mapping[str, object]) -> None:
        """Change some of the thresholds, and store them; on the event loop.

        Raises:
            TriptychError: a value is no good, or they cannot be stored; nothing has changed.
        """
        async with self._reading:
            new = changed(self.pipeline.readings, values)
            await asyncio.to_thread(self.store.keep_readings, new)
            self.live.read_with(new)

    def groups(self) -> dict[str, Any]:
        """The groups of classes, as plain data, and the classes that they are made of."""
        naming = self.pipeline.naming
        return {
            "groups": {} if naming.table is None else naming.merged.members(naming.own),
            "network_classes": class_entries(naming.own),
        }

    async def regroup(self, table: ClassTable | None) -> None:
        """Change the classes, or go back to those of the network, and store it; on the event loop.

        Raises:
            TriptychError: the table does not fit, or cannot be stored; nothing has changed.
        """
        async with self._reading:
            if table is not None:
                table.regroup(self.pipeline.network.classes)  # raises before anything is stored
            await asyncio.to_thread(self.store.keep_table, table)
            for one in class_entries(self.pipeline.naming.classes):
                self._former[one["name"]] = one
            self.figures.groups_revision += 1
            self.live.regroup(table)
            self.live.hub.tell(self.greeting())

    def remove(self, source: str) -> None:
        """Let a source go.

        Raises:
            TriptychError: there is none of that name.
        """
        self.recorder.stop(source)
        self.pipeline.remove(source)
        self.figures.forget(source)
