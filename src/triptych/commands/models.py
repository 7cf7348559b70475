"""``triptych models``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Models:
    """List what can be loaded and what can be trained."""

    def run(self) -> int:
        """Print a table."""
        from triptych.listing import models

        print(models())
        return 0
