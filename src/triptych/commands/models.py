"""``triptych models``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Models:
    """List what can be loaded and what can be trained."""

    family: str | None = None
    """Only this family, such as mask2former."""

    task: Literal["semantic", "instance", "panoptic"] | None = None
    """Only what was trained for this."""

    data: str | None = None
    """Only what was trained on this data set, such as coco."""

    json: bool = False
    """Print a JSON list of all facts instead of a table."""

    def run(self) -> int:
        """Print a table, or JSON."""
        from triptych.checkpoints.listing import as_json, select, table

        entries = select(self.family, self.task, self.data)
        print(as_json(entries) if self.json else table(entries))
        return 0
