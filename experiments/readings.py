"""One mask set, three readings: what differs between them, in numbers, for one street picture.

    python -m experiments.readings [--image PHOTO] [--model street] [--thresholds 0.3 0.5 0.7 0.9]

By default the picture is a frame of the clip that comes with the extra ``demo``. Everything is read
from one forward pass, through the public interface.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import triptych
from experiments.driver import RESULTS, table
from triptych.atomic import atomic_write
from triptych.image.preprocess import load_image
from triptych.mask_set import MaskSet
from triptych.stream.samples import frames_at, street_clip

SECOND = 4.5
"""Of the clip: cars, bicycles and people are in sight."""

SAME = 0.5
"""IoU from which on an instance and a segment are the same object."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the picture, print the tables, keep figures and panels."""
    parser = argparse.ArgumentParser(prog="python -m experiments.readings")
    parser.add_argument("--image", type=Path, help="a photo in place of the packaged frame")
    parser.add_argument("--model", default="street")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.3, 0.5, 0.8, 0.9, 0.95])
    parser.add_argument("--results", type=Path, default=RESULTS / "readings.json")
    given = parser.parse_args(arguments)
    photo = load_image(given.image or frames_at(street_clip(), [SECOND])[0])
    masks = triptych.load(given.model)(photo).to("cpu")
    figures = compare(masks, given.thresholds)
    print(report(figures))
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(given.results) as path:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    with atomic_write(given.results.with_suffix(".md")) as path:
        path.write_text(report(figures) + "\n", encoding="utf-8")
    with atomic_write(given.results.with_suffix(".jpg")) as path:
        masks.overlay(photo).save(path, "JPEG", quality=88)


def compare(masks: MaskSet, thresholds: Sequence[float]) -> dict[str, Any]:
    """What the three readings of a mask set say differently, for thresholds of the panoptic one."""
    classes = masks.classes
    semantic = masks.semantic().ids
    instances = masks.instances()
    height, width = semantic.shape
    covered = sum(
        (one.mask.int() for one in instances), torch.zeros(height, width, dtype=torch.int)
    )
    things = torch.isin(semantic, torch.tensor(classes.thing_ids))
    figures: dict[str, Any] = {
        "size": [height, width],
        "queries": len(masks),
        "semantic": {
            "classes": [classes.names[k] for k in semantic.unique().tolist()],
            "thing pixels": share(things),
        },
        "instances": {
            "objects": dict(Counter(one.name for one in instances)),
            "pixels in one": share(covered == 1),
            "pixels in several": share(covered > 1),
            "pixels in none": share(covered == 0),
            "thing pixels in none": share(things & (covered == 0)),
            "stuff pixels in one or more": share(~things & (covered > 0)),
        },
        "each": fates(masks),
        "panoptic": [at_threshold(masks, semantic, threshold) for threshold in thresholds],
    }
    return figures


def at_threshold(masks: MaskSet, semantic: Tensor, threshold: float) -> dict[str, Any]:
    """The panoptic map against the class map and the instances."""
    panoptic = masks.panoptic(threshold)
    of = torch.full((len(panoptic.segments) + 1,), -1)
    for segment in panoptic.segments:
        of[segment.id] = segment.class_id
    # Ids run from 1 to the number of segments: each pixel has one, or is void.
    classes = of[panoptic.ids.long()]
    void = panoptic.ids == 0
    changed = ~void & (classes != semantic)
    changes = Counter(
        (masks.classes.names[a], masks.classes.names[b])
        for a, b in torch.stack([semantic[changed], classes[changed]], 1).tolist()
    )
    instances = masks.instances()
    objects = [segment for segment in panoptic.segments if segment.is_thing]
    kept, lost = 0, Counter[str]()
    matched: set[int] = set()
    for one in instances:
        overlaps = {s.id: overlap(one.mask, panoptic.ids == s.id) for s in objects}
        best = max(overlaps, key=lambda number: overlaps[number], default=0)
        if best and overlaps[best] >= SAME and best not in matched:
            matched.add(best)
            kept += 1
        else:
            lost[one.name] += 1
    new = Counter(s.name for s in objects if s.id not in matched)
    return {
        "threshold": threshold,
        "segments": len(panoptic.segments),
        "objects": len(objects),
        "void": share(void),
        "class changes": share(changed),
        "changes": [{"from": a, "to": b, "pixels": n} for (a, b), n in changes.most_common(5)],
        "instances kept": kept,
        "instances gone": dict(lost),
        "objects that are no instance": dict(new),
        "partition": sum(s.area for s in panoptic.segments) + int(void.sum()) == void.numel(),
    }


def fates(masks: MaskSet) -> list[dict[str, Any]]:
    """Where the pixels of each instance go in the panoptic map, in per cent of them."""
    panoptic = masks.panoptic()
    rows = []
    for one in masks.instances():
        counts = torch.bincount(panoptic.ids[one.mask].long(), minlength=1)
        shares = (100 * counts / counts.sum()).tolist()
        parts = {s.id: s for s in panoptic.segments if s.id < len(shares)}
        goes = {
            "own class": sum(shares[n] for n, s in parts.items() if s.class_id == one.class_id),
            "other objects": sum(
                shares[n] for n, s in parts.items() if s.is_thing and s.class_id != one.class_id
            ),
            "stuff": sum(shares[n] for n, s in parts.items() if not s.is_thing),
            "void": shares[0],
        }
        rows.append(
            {
                "class": one.name,
                "score": round(one.score, 3),
                "box": [round(edge) for edge in one.box],
                "pixels": int(one.mask.sum()),
                **{name: round(value, 1) for name, value in goes.items()},
            }
        )
    return rows


def overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum()) / max(float((one | other).sum()), 1.0)


def share(pixels: Tensor) -> float:
    """Per cent of the image."""
    return round(100 * float(pixels.float().mean()), 3)


def report(figures: dict[str, Any]) -> str:
    """Tables in Markdown."""
    instances = figures["instances"]
    first = table(
        ["of the picture, %", ""],
        [[name, f"{value:g}"] for name, value in instances.items() if name != "objects"],
    )
    rows = [
        [
            f"{one['threshold']:g}",
            str(one["segments"]),
            str(one["objects"]),
            f"{one['void']:.2f}",
            f"{one['class changes']:.2f}",
            str(one["instances kept"]),
            named(one["instances gone"]),
            named(one["objects that are no instance"]),
        ]
        for one in figures["panoptic"]
    ]
    head = [
        "threshold",
        "segments",
        "objects",
        "void, %",
        "other class than semantic, %",
        "instances kept",
        "gone",
        "new",
    ]
    found = named(instances["objects"])
    each = [[str(value) for value in one.values()] for one in figures["each"]]
    second = table(list(figures["each"][0]), each) if each else ""
    middle = figures["panoptic"][len(rows) // 2]
    third = table(
        ["semantic", f"panoptic ({middle['threshold']:g})", "pixels"],
        [[one["from"], one["to"], str(one["pixels"])] for one in middle["changes"]],
    )
    tables = "\n\n".join((first, second, table(head, rows), third))
    return f"instances (threshold 0.5): {found}\n\n{tables}"


def named(counts: dict[str, int]) -> str:
    """``2 car, 1 pedestrian``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


if __name__ == "__main__":
    main(sys.argv[1:])
