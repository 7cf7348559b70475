"""Which thresholds? Panoptic quality of a checkpoint over the score and the overlap it asks for.

    python -m experiments.thresholds --model street --data projects/street/data/coco-panoptic.yaml

Every image goes through the network once and is read at each pair of thresholds. Choose them on
validation data, never on the images that the figures in a card are of.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.driver import RESULTS, table
from experiments.plot import Line, draw
from triptych.atomic import atomic_write
from triptych.classes import Classes
from triptych.data.sets.open import open_set
from triptych.data.spread import spread
from triptych.errors import TriptychError
from triptych.evaluation.answers import match_classes
from triptych.metrics.panoptic import PanopticQuality
from triptych.segmenter import Segmenter, load
from triptych.truth import Example

SCORES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OVERLAPS = (0.5, 0.8)
PARTS = ("pq", "pq_things", "pq_stuff")

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, keep figures and drawing."""
    parser = argparse.ArgumentParser(prog="python -m experiments.thresholds")
    parser.add_argument("--model", default="street")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--count", type=int, default=0, help="images, evenly spread; 0: all")
    parser.add_argument("--scores", type=float, nargs="+", default=list(SCORES))
    parser.add_argument("--overlaps", type=float, nargs="+", default=list(OVERLAPS))
    parser.add_argument("--results", type=Path, default=RESULTS / "thresholds.json")
    given = parser.parse_args(arguments)
    data, segmenter = open_set(given.data, given.split), load(given.model)
    if not data.panoptic:
        raise TriptychError(f"{data.title} has no panoptic truth; choose data that have")
    images = (data[index] for index in spread(len(data), given.count))
    rows = curve(segmenter, images, data.classes, given.scores, given.overlaps)
    report = report_of(rows)
    print(report)
    kept = {"model": given.model, "data": data.title, "rows": rows}
    given.results.parent.mkdir(parents=True, exist_ok=True)
    files = {
        given.results: json.dumps(kept, indent=1) + "\n",
        given.results.with_suffix(".md"): report + "\n",
        given.results.with_suffix(".svg"): drawing(rows),
    }
    for file, text in files.items():
        with atomic_write(file) as path:
            path.write_text(text, encoding="utf-8")


def curve(
    segmenter: Segmenter,
    images: Iterable[Example],
    classes: Classes,
    scores: Sequence[float],
    overlaps: Sequence[float],
) -> list[Row]:
    """Panoptic quality at each pair of thresholds, from one forward pass an image.

    Args:
        segmenter: gives the masks.
        images: with panoptic truth.
        classes: of the truth.
        scores: lowest scores of a segment.
        overlaps: lowest ratios of what a segment wins to its own mask.

    Returns:
        ``score``, ``overlap``, ``pq``, ``pq_things``, ``pq_stuff`` of each pair.
    """
    match = match_classes(segmenter.classes, classes)
    pairs = [(score, overlap) for overlap in overlaps for score in scores]
    counted = {pair: PanopticQuality(classes) for pair in pairs}
    for example in images:
        assert example.panoptic is not None
        masks = segmenter(example.image).to("cpu")
        for (score, overlap), quality in counted.items():
            found = masks.panoptic(threshold=score, overlap=overlap)
            quality.update(match.panoptic(found), example.panoptic)
    return [
        {
            "score": score,
            "overlap": overlap,
            "pq": quality.overall().pq,
            "pq_things": quality.things().pq,
            "pq_stuff": quality.stuff().pq,
        }
        for (score, overlap), quality in counted.items()
    ]


def report_of(rows: Sequence[Row]) -> str:
    """A table: a line a score, three columns an overlap, in percent."""
    overlaps = list(dict.fromkeys(row["overlap"] for row in rows))
    head = ["score", *(f"{_title(part)}, overlap {o:g}" for o in overlaps for part in PARTS)]
    lines = []
    for score in dict.fromkeys(row["score"] for row in rows):
        by_overlap = {row["overlap"]: row for row in rows if row["score"] == score}
        cells = [_percent(by_overlap[o][part]) for o in overlaps for part in PARTS]
        lines.append([f"{score:g}", *cells])
    return table(head, lines)


def drawing(rows: Sequence[Row]) -> str:
    """PQ of all, things and stuff against the score, at the first overlap."""
    first = [row for row in rows if row["overlap"] == rows[0]["overlap"]]
    scores = [row["score"] for row in first]
    known = [part for part in PARTS if not any(math.isnan(row[part]) for row in first)]
    lines = [
        Line(_title(part), scores, [100 * row[part] for row in first], [math.nan] * len(scores))
        for part in known
    ]
    title = f"Panoptic quality (%), overlap {first[0]['overlap']:g}"
    return draw(title, "lowest score of a segment", lines, scores)


def _title(part: str) -> str:
    return part.replace("_", " of ").replace("pq", "PQ")


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
