"""Lines, zones, thresholds and groups of classes on disk, to be there again after a restart."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from triptych.atomic import atomic_write
from triptych.class_table import ClassTable
from triptych.dashboard.thresholds import changed
from triptych.errors import TriptychError
from triptych.readings.settings import ReadingSettings
from triptych.stream.layout import Layout

FORMAT = "triptych-dashboard"


def default_path() -> Path:
    """Where a user's programs keep their state (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "triptych" / "dashboard.json"


class Store:
    """The layout of every source, the thresholds and the groups, in one JSON file.

    For use from any thread.

    Args:
        path: read now, if it is there.
        usual: the thresholds where none were stored.

    Raises:
        TriptychError: the file is none of ours.
    """

    def __init__(self, path: Path, usual: ReadingSettings | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._layouts, self._readings, self._table = _read(path, usual or ReadingSettings())

    @property
    def readings(self) -> ReadingSettings:
        """The thresholds that were stored; the usual ones if none were."""
        return self._readings

    @property
    def table(self) -> ClassTable | None:
        """The groups of classes that were stored; None if none were."""
        return self._table

    def layout(self, source: str) -> Layout:
        """What was stored for a source; an empty layout if nothing was."""
        return self._layouts.get(source, Layout())

    def keep(self, source: str, layout: Layout) -> None:
        """Store a layout.

        Raises:
            TriptychError: the file cannot be written; it, and what is remembered, are as before.
        """
        with self._lock:
            self._write({**self._layouts, source: layout}, self._readings, self._table)

    def keep_readings(self, readings: ReadingSettings) -> None:
        """Store the thresholds.

        Raises:
            TriptychError: as :meth:`keep`.
        """
        with self._lock:
            self._write(self._layouts, readings, self._table)

    def keep_table(self, table: ClassTable | None) -> None:
        """Store the groups of classes, or that there are none.

        Raises:
            TriptychError: as :meth:`keep`.
        """
        with self._lock:
            self._write(self._layouts, self._readings, table)

    def _write(
        self, layouts: dict[str, Layout], readings: ReadingSettings, table: ClassTable | None
    ) -> None:
        data: dict[str, Any] = {
            "format": FORMAT,
            "version": 1,
            "layouts": {n: one.to_dict() for n, one in layouts.items() if one != Layout()},
            "readings": readings.thresholds(),
        }
        if table is not None:
            data["regroup"] = table.to_list()
        with atomic_write(self.path) as path:
            path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        self._layouts, self._readings, self._table = layouts, readings, table


def _read(
    path: Path, usual: ReadingSettings
) -> tuple[dict[str, Layout], ReadingSettings, ClassTable | None]:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, usual, None
    except (OSError, ValueError) as error:
        raise TriptychError(
            f"{path}: cannot be read ({error}); move it away to begin anew"
        ) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != 1:
        raise TriptychError(
            f"{path}: holds no lines and zones of this program; choose another file"
        )
    try:
        layouts = {name: Layout.from_dict(one) for name, one in data["layouts"].items()}
        table = ClassTable.from_list(data["regroup"]) if "regroup" in data else None
        return layouts, changed(usual, data.get("readings", {})), table
    except (KeyError, AttributeError, TypeError, TriptychError) as error:
        raise TriptychError(f"{path}: is damaged ({error}); move it away to begin anew") from error
