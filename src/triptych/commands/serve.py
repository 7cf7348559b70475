"""``triptych serve``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import tyro

from triptych.commands.console import one_line
from triptych.engines.registry import EngineChoice, PrecisionChoice


@dataclass(frozen=True)
class Serve:
    """Open a live page on cameras and videos: three panels, counts, health."""

    sources: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SOURCE...", help_behavior_hint="(required)"),
    ]
    """What to look at: an address (rtsp, http ...), a video file, a folder of frames, the index
    of a webcam, or demo. NAME=SOURCE gives it a name."""

    model: str = "street"
    """A bundled checkpoint, or the folder of one."""

    host: str = "127.0.0.1"
    """Address to listen at. Any but this machine's own needs a token."""

    port: int = 8600
    """Port to listen at."""

    token: str | None = None
    """What a page or program has to show; better set as TRIPTYCH_TOKEN, which other users of
    this machine cannot read. Made up and printed where one is needed and none is given."""

    name: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A further name under which the page is reached, such as a reverse proxy's; again for
    another. Needs a token."""

    allow_sources: Literal["none", "public", "any"] = "none"
    """Sources that may be added on the page and over the API: none; public, addresses outside the
    local network; any, local files too."""

    recordings: Path = Path("recordings")
    """Folder for recordings."""

    no_recordings: bool = False
    """Record nothing."""

    state: Path | None = None
    """File that keeps lines, zones, thresholds and groups of classes. By default
    triptych/dashboard.json where the user's programs keep their state."""

    realtime: bool = False
    """Read files and folders at the pace at which they were taken, skipping frames that come too
    fast. By default every frame is read."""

    paused: bool = False
    """Files and folders show their first frame and wait until they are started on the page, so
    that lines and zones can be drawn before anything has passed."""

    rate: float = 25.0
    """Frames a second of a folder."""

    instance_threshold: float | None = None
    """Lowest score of an instance, to begin with. By default what was chosen last on the page, at
    first the checkpoint's own."""

    panoptic_threshold: float | None = None
    """Lowest score of a panoptic segment, to begin with. By default the last one, at first
    the checkpoint's own."""

    overlap: float | None = None
    """Lowest ratio of the pixels that a panoptic segment wins to those of its own mask, to begin
    with. By default the last one, at first the checkpoint's own."""

    regroup: str | None = None
    """Other classes, to begin with: the checkpoint's own in groups, whose probabilities add up, as
    in "vehicle: car, bus, truck; way: road, pavement", or a YAML file with the same. By default
    what was chosen last on the page. See docs/regroup.md."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1 ..."""

    engine: EngineChoice = "auto"
    """What runs the network; see docs/engines.md. auto is eager, or what the folder was
    exported for."""

    precision: PrecisionChoice = "auto"
    """Arithmetic of the network. auto is fp32, or what the folder was exported with."""

    def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C; ends the process."""
        from triptych.class_table import ClassTable
        from triptych.errors import TriptychError

        if not self.sources:
            raise TriptychError("no source given; try triptych serve demo")
        dashboard = load_dashboard()
        names = ("instance_threshold", "panoptic_threshold", "overlap")
        thresholds = {
            name: getattr(self, name) for name in names if getattr(self, name) is not None
        }
        plan = dashboard.Plan(
            sources=self.sources,
            model=self.model,
            host=self.host,
            port=self.port,
            token=self.token,
            names=self.name,
            allow_sources=self.allow_sources,
            recordings=None if self.no_recordings else self.recordings,
            state=self.state,
            realtime=self.realtime or None,
            paused=self.paused,
            rate=self.rate,
            thresholds=thresholds,
            regroup=None if self.regroup is None else ClassTable.parse(self.regroup),
            device=self.device,
            engine=self.engine,
            precision=self.precision,
        )
        dashboard.serve(plan, tell)
        return dashboard.leave()


def load_dashboard() -> ModuleType:
    """The module :mod:`triptych.dashboard.serve`, which needs packages of its own.

    Raises:
        TriptychError: they are not installed.
    """
    from triptych.errors import TriptychError

    try:
        from triptych.dashboard import serve
    except ImportError as error:
        raise TriptychError(
            f"the live page needs {error.name}; pip install '.[dashboard]' in the checkout"
        ) from error
    return serve


def tell(url: str, token: str | None) -> None:
    """Print where the page is, and a token that was made up."""
    print(f"The page: {one_line(url)}", flush=True)
    if token is not None:
        print(f"Its token, shown only now: {token}", flush=True)
