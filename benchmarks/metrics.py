"""Time of the metrics alone, beside the reference tools, on the same masks.

    python benchmarks/metrics.py [--images 40] [--repeats 5] [--again 10]

Masks are made up (discs of random size; detections are shifted copies, 100 an image), since the
time depends on their number and size only. Mask AP is timed on sets of two sizes, since hotcoco
takes 40 ms once for each set: the images, and the same ten times, which is a usual size of a set.
Each repeat times ours and the reference one after the other, in processor time of one thread,
which other work on the machine disturbs least; the table shows medians, and the median of the
ratios. The reference tools come with the extra ``test``. Figures are compared before times are
told.
"""

from __future__ import annotations

import os

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # hotcoco's threads: one, as the others have

import argparse
import contextlib
import functools
import io
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from triptych.classes import Classes
from triptych.metrics.instance import MaskAP
from triptych.metrics.panoptic import PanopticQuality
from triptych.metrics.semantic import ConfusionMatrix
from triptych.readings.instance import Instance
from triptych.readings.panoptic import PanopticMap, Segment
from triptych.truth import PanopticTruth, TrueInstance, TrueSegment

THINGS, KINDS = 80, 133  # as in COCO
NAMES = [f"class {i}" for i in range(KINDS)]
CLASSES = Classes.of(NAMES, things=NAMES[:THINGS])
HEIGHT, WIDTH, OBJECTS, DETECTIONS = 480, 640, 12, 100


def disc(random: np.random.Generator, shift: float = 0, at: Any = None) -> Any:
    """A disc as (mask, (row, column, radius)); shifted from ``at``."""
    row, column, radius = at or (
        random.uniform(0, HEIGHT),
        random.uniform(0, WIDTH),
        random.uniform(8, 90),
    )
    row, column = row + random.normal(0, shift * radius), column + random.normal(0, shift * radius)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2, (row, column, radius)


def around(mask: Any) -> tuple[float, float, float, float]:
    """The box of a mask, which every reading of instances gives with it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return 0, 0, 0, 0
    return float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0


def instance_cases(count: int) -> list[tuple[list[Instance], list[TrueInstance]]]:
    cases = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        truth, found = [], []
        places = []
        for _ in range(OBJECTS):
            mask, place = disc(random)
            class_id = int(random.integers(THINGS))
            if mask.any():
                truth.append(TrueInstance(mask, class_id, box=around(mask)))
                places.append((place, class_id))
        for number in range(DETECTIONS):
            place, class_id = places[number % len(places)]
            mask, _ = disc(random, 0.2, place)
            score = float(random.random())
            name = CLASSES.names[class_id]
            found.append(Instance(torch.from_numpy(mask), class_id, name, score, around(mask)))
        cases.append((found, truth))
    return cases


def our_ap(cases: list[Any]) -> float:
    metric = MaskAP(CLASSES)
    for found, truth in cases:
        metric.update(found, truth)
    return metric.compute().ap


def our_ap_encoded(cases: Encoded) -> float:
    metric = MaskAP(CLASSES)
    for image in cases:
        metric.count(*image)
    return metric.compute().ap


Encoded = list[tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]]
"""Of each image its size, annotations and results, as in COCO's files."""


def encoded(cases: list[Any]) -> Encoded:
    """What pycocotools takes, with its own run lengths."""
    from pycocotools import mask as rle

    images: Encoded = []
    number_of_all = 0
    for number, (found, truth) in enumerate(cases, start=1):
        annotations, results = [], []
        for true in truth:
            code = rle.encode(np.asfortranarray(true.mask, np.uint8))
            number_of_all += 1
            annotations.append(
                {
                    "id": number_of_all,
                    "image_id": number,
                    "category_id": true.class_id,
                    "iscrowd": 0,
                    "area": float(rle.area(code)),
                    "bbox": rle.toBbox(code).tolist(),
                    "segmentation": code,
                }
            )
        for instance in found:
            code = rle.encode(np.asfortranarray(instance.mask.numpy(), np.uint8))
            results.append(
                {
                    "image_id": number,
                    "category_id": instance.class_id,
                    "score": instance.score,
                    "segmentation": code,
                }
            )
        images.append(({"id": number, "height": HEIGHT, "width": WIDTH}, annotations, results))
    return images


def pycocotools_ap(cases: list[Any]) -> float:
    return pycocotools_ap_encoded(encoded(cases))


def pycocotools_ap_encoded(cases: Encoded) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [dict(image) for image, _, _ in cases]
    # It writes into what it is given.
    annotations = [dict(one) for _, many, _ in cases for one in many]
    results = [dict(one) for _, _, many in cases for one in many]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": i, "name": n} for i, n in enumerate(CLASSES.names)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def panoptic_cases(count: int) -> list[tuple[PanopticMap, PanopticTruth]]:
    cases = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        maps = [np.ones((HEIGHT, WIDTH), np.int64), np.ones((HEIGHT, WIDTH), np.int64)]
        kinds = [THINGS]
        for number in range(2, 30):
            mask, place = disc(random)
            moved, _ = disc(random, 0.1, place)
            maps[0][mask], maps[1][moved] = number, number
            kinds.append(int(random.integers(KINDS)))
        present = [np.unique(ids).tolist() for ids in maps]
        truth = PanopticTruth(maps[0], [TrueSegment(i, kinds[i - 1]) for i in present[0]])
        segments = tuple(
            Segment(i, kinds[i - 1], CLASSES.names[kinds[i - 1]], kinds[i - 1] < THINGS, 1.0, 1)
            for i in present[1]
        )
        cases.append((PanopticMap(torch.from_numpy(maps[1]), segments, CLASSES), truth))
    return cases


