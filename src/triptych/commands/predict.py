"""``triptych predict``."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from triptych.commands.console import complain, one_line
from triptych.commands.progress import shown
from triptych.engines.registry import EngineChoice, PrecisionChoice
from triptych.errors import TriptychError

if TYPE_CHECKING:
    from triptych.image.find import ImageFile
    from triptych.predict.run import ImageResult
    from triptych.readings.settings import ReadingSettings
    from triptych.segmenter import Segmenter


@dataclass(frozen=True)
class Predict:
    """Segment images and videos: class map, segments, instances, and a picture of all three."""

    images: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="IMAGE...", help_behavior_hint="(required)"),
    ]
    """Image files; folders, which are searched with all folders below; patterns; or videos."""

    model: str = "street"
    """A bundled checkpoint, a folder, or OWNER/MODEL[@REVISION] on the hub; see triptych models."""

    out: Path = Path("out")
    """Folder for the results. Folders below a searched folder are kept.
    - NAME.semantic.png: class ids.
    - NAME.panoptic.png: segment ids, R + 256 G + 65536 B.
    - NAME.overlay.png: the three readings over the image.
    - NAME.json: classes, segments, instances; it comes last.
    Of a video: NAME.overlay.mp4, a line of JSON for each frame in NAME.jsonl, and NAME.json.
    docs/results.md lists all fields."""

    regroup: str | None = None
    """Other classes: the checkpoint's own in groups, whose probabilities add up, as in "vehicle:
    car, bus, truck; way: road, pavement", or a YAML file with the same; what no group lists is no
    object. See docs/regroup.md."""

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

        from triptych.image.find import find_images, is_video

        warnings.filterwarnings("ignore", module="PIL")  # damaged files are told of by name
        sources, problems = find_images(self.images)
        for problem in problems:
            complain(problem)
        if not self.images:
            complain("no images given; see triptych predict --help")
        if not sources:
            return 2

        from triptych.class_table import ClassTable
        from triptych.predict.run import predict
        from triptych.readings.settings import THRESHOLDS, ReadingSettings
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
        table = None if self.regroup is None else ClassTable.parse(self.regroup)
        segmenter = load(self.model, self.device, engine=self.engine, precision=self.precision)
        segmenter = segmenter if table is None else segmenter.regroup(table)
        readings = segmenter.readings.replace(**asked)
        images = [source for source in sources if not is_video(source.path)]
        films = [source for source in sources if is_video(source.path)]
        began, tally = time.monotonic(), _Tally()
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "windows": windows,
            "overwrite": self.overwrite,
        }
        try:
            if images:
                outcomes = predict(segmenter, images, self.out, readings, **options)
                for outcome in named(shown(outcomes, len(images), "images")):
                    tally.add(outcome)
            for film in films:
                for outcome in named([_film(segmenter, film, self.out, readings, options)]):
                    tally.add(outcome, film=True)
        except KeyboardInterrupt:
            complain(f"interrupted; {tally.told_done()}, the same command does the rest")
            return 130
        threshold = readings.instance_threshold
        for line in tally.lines(self.out, time.monotonic() - began, threshold):
            print(one_line(line))
        return 2 if problems or tally.failed else 0


def _film(
    segmenter: Segmenter,
    source: ImageFile,
    out: Path,
    readings: ReadingSettings,
    options: Mapping[str, Any],
) -> ImageResult:
    from triptych.predict.films import FilmRun

    run = FilmRun(segmenter, source, out, readings, **options)
    with contextlib.closing(run.frames()) as frames:
        for _ in shown(frames, run.count, "frames"):
            pass
    assert run.outcome is not None
    return run.outcome


class _Tally:
    """What became of the sources, and what was found in them."""

    def __init__(self) -> None:
        self._done = Counter[str]()
        self._skipped = self._changed = self.failed = 0
        self._objects = Counter[str]()
        self._in_films: list[tuple[Path, Mapping[str, int]]] = []

    def add(self, outcome: ImageResult, film: bool = False) -> None:
        self._done["video" if film else "image"] += outcome.state == "done"
        self._skipped += outcome.state == "skipped"
        self._changed += outcome.state == "skipped" and bool(outcome.note)
        self.failed += outcome.state == "failed"
        if film and outcome.state == "done":
            self._in_films.append((outcome.source.path, outcome.objects))
        elif outcome.state == "done":
            self._objects.update(outcome.objects)

    def told_done(self) -> str:
        done = self._done
        counts = {kind: done[kind] for kind in ("image", "video") if done[kind]} or {"image": 0}
        return " and ".join(f"{n} {kind}{'s' * (n != 1)} done" for kind, n in counts.items())

    def lines(self, out: Path, seconds: float, threshold: float) -> Iterator[str]:
        """What is printed in the end."""
        none = f"no object with a score of {threshold:g} (--instance-threshold)"
        for path, objects in self._in_films:
            yield f"{path}: {_listed(objects) or none}{' at most at a time' * bool(objects)}"
        parts = [f"{self.told_done()} in {seconds:.1f} s"]
        if self._skipped:
            parts.append(f"{self._skipped} skipped that were finished before")
        if self._changed:
            parts.append(
                f"{self._changed} of them with another model or settings, or the image is "
                "newer (--overwrite does them again)"
            )
        if self.failed:
            parts.append(f"{self.failed} failed")
        found = f": {_listed(self._objects) or none}" if self._done["image"] else ""
        yield f"{', '.join(parts)}{found}; results in {out}"


def _listed(objects: Mapping[str, int]) -> str:
    """5 car, 2 person: the most frequent first, of equal ones by name."""
    ranked = sorted(objects.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{count} {name}" for name, count in ranked)


def named(outcomes: Iterable[ImageResult]) -> Iterable[ImageResult]:
    """Pass outcomes on and name the failures."""
    for outcome in outcomes:
        if outcome.state == "failed":
            complain(outcome.note)
        yield outcome
