"""``triptych demo``."""

from __future__ import annotations

import math
import os
import sys
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from triptych.commands.console import one_line
from triptych.commands.serve import load_dashboard, tell


@dataclass(frozen=True)
class Demo:
    """Open the live page on a real street, which a package brings along."""

    model: str = "street"
    """A bundled checkpoint, a folder, or OWNER/MODEL on the hub; see triptych models."""

    port: int = 8600
    """Port of the page, which only this machine can reach."""

    no_open: bool = False
    """Do not open a browser. None is opened either where there is no display."""

    frames: int | None = None
    """End with success after so many frames; otherwise Ctrl-C ends it."""

    pictures: bool = False
    """No page: segment three frames, and put one picture of all into --out."""

    out: Path = Path("out/demo")
    """Folder for the recordings of the page, or the pictures."""

    def run(self) -> int:
        """Show the page until Ctrl-C, or make the pictures and say where they are."""
        from triptych.errors import TriptychError

        if self.pictures:
            from triptych.commands.pictures import run_demo

            print(f"The picture: {one_line(str(run_demo(self.out, self.model).absolute()))}")
            return 0
        if self.frames is not None and self.frames < 1:
            raise TriptychError(f"frames is {self.frames}; ask for at least one")
        dashboard = load_dashboard()
        plan = dashboard.Plan(
            sources=("demo",),
            model=self.model,
            port=self.port,
            recordings=self.out,
            frames=self.frames or math.inf,
        )
        dashboard.serve(plan, self._show)
        return dashboard.leave()

    def _show(self, url: str, token: str | None) -> None:
        tell(url, token)
        if self.frames is None:
            print("Ctrl-C ends it.", flush=True)
        if not self.no_open and has_display(sys.platform, os.environ):
            webbrowser.open(url)


def has_display(platform: str, environment: Mapping[str, str]) -> bool:
    """Whether a browser that is opened here can be seen.

    Without a display, Python would open a browser in the terminal where there is one.
    """
    if platform in ("darwin", "win32"):
        return "SSH_CONNECTION" not in environment
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
