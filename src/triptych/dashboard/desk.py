"""Everything that the pages and the API act upon, in one place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych import __version__
from triptych.dashboard.addresses import Policy
from triptych.dashboard.figures import Figures
from triptych.dashboard.live import Live
from triptych.dashboard.recorder import Recorder
from triptych.dashboard.store import Store, default_path
from triptych.dashboard.thresholds import changed
from triptych.dashboard.wire import web_colour
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
    """Keeps lines, zones and thresholds."""
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

    def greeting(self) -> dict[str, Any]:
        """What a page is told once: what stays as it is."""
        classes = self.pipeline.network.classes
        table = zip(classes.names, classes.is_thing, classes.colours, strict=True)
        return {
            "type": "hello",
            "version": __version__,
            "model": {"name": self.pipeline.network.name, "device": self.options.device},
            "classes": [
                {"name": name, "thing": thing, "colour": web_colour(colour)}
                for name, thing, colour in table
            ],
            "countable": self.pipeline.countable,
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

    def remove(self, source: str) -> None:
        """Let a source go.

        Raises:
            TriptychError: there is none of that name.
        """
        self.recorder.stop(source)
        self.pipeline.remove(source)
        self.figures.forget(source)