def our_pq(cases: list[Any], _: Path) -> float:
    metric = PanopticQuality(CLASSES)
    for found, truth in cases:
        metric.update(found, truth)
    return metric.overall().pq


def write_panoptic(cases: list[Any], folder: Path) -> None:
    """The files that panopticapi reads; not part of the time."""
    categories = [
        {"id": i, "name": n, "isthing": int(i < THINGS)} for i, n in enumerate(CLASSES.names)
    ]
    for kind in ("truth", "found"):
        (folder / kind).mkdir()
        annotations = []
        for number, (found, truth) in enumerate(cases):
            ids = truth.ids if kind == "truth" else found.ids.numpy()
            segments = truth.segments if kind == "truth" else found.segments
            colours = np.stack([ids % 256, ids // 256, 0 * ids], -1).astype(np.uint8)
            Image.fromarray(colours).save(folder / kind / f"{number}.png")
            annotations.append(
                {
                    "image_id": number,
                    "file_name": f"{number}.png",
                    "segments_info": [
                        {
                            "id": s.id,
                            "category_id": s.class_id,
                            "iscrowd": 0,
                            "area": int((ids == s.id).sum()),
                        }
                        for s in segments
                    ],
                }
            )
        images = [{"id": number} for number in range(len(cases))]
        contents = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{kind}.json").write_text(json.dumps(contents))


def panopticapi_pq(cases: list[Any], folder: Path) -> float:
    from panopticapi.evaluation import pq_compute_single_core

    categories = {i: {"id": i, "isthing": int(i < THINGS)} for i in range(len(CLASSES))}
    truth = json.loads((folder / "truth.json").read_text())["annotations"]
    found = json.loads((folder / "found.json").read_text())["annotations"]
    with contextlib.redirect_stdout(io.StringIO()):
        pairs = list(zip(truth, found, strict=True))
        counts = pq_compute_single_core(
            0, pairs, str(folder / "truth"), str(folder / "found"), categories
        )
        return float(counts.pq_average(categories, isthing=None)[0]["pq"])


def our_iou(maps: list[Any]) -> float:
    metric = ConfusionMatrix(len(CLASSES))
    for predicted, true in maps:
        metric.update(predicted, true)
    return metric.miou


def plain_iou(maps: list[Any]) -> float:
    """A loop over classes, as many evaluation scripts have it."""
    both, either = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    for predicted, true in maps:
        for class_id in range(len(CLASSES)):
            a, b = predicted == class_id, true == class_id
            both[class_id] += (a & b).sum()
            either[class_id] += (a | b).sum()
    return float((both / either).mean())


def compare(
    name: str, ours: Callable[[], float], theirs: Callable[[], float], repeats: int, images: int
) -> None:
    mine, reference = ours(), theirs()
    if abs(mine - reference) > 1e-9:
        raise SystemExit(f"{name}: {mine} against {reference}: not equal, so times mean nothing")
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        marks = [time.process_time()]
        for run in (ours, theirs):
            run()
            marks.append(time.process_time())
        times.append((marks[1] - marks[0], marks[2] - marks[1]))
    our, their = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(
        f"{name:38} {1000 * our / images:8.2f} ms {1000 * their / images:8.2f} ms "
        f"{ratio:6.1f}x   (value {mine:.6f}, equal)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--again", type=int, default=10)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(f"{'an image, one core':38} {'ours':>11} {'reference':>11} {'ratio':>7}")
    few = instance_cases(options.images)
    for cases in (few, few * options.again):
        codes = encoded(cases)
        compare(
            f"mask AP / pycocotools, {len(cases)} images",
            functools.partial(our_ap, cases),
            functools.partial(pycocotools_ap, cases),
            options.repeats,
            len(cases),
        )
        compare(
            "the same, run lengths given",
            functools.partial(our_ap_encoded, codes),
            functools.partial(pycocotools_ap_encoded, codes),
            options.repeats,
            len(cases),
        )
    panoptic = panoptic_cases(options.images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_panoptic(panoptic, folder)
        compare(
            "PQ / panopticapi (reads its PNGs)",
            lambda: our_pq(panoptic, folder),
            lambda: panopticapi_pq(panoptic, folder),
            options.repeats,
            options.images,
        )
    random = np.random.default_rng(0)
    shape = (2, HEIGHT, WIDTH)
    maps = [random.integers(0, KINDS, shape) for _ in range(options.images)]
    compare(
        "mIoU / loop over classes",
        lambda: our_iou(maps),
        lambda: plain_iou(maps),
        options.repeats,
        options.images,
    )


if __name__ == "__main__":
    main()
