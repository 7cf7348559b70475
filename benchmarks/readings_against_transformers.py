"""What transformers' post-processing makes of the same mask sets, and where it differs from ours.

    python benchmarks/readings_against_transformers.py --model street --limit 30 IMAGES...

Each image goes through the network once. Its mask set is read by Triptych and, as the tensors it
consists of, by transformers' ``post_process_*``. Pixels and segments that differ are counted, time
is that of the processor (one thread), so that other programs disturb it little.

For the panoptic reading, each of transformers' rules is also put into ours alone, to see what it
does. With all of them in place the map must be transformers' own, which is checked.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Mask2FormerImageProcessorPil

import triptych
from triptych.image.find import find_images
from triptych.mask_set import MaskSet

THRESHOLD, OVERLAP, INSTANCE_THRESHOLD = 0.8, 0.8, 0.5


@dataclass(frozen=True)
class Rules:
    """Where transformers departs from the authors' reading; none of them is the authors' own."""

    detour: bool = False
    """Masks go to 384x384, become probabilities, and these go to the image's size."""
    padding: bool = False
    """The padding is not cut off: the padded input is squeezed into the image."""
    scored_area: bool = False
    """A query's own area is counted where score times probability is at least one half."""
    faint: bool = False
    """Pixels that a query wins with a probability below one half stay, too."""
    strict: bool = False
    """A segment stays if its ratio of areas, in float32, is above the limit, which is in float64:
    at 0.5 exactly it is dropped, at 0.8, which float32 rounds up, it stays."""


ALL = Rules(True, True, True, True, True)
NAMES = [field.name for field in dataclasses.fields(Rules)]


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps[None], tuple(size), mode="bilinear", align_corners=False)[0]


def probabilities(masks: MaskSet, rules: Rules) -> Tensor:
    """Mask probabilities ``(N, H, W)``."""
    geometry = masks.geometry
    height, width = geometry.input_size if rules.padding else geometry.valid_size
    if not rules.detour:
        logits = resize(masks.mask_logits, geometry.input_size)[:, :height, :width]
        return resize(logits, geometry.image_size).sigmoid()
    maps = resize(masks.mask_logits, (384, 384)).sigmoid()
    if not rules.padding:
        maps = resize(maps, geometry.input_size)[:, :height, :width]
    return resize(maps, geometry.image_size)


def panoptic(masks: MaskSet, rules: Rules) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """Class of each pixel, -1 for none, and the class and mask of each segment; plain and slow."""
    assert masks.class_logits is not None
    scores, labels = masks.class_logits.softmax(-1).max(-1)
    kept = (labels < len(masks.classes)) & (scores > THRESHOLD)
    kind = torch.full(masks.geometry.image_size, -1)
    segments: list[tuple[int, Tensor]] = []
    if not kept.any():
        return kind, segments
    probable = probabilities(masks, rules)[kept]
    weighed = probable * scores[kept, None, None]
    winner = weighed.argmax(0)
    for query, label in enumerate(labels[kept].tolist()):
        own = int(((weighed if rules.scored_area else probable)[query] >= 0.5).sum())
        won = winner == query
        mask = won if rules.faint else won & (probable[query] >= 0.5)
        if not own or not mask.any():
            continue
        ratio = won.sum() / own
        if ratio.item() > OVERLAP if rules.strict else int(won.sum()) / own >= OVERLAP:
            kind[mask] = label
            segments.append((label, mask))
    return kind, segments


def things(masks: MaskSet, segments: Sequence[tuple[int, Tensor]]) -> list[tuple[int, Tensor]]:
    return [(label, mask) for label, mask in segments if masks.classes.is_thing[label]]


def matched(ours: list[tuple[int, Tensor]], theirs: list[tuple[int, Tensor]]) -> int:
    """How many of ours have one of theirs of the same class and an IoU above one half."""

    def same(a: tuple[int, Tensor], b: tuple[int, Tensor]) -> bool:
        return a[0] == b[0] and bool(2 * (a[1] & b[1]).sum() > (a[1] | b[1]).sum())

    return sum(any(same(a, b) for b in theirs) for a in ours)


