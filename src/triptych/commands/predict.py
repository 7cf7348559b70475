"""``triptych predict``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from triptych.cli import complain, one_line
from triptych.commands.progress import shown
from triptych.engines.registry import EngineChoice, PrecisionChoice
from triptych.errors import TriptychError

if TYPE_CHECKING:
    from triptych.predict import Outcome


@dataclass(frozen=True)
class Predict:
    """Segment images: class map, segments, instances, and a picture of all three."""

    images: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="IMAGE...", help_behavior_hint="(required)"),
    ]
    """Image files; folders, which are searched with all folders below; or patterns."""

    model: str = "street"
    """A bundled checkpoint, a folder, or OWNER/MODEL[@REVISION] on the hub; see triptych models."""

    out: Path = Path("out")
    """Folder for the results. Folders below a searched folder are kept.
    - NAME.semantic.png: class ids.
    - NAME.panoptic.png: segment ids, R + 256 G + 65536 B.
    - NAME.overlay.png: the three readings over the image.
    - NAME.json: classes, segments, instances; it comes last."""

    instance_threshold: float | None = None
    """Lowest score of an instance. By default the checkpoint's own, 0.5 for all but a few."""

    top: int | None = None
    """Most instances in an image. By default the checkpoint's own, 100 for all but a few."""

    panoptic_threshold: float | None = None
    """Lowest score of a panoptic segment. By default the checkpoint's own, 0.8 for all but a
    few."""

    overlap: float | None = None
    """Lowest ratio of the pixels that a panoptic segment wins to those of its own mask. By default
    the checkpoint's own, 0.8 for all but a few."""

    batch_size: int = 1
    """Images that go through the network together, if they are of one size."""

    window: int | None = None
    """Cut large images into windows of this edge, in pixels, that go through the network like
    images; see docs/large-images.md. 1024 is a good start."""

    window_overlap: int | None = None
    """Pixels that neighbouring windows share; by default a quarter of their edge."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1 ..."""

    engine: EngineChoice = "auto"
    """What runs the network; see docs/engines.md. auto is eager, or what the folder was
    exported for."""

    precision: PrecisionChoice = "auto"
    """Arithmetic of the network. auto is fp32, or what the folder was exported with."""

    overwrite: bool = False
    """Do images again whose NAME.json is there already.
    By default they are skipped: the same command finishes an interrupted run."""

    def run(self) -> int:
        """Segment what can be read and name the rest."""
        import warnings

        from triptych.inputs import find_images

        warnings.filterwarnings("ignore", module="PIL")  # damaged files are told of by name
        sources, problems = find_images(self.images)
        for problem in problems:
            complain(problem)
        if not self.images:
            complain("no images given; see triptych predict --help")
        if not sources:
            return 2

        from triptych.predict import predict
        from triptych.reading_settings import THRESHOLDS, ReadingSettings
        from triptych.segmenter import load
        from triptych.windows.layout import Windows

        windows = None
        if self.window is not None:
            overlap = self.window // 4 if self.window_overlap is None else self.window_overlap
            windows = Windows(self.window, overlap)
        elif self.window_overlap is not None:
            raise TriptychError("--window-overlap needs --window; give the edge of a window, too")
        asked = {name: getattr(self, name) for name in THRESHOLDS}
        ReadingSettings().replace(**asked)  # mistakes are told before anything is loaded
        segmenter = load(self.model, self.device, engine=self.engine, precision=self.precision)
        readings = segmenter.readings.replace(**asked)
        began, counts = time.monotonic(), Counter[str]()
        outcomes = predict(
            segmenter,
            sources,
            self.out,
            readings,
            batch_size=self.batch_size,
            windows=windows,
            overwrite=self.overwrite,
        )
        try:
            for outcome in named(shown(outcomes, len(sources), "images")):
                counts[outcome.state] += 1
                counts["changed"] += outcome.state == "skipped" and bool(outcome.note)
        except KeyboardInterrupt:
            complain(f"interrupted; {counts['done']} images done, the same command does the rest")
            return 130
        print(one_line(self._summary(counts, time.monotonic() - began)))
        return 2 if problems or counts["failed"] else 0

    def _summary(self, counts: Counter[str], seconds: float) -> str:
        done = counts["done"]
        parts = [f"{done} image{'s' * (done != 1)} done in {seconds:.1f} s"]
        if counts["skipped"]:
            parts.append(f"{counts['skipped']} skipped that were finished before")
        if counts["changed"]:
            parts.append(
                f"{counts['changed']} of them with another model or settings, or the image is "
                "newer (--overwrite does them again)"
            )
        if counts["failed"]:
            parts.append(f"{counts['failed']} failed")
        return f"{', '.join(parts)}; results in {self.out}"


def named(outcomes: Iterable[Outcome]) -> Iterable[Outcome]:
    """Pass outcomes on and name the failures."""
    for outcome in outcomes:
        if outcome.state == "failed":
            complain(outcome.note)
        yield outcome
