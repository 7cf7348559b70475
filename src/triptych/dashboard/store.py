"""Lines and zones on disk, so that they are there again after a restart."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from triptych.errors import TriptychError
from triptych.files import atomic_write
from triptych.stream.layout import Layout

FORMAT = "triptych-dashboard"


def default_path() -> Path:
    """Where a user's programs keep their state (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "triptych" / "dashboard.json"


class Store:
    """The layout of every source, in one JSON file. For use from any thread.

    Args:
        path: read now, if it is there.

    Raises:
        TriptychError: the file is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._layouts = _read(path)

    def layout(self, source: str) -> Layout:
        """What was stored for a source; an empty layout if nothing was."""
        return self._layouts.get(source, Layout())

    def keep(self, source: str, layout: Layout) -> None:
        """Store a layout.

        Raises:
            TriptychError: the file cannot be written; it, and what is remembered, are as before.
        """
        with self._lock:
            layouts = {**self._layouts, source: layout}
            found = {name: one.to_dict() for name, one in layouts.items() if one != Layout()}
            data = {"format": FORMAT, "version": 1, "layouts": found}
            with atomic_write(self.path) as path:
                path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
            self._layouts = layouts


def _read(path: Path) -> dict[str, Layout]:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TriptychError(
            f"{path}: cannot be read ({error}); move it away to begin anew"
        ) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != 1:
        raise TriptychError(
            f"{path}: holds no lines and zones of this program; choose another file"
        )
    try:
        return {name: Layout.from_dict(one) for name, one in data["layouts"].items()}
    except (KeyError, AttributeError, TriptychError) as error:
        raise TriptychError(f"{path}: is damaged ({error}); move it away to begin anew") from error
