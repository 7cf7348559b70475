"""``triptych eval``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from triptych.commands.console import complain, one_line
from triptych.commands.progress import shown
from triptych.engines.registry import EngineChoice, PrecisionChoice

if TYPE_CHECKING:
    from triptych.data.sets.base import DiskSet
    from triptych.data.sets.report import Collector
    from triptych.evaluation.answers import Answer
    from triptych.evaluation.evaluate import Report
    from triptych.evaluation.paired import Difference
    from triptych.segmenter import Segmenter
    from triptych.truth import Example

AGAINST = 1000
"""Resamplings for a comparison, unless --intervals gives another number."""


@dataclass(frozen=True)
class Eval:
    """Measure mIoU, mask AP and panoptic quality on a data set, from one forward pass an image.

    Figures for which the data have no truth are left out.
    """

    data: Path
    """A folder of a usual layout, or a YAML file that describes one; see docs/data.md."""

    model: str | None = None
    """A bundled checkpoint, the folder of one, or a model of the Hugging Face hub."""

    against: str | None = None
    """Another checkpoint: measured on the same images, with the difference (--model less this one)
    and its 95 % interval by the paired bootstrap."""

    classes: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """With --against: a class to compare by itself, and in a mean of those that are named. May be
    repeated."""

    predictions: Path | None = None
    """Measure the results in this folder in place of a model: those of triptych predict, or of
    another tool; see docs/evaluation.md."""

    regroup: str | None = None
    """Other classes, which the data must then have: the model's own in groups, whose probabilities
    add up, as in "vehicle: car, bus, truck; way: road, pavement", or a YAML file with the same.
    With --against it holds for both. See docs/regroup.md."""

    split: str | None = None
    """Which split. By default the only one, or the one for validation."""

    count: int = 0
    """How many images, spread evenly over the split; 0 takes all."""

    intervals: int = 0
    """Resamplings of the bootstrap over images that gives 95 % intervals, such as 500; 0: none,
    but 1000 with --against."""

    json: Path | None = None
    """Write the figures to this file as well."""

    confusion: Path | None = None
    """Write the confusion matrix to this PNG file."""

    panoptic_threshold: float | None = None
    """Lowest score of a panoptic segment. By default the checkpoint's own, 0.8 for all but a
    few."""

    overlap: float | None = None
    """Lowest ratio of the pixels that a panoptic segment wins to those of its own mask. By default
    the checkpoint's own, 0.8 for all but a few."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1 ..."""

    engine: EngineChoice = "auto"
    """What runs the network; see docs/engines.md. auto is eager, or what the folder was
    exported for."""

    precision: PrecisionChoice = "auto"
    """Arithmetic of the network. auto is fp32, or what the folder was exported with."""

    def run(self) -> int:
        """Measure, and print tables."""
        from rich.console import Console

        from triptych.atomic import atomic_write
        from triptych.class_table import ClassTable
        from triptych.data.sets.open import open_set
        from triptych.data.sets.report import Collector, before_use, summary
        from triptych.errors import TriptychError
        from triptych.evaluation import report as tables
        from triptych.evaluation.evaluate import measure
        from triptych.readings.masks import READINGS
        from triptych.segmenter import load

        if (self.model is None) == (self.predictions is None):
            raise TriptychError("give either --model or --predictions; see triptych eval --help")
        if self.against is not None and self.model is None:
            raise TriptychError("--against compares two models; give --model as well")
        if self.classes and self.against is None:
            raise TriptychError("--classes goes with --against; see triptych eval --help")
        if self.regroup is not None and self.model is None:
            raise TriptychError("--regroup goes with --model; predictions have their classes")
        if self.count < 0 or self.intervals < 0:
            raise TriptychError("--count and --intervals must not be negative")
        table = None if self.regroup is None else ClassTable.parse(self.regroup)
        data = open_set(self.data, self.split)
        for line in before_use(data, "measure"):
            complain(line)

        def loaded(model: str) -> Segmenter:
            found = load(model, self.device, engine=self.engine, precision=self.precision)
            found.require(*READINGS)
            found.readings = found.readings.replace(
                panoptic_threshold=self.panoptic_threshold, overlap=self.overlap
            )
            return found if table is None else found.regroup(table)

        segmenter = None if self.model is None else loaded(self.model)
        found = Collector()
        replicates = self.intervals or (0 if self.against is None else AGAINST)

        def measured(segmenter: Segmenter | None) -> Report:
            return measure(
                self._answered(data, segmenter, found),
                data.classes,
                semantic=data.semantic,
                replicates=replicates,
            )

        differences: list[Difference] = []
        if self.against is not None:
            from triptych.evaluation.paired import compare

            earlier = measured(loaded(self.against))
            found.faults.clear()  # the same images follow
            report = measured(segmenter)
            differences = compare(earlier, report, self.classes)
        else:
            report = measured(segmenter)
        for line in summary(data.title, found.faults):
            complain(line)
        if segmenter is not None:
            self._tell_missing(report, segmenter, data)
        told = report.to_dict()
        if differences:
            told["against"] = {"model": self.against} | {
                d.name: {"first": d.first, "second": d.second, "interval": d.interval}
                for d in differences
            }
        if self.json is not None:
            self._write(self.json, data, segmenter, told)
        if self.confusion is not None:
            if report.confusion is None:
                raise TriptychError("--confusion: the data have no class map to compare with")
            picture = tables.confusion_picture(report.confusion, data.classes.names)
            with atomic_write(self.confusion) as path:
                picture.save(path, "PNG")
        console = Console()
        console.print(tables.by_class(report))
        console.print(tables.summary(report))
        if differences:
            console.print(tables.comparison(differences, str(self.against), str(self.model)))
        print(one_line(f"{data.title}: {report.figures['images']:,.0f} images"))
        return 0

    def _answered(
        self, data: DiskSet, segmenter: Segmenter | None, note: Collector
    ) -> Iterator[tuple[Example, Answer]]:
        """Images with what the model, or the tool, found in them."""
        from triptych.data.spread import spread

        indices = spread(len(data), self.count)
        if segmenter is None:
            from triptych.evaluation.files import open_answers

            assert self.predictions is not None
            found = open_answers(self.predictions, data)
            for index in shown(indices, len(indices), "images"):
                example = data.read(index, note)
                height, width = example.semantic.shape
                yield example, found.answer(index, (height, width))
            return

        from triptych.evaluation.answers import match_classes

        match = match_classes(segmenter.classes, data.classes)
        if match.extra:
            print(
                f"the data do not have {match.extra} of the model's classes: void in what it finds"
            )
        for index in shown(indices, len(indices), "images"):
            example = data.read(index, note)
            masks = segmenter.for_readings(example.image).to("cpu")
            yield example, match.answer(masks, example, semantic=data.semantic)

    def _tell_missing(self, report: Report, segmenter: Segmenter, data: DiskSet) -> None:
        """Name classes that the model does not have, by whether the images show them."""
        from triptych.evaluation.answers import match_classes, some

        unknown = match_classes(segmenter.classes, data.classes).unknown
        absent = [name for name in unknown if not report.occurs(name)]
        missed = [name for name in unknown if report.occurs(name)]
        if missed:
            print(one_line(f"the model cannot find, and gets 0 for: {some(missed)}"))
        if absent:
            print(
                one_line(
                    f"the model does not have, and these images do not show: {some(absent)}; they "
                    "count in no mean"
                )
            )

    def _write(
        self,
        file: Path,
        data: DiskSet,
        segmenter: Segmenter | None,
        report: dict[str, object],
    ) -> None:
        import json

        from triptych.atomic import atomic_write
        from triptych.engines.base import PRECISIONS

        contents = {
            "data": data.title,
            "model": self.model,
            "predictions": None if self.predictions is None else str(self.predictions),
            "engine": segmenter and segmenter.engine.name,
            "precision": segmenter and PRECISIONS[segmenter.autocast],
            "readings": segmenter and segmenter.readings.to_dict(),
            "regroup": segmenter and segmenter.table and segmenter.table.to_list(),
            "classes": list(data.classes.names),
            **report,
        }
        with atomic_write(file) as path:
            path.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