def compare(masks: MaskSet, processor: Any, told: dict[str, list[float]]) -> None:
    """Read one mask set both ways and append what was found to ``told``."""
    size = masks.geometry.image_size
    assert masks.class_logits is not None
    outputs = SimpleNamespace(
        class_queries_logits=masks.class_logits[None], masks_queries_logits=masks.mask_logits[None]
    )

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        told[f"seconds {name}"].append(time.process_time() - began)
        return result

    target = {"target_sizes": [size]}
    stuff = {k for k, thing in enumerate(masks.classes.is_thing) if not thing}
    theirs = timed(
        "semantic theirs",
        lambda: processor.post_process_semantic_segmentation(outputs, **target)[0],
    )
    ours = timed("semantic", dataclasses.replace(masks).semantic)
    told["semantic: pixels"].append((ours.ids != theirs).float().mean().item())

    whole = timed(
        "panoptic theirs",
        lambda: processor.post_process_panoptic_segmentation(
            outputs,
            threshold=THRESHOLD,
            overlap_mask_area_threshold=OVERLAP,
            label_ids_to_fuse=stuff,
            **target,
        )[0],
    )
    reading = timed("panoptic", lambda: dataclasses.replace(masks).panoptic(THRESHOLD, OVERLAP))
    lookup = torch.tensor([-1, *(segment.class_id for segment in reading.segments)])
    kind = lookup[reading.ids.long()]
    plain, parts = panoptic(masks, Rules())
    imitation, their_parts = panoptic(masks, ALL)
    told["check: our reading against the plain one, pixels"].append(share(kind, plain))
    told["panoptic: pixels"].append(share(plain, imitation))
    # Stuff that was merged is listed once for each query, with one id; others have their own.
    merged = {s["id"] for s in whole["segments_info"] if s["was_fused"]}
    alone = [s["id"] for s in whole["segments_info"] if not s["was_fused"]]
    collision = len(set(alone)) < len(alone) or bool(merged & set(alone))
    told["panoptic: images with one id for two segments"].append(collision)
    if not collision:
        table = {s["id"]: s["label_id"] for s in whole["segments_info"]}
        there = torch.tensor([table.get(n, -1) for n in range(max([0, *table]) + 1)])
        found = there[whole["segmentation"].long().clamp(min=0)]
        told["check: theirs against all rules, pixels"].append(share(found, imitation))
    told["panoptic: things of ours"].append(len(things(masks, parts)))
    told["panoptic: things of theirs"].append(len(things(masks, their_parts)))
    told["panoptic: things in both"].append(
        matched(things(masks, parts), things(masks, their_parts))
    )
    for name in NAMES:
        other, _ = panoptic(masks, Rules(**{name: True}))
        told[f"panoptic with {name} alone: pixels"].append(share(plain, other))

    found = timed(
        "instances theirs",
        lambda: processor.post_process_instance_segmentation(
            outputs, threshold=INSTANCE_THRESHOLD, return_binary_maps=True, **target
        )[0],
    )
    fresh = dataclasses.replace(masks)
    instances = timed("instances", lambda: fresh.instances(INSTANCE_THRESHOLD))
    info = found["segments_info"]
    pairs = [(s["label_id"], found["segmentation"][n] > 0) for n, s in enumerate(info)]
    mine = [(instance.class_id, instance.mask) for instance in instances]
    told["instances: ours"].append(len(mine))
    told["instances: things of theirs"].append(len(things(masks, pairs)))
    told["instances: stuff of theirs"].append(len(pairs) - len(things(masks, pairs)))
    told["instances: in both"].append(matched(mine, things(masks, pairs)))


def share(first: Tensor, second: Tensor) -> float:
    return (first != second).float().mean().item()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", help="files, folders or patterns")
    parser.add_argument("--model", default="street", help="a MaskFormer or Mask2Former")
    parser.add_argument("--limit", type=int, default=30, help="images, evenly spread")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sources, problems = find_images(options.images)
    if problems or not sources:
        raise SystemExit("\n".join(problems))
    paths = [Path(source.path) for source in sources]
    paths = paths[:: max(1, len(paths) // options.limit)][: options.limit]
    segmenter = triptych.load(options.model, device="cpu")
    processor = Mask2FormerImageProcessorPil()
    told: dict[str, list[float]] = defaultdict(list)
    padded = 0
    for path in paths:
        masks = segmenter(path)
        padded += masks.geometry.input_size != masks.geometry.valid_size
        compare(masks, processor, told)
    print(f"{options.model}: {len(paths)} images, {padded} of them padded")
    for name, values in told.items():
        if "pixels" in name:
            print(f"{name:55} {statistics.mean(values):8.3%}  worst {max(values):8.3%}")
        elif not name.startswith("seconds"):
            print(f"{name:55} {sum(values):8.0f}")
    for name in ("semantic", "panoptic", "instances"):
        own, other = (statistics.median(told[f"seconds {name}{s}"]) for s in ("", " theirs"))
        print(f"{name:12} {own * 1000:7.1f} ms, theirs {other * 1000:7.1f} ms: {other / own:.1f}x")


if __name__ == "__main__":
    main()
