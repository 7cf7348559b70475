"""All recordings that are under way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.dashboard.recording import Recording
from triptych.errors import TriptychError
from triptych.stream.pipeline import Pipeline


class Recorder:
    """Starts and ends recordings, one a source.

    Args:
        pipeline: what is recorded.
        folder: gets the files; None forbids recording.
    """

    def __init__(self, pipeline: Pipeline, folder: Path | None) -> None:
        self.pipeline = pipeline
        self.folder = folder
        self._recordings: dict[str, Recording] = {}

    def start(self, source: str) -> None:
        """Record a source; nothing happens if that is done already.

        Raises:
            TriptychError: there is no such source, recording is forbidden, or there is no room.
        """
        if self.folder is None:
            raise TriptychError("recording is switched off; see triptych serve --recordings")
        if source not in self.pipeline.names:
            raise TriptychError(f"no source {source!r}")
        running = self._recordings.get(source)
        if running is None or not running.running:
            self._recordings[source] = Recording(self.pipeline, source, self.folder)

    def stop(self, source: str) -> list[str]:
        """End the recording of a source.

        Returns:
            Names of its files; none if it was not recorded.
        """
        recording = self._recordings.pop(source, None)
        if recording is None:
            return []
        recording.close()
        return recording.files

    def state(self, source: str) -> dict[str, Any] | None:
        """How the recording of a source fares; None if there is none."""
        recording = self._recordings.get(source)
        if recording is None:
            return None
        return {
            "running": recording.running,
            "seconds": round(recording.seconds, 1),
            "files": list(recording.files),
            "problem": recording.problem,
        }

    def close(self) -> None:
        """End all of them."""
        for source in list(self._recordings):
            self.stop(source)
