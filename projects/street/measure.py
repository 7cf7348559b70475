"""All figures of the card of ``street``, of one checkpoint beside another, on four sets of images.

    python -m projects.street.measure --model runs/street/stage-2/model --against street

- CamVid's test sequence 0001TP (semantic);
- composites of the validation split (semantic, instances, panoptic);
- COCO photographs of val with panoptic truth, in the classes of ``street``;
- COCO photographs of val with outlined objects, likewise.

Every difference has the 95 % interval of the paired bootstrap over images. These images are looked
at for candidates that are to be shipped alone; the card says how often.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.atomic import atomic_write
from triptych.commands.progress import shown
from triptych.data.sets.base import DiskSet
from triptych.data.sets.open import open_set
from triptych.evaluation.answers import match_classes
from triptych.evaluation.evaluate import Report, measure
from triptych.evaluation.paired import Difference, compare
from triptych.segmenter import Segmenter, load

HERE = Path(__file__).resolve().parent
REPLICATES = 1000


@dataclass(frozen=True)
class Part:
    """One set of images, and what the card tells of it."""

    title: str
    source: str
    """A path; ``{data}`` is the folder of the shared data."""
    split: str
    classes: tuple[str, ...]
    """Those whose figures are compared one by one."""


PARTS = (
    Part("CamVid 0001TP", "{data}/camvid", "test", ()),
    Part("composites", "{data}", "val", ("car", "pedestrian", "bicyclist")),
    Part(
        "photographs, panoptic",
        str(HERE / "data" / "coco-panoptic.yaml"),
        "val",
        ("pedestrian", "car", "building", "sky", "tree"),
    ),
    Part("photographs, objects", str(HERE / "data" / "coco.yaml"), "val", ("pedestrian", "car")),
)


def report_on(segmenter: Segmenter, data: DiskSet) -> Report:
    """Measure a checkpoint on all images of a set, by its own settings."""
    match = match_classes(segmenter.classes, data.classes)

    def answered() -> Iterator[Any]:
        for index in shown(range(len(data)), len(data), "images"):
            example = data[index]
            masks = segmenter(example.image).to("cpu")
            yield example, match.answer(masks, example, semantic=data.semantic)

    return measure(answered(), data.classes, semantic=data.semantic, replicates=REPLICATES)


def table(rows: Sequence[Difference]) -> str:
    """Markdown: both figures, their difference and its interval, in percent."""
    lines = ["| figure | before | now | difference | 95 % |", "|---|---|---|---|---|"]
    for row in rows:
        ends = "–" if row.interval is None else " to ".join(f"{100 * e:+.1f}" for e in row.interval)
        cells = [
            row.name,
            _percent(row.first),
            _percent(row.second),
            _percent(row.difference),
            ends,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_class(report: Report) -> str:
    """Markdown: the figures of each class, in percent."""
    kinds = list(report.per_class)
    names = list(next(iter(report.per_class.values())))
    lines = ["| class | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for name in names:
        values = [_percent(report.per_class[kind].get(name, math.nan)) for kind in kinds]
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m projects.street.measure")
    parser.add_argument("--model", required=True, help="the candidate")
    parser.add_argument("--against", default="street", help="what it is compared with")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("out/street.json"))
    given = parser.parse_args(arguments)
    candidate, before = load(given.model, "cpu"), load(given.against, "cpu")
    kept: dict[str, Any] = {"model": given.model, "against": given.against}
    for part in PARTS:
        data = open_set(Path(part.source.format(data=given.data)), part.split)
        first, second = report_on(before, data), report_on(candidate, data)
        found = compare(first, second, part.classes)
        print(f"\n## {part.title}: {len(data)} images\n\n{table(found)}\n\n{by_class(second)}")
        kept[part.title] = {
            "differences": [[d.name, d.first, d.second, d.interval] for d in found],
            "figures": second.to_dict(),
        }
    with atomic_write(given.out) as path:
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
