"""Measure a model: mIoU, mask AP and panoptic quality from one forward pass an image."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from triptych.data.camvid import CLASSES
from triptych.errors import TriptychError
from triptych.files import atomic_write
from triptych.metrics.instance import MaskAP
from triptych.metrics.panoptic import PanopticQuality
from triptych.metrics.semantic import IGNORE, ConfusionMatrix
from triptych.metrics.truth import Example
from triptych.segmenter import Segmenter, load
from triptych.train.examples import street_examples


@dataclass(frozen=True)
class Report:
    """What was measured on a set of images."""

    figures: dict[str, float]
    """``miou``, ``pixel_accuracy``, ``images``; with panoptic truth also ``pq``, ``sq``, ``rq``,
    ``pq_things``, ``pq_stuff``, ``ap``, ``ap50`` and the rest of the twelve. nan: undefined."""
    per_class: dict[str, dict[str, float]]
    """``iou`` and, with panoptic truth, ``pq`` and ``ap``: each by class name."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no nan: undefined figures become None."""
        return {
            "figures": _plain(self.figures),
            "per_class": {name: _plain(by_class) for name, by_class in self.per_class.items()},
        }


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def evaluate(
    segmenter: Segmenter,
    examples: Iterable[Example],
    *,
    threshold: float = 0.8,
    overlap: float = 0.8,
) -> Report:
    """Run ``segmenter`` once over each image and take all the figures from that.

    Args:
        segmenter: its classes are those of the truth.
        examples: read one at a time.
        threshold: of the panoptic reading; see ``MaskSet.panoptic``.
        overlap: likewise.

    Raises:
        TriptychError: there is no image, or truth and prediction do not fit together.
    """
    classes = segmenter.classes
    semantic = ConfusionMatrix(len(classes), ignore=IGNORE)
    instance, panoptic = MaskAP(classes), PanopticQuality(classes)
    images = 0
    with_panoptic = False
    for example in examples:
        images += 1
        masks = segmenter(example.image).to("cpu")
        semantic.update(masks.semantic().ids, example.semantic)
        if example.panoptic is not None:
            with_panoptic = True
            panoptic.update(masks.panoptic(threshold, overlap), example.panoptic)
            # Average precision ranks by score itself; a threshold would only cut off recall.
            found = masks.instances(threshold=0.0)
            instance.update(found, example.panoptic.instances(classes.thing_ids))
    if not images:
        raise TriptychError("no image to evaluate on; give a folder or split that has some")

    figures = {"miou": semantic.miou, "pixel_accuracy": semantic.pixel_accuracy}
    per_class = {"iou": _by_name(classes.names, semantic.iou().tolist())}
    if with_panoptic:
        overall = panoptic.overall()
        figures |= {"pq": overall.pq, "sq": overall.sq, "rq": overall.rq}
        figures |= {"pq_things": panoptic.things().pq, "pq_stuff": panoptic.stuff().pq}
        per_class["pq"] = _by_name(classes.names, [q.pq for q in panoptic.per_class()])
        precision = asdict(instance.compute())
        per_class["ap"] = _by_name(classes.names, precision.pop("per_class"))
        figures |= precision
    return Report(figures | {"images": float(images)}, per_class)


def _by_name(names: Iterable[str], values: Iterable[float]) -> dict[str, float]:
    return dict(zip(names, values, strict=True))


def evaluate_street(
    segmenter: Segmenter,
    root: str | Path,
    *,
    split: str = "test",
    composite_split: str = "val",
    frames: int = 0,
    composites: int = 101,
    threshold: float = 0.8,
    overlap: float = 0.8,
    progress: bool = False,
) -> dict[str, Report]:
    """Measure a model of CamVid's eleven classes: mIoU on its frames, PQ and AP on composites.

    CamVid's labels do not tell touching objects apart, so PQ and AP are taken on composites:
    objects of COCO's val split, whose masks are exact, pasted into CamVid frames.

    Args:
        segmenter: its classes are those of the model ``street``, in that order.
        root: folder that holds ``camvid/`` and ``coco/``.
        split: of CamVid, for mIoU.
        composite_split: of CamVid, for the composites.
        frames: how many frames, spread evenly over the split; 0 takes all.
        composites: how many composites, likewise; 0 leaves them out.
        threshold: of the panoptic reading.
        overlap: likewise.
        progress: show a bar on stderr.

    Returns:
        ``"frames"`` and, unless left out, ``"composites"``.

    Raises:
        TriptychError: data are missing or broken, or the model has other classes.
    """
    if segmenter.classes.names != CLASSES.names:
        raise TriptychError(
            f"model {segmenter.name!r} has the classes {', '.join(segmenter.classes.names)}; the "
            f"data have {', '.join(CLASSES.names)}"
        )
    sets = {"frames": street_examples(root, split=split, frames=frames)[""]}
    if composites:
        made = street_examples(root, split=composite_split, composites=composites)
        sets["composites"] = made["composite"]
    reports = {}
    for name, examples in sets.items():
        shown: Iterable[Example] = examples
        if progress:
            shown = track(shown, name, console=Console(stderr=True), transient=True)
        reports[name] = evaluate(segmenter, shown, threshold=threshold, overlap=overlap)
    return reports


def table(reports: Mapping[str, Report]) -> Table:
    """The figures by class and their means, in percent."""
    grid = Table("class")
    columns: list[tuple[float, dict[str, float]]] = []
    for name, report in reports.items():
        for figure, mean in (("iou", "miou"), ("pq", "pq"), ("ap", "ap")):
            if figure in report.per_class:
                grid.add_column(f"{figure.upper()}\n{name}", justify="right")
                columns.append((report.figures[mean], report.per_class[figure]))
    for name in columns[0][1]:
        grid.add_row(name, *(_percent(by_class[name]) for _, by_class in columns))
    grid.add_section()
    grid.add_row("mean", *(_percent(mean) for mean, _ in columns))
    return grid


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


@dataclass(frozen=True)
class Settings:
    """Measure a model on street scenes: mIoU on CamVid, PQ and mask AP on composites."""

    data: Path
    """Folder that holds camvid/ and coco/."""
    model: str = "street"
    """A bundled checkpoint, or the folder of one."""
    split: str = "test"
    """Split of CamVid for mIoU: train, val or test."""
    composite_split: str = "val"
    """Split of CamVid for the composites."""
    frames: int = 0
    """How many frames, spread evenly over the split; 0 takes all."""
    composites: int = 101
    """How many composites, likewise; 0 leaves them out."""
    threshold: float = 0.8
    """Lowest score of a panoptic segment."""
    overlap: float = 0.8
    """Share of its own mask that a panoptic segment must keep against the others."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1 ..."""
    json: Path | None = None
    """Write the figures to this file as well."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as the command line says, print a table, and return the exit code."""
    settings = tyro.cli(Settings, prog="python -m triptych.train.evaluate", args=arguments)
    options = asdict(settings)
    data, model, device, file = (options.pop(n) for n in ("data", "model", "device", "json"))
    try:
        reports = evaluate_street(
            load(model, device), data, progress=sys.stderr.isatty(), **options
        )
        if file is not None:
            contents = {"model": model, **options}
            contents |= {name: report.to_dict() for name, report in reports.items()}
            with atomic_write(file) as path:
                path.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
    except TriptychError as error:
        print(f"triptych: {error}", file=sys.stderr)
        return 2
    Console().print(table(reports))
    for name, report in reports.items():
        figures = ", ".join(f"{key} {value:.4g}" for key, value in report.figures.items())
        print(f"{name}: {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
