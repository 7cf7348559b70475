"""What does masked attention buy? Masked, plain and annealed cross-attention, side by side.

    python -m experiments.masked_attention

The same small Mask2Former is trained on the pictures of ``experiments.shapes`` three times:

- ``masked``: each query looks inside the mask it predicted last (the paper);
- ``plain``: it looks everywhere (the paper's ablation: 4.8 PQ and 5.9 AP less on COCO);
- ``annealed``: masked at first, from the middle of the training on ever more rarely, plain at the
  end.

Told are PQ and AP against steps; and of each object in the held-out pictures, how well the query
that finds it at the end covered it after each layer before: how many queries miss their object at
first, and which layer repairs them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from experiments import shapes
from experiments.driver import (
    Figures,
    Study,
    defined,
    differences,
    figures_of,
    interval,
    log_of,
    table,
    told,
)
from experiments.plot import Line, draw
from triptych.data.sets.open import open_set
from triptych.evaluation.evaluate import evaluate
from triptych.segmenter import Segmenter, load
from triptych.train.recipe import read_recipe
from triptych.truth import Example

VARIANTS = {
    "masked": (),
    "plain": ("model.arguments.masked=false",),
    "annealed": (),  # its steps depend on those of the training
}
COUNTS = {"train": 600, "val": 100}
MISSED, FOUND = 0.1, 0.5
"""Below this IoU a mask misses its object; from that on it has found it."""


def main(arguments: Sequence[str] | None = None, counts: dict[str, int] = COUNTS) -> None:
    """Train and measure what is not known yet, tell and draw it."""
    study = Study.from_command("masked_attention", "masked against plain attention", arguments)
    recipe = read_recipe(Path(__file__).parent / "recipes" / "shapes.yaml", study.overrides)
    root, steps = Path(recipe.data.arguments["root"]), recipe.optimisation.steps
    shapes.write(root, counts)
    annealing = f"model.arguments.annealing=[{steps // 2},{steps - steps // 10}]"
    overrides = {**VARIANTS, "annealed": (annealing,)}

    def run(variant: str, seed: int) -> Figures:
        folder, seconds = study.train("shapes.yaml", variant, seed, overrides[variant])
        segmenter, data = load(folder / "model", "auto"), open_set(root, "val")
        report = evaluate(segmenter, (data[index] for index in range(len(data))))
        wanted = ("pq", "pq_things", "pq_stuff", "ap", "ap50", "miou")
        along = [
            {"step": one["step"], "pq": one["pq"], "ap": one["ap"]}
            for one in log_of(folder, "evaluation")
        ]
        layers = refinement(segmenter, [data[index] for index in range(len(data))])
        figures = defined({name: report.figures[name] for name in wanted})
        return {"seconds": round(seconds, 1), **figures, "along": along, **layers}

    runs = study.measure(list(VARIANTS), run)
    study.publish(
        report_of(runs),
        pq=along_steps(runs, "pq"),
        ap=along_steps(runs, "ap"),
        layers=along_layers(runs),
    )


def refinement(segmenter: Segmenter, examples: Sequence[Example]) -> Figures:
    """How the masks of the queries that belong to objects grow right, layer by layer.

    The query of an object is the one whose last mask has the largest IoU with it.

    Returns:
        ``missed``, ``found`` (shares of all objects) and ``overlap`` (mean IoU) before the first
        layer and after each; ``repaired``: of those missed before the first layer, the share that
        is found after each.
    """
    overlaps: list[Tensor] = []
    for example in examples:
        assert example.panoptic is not None
        things = example.panoptic.instances(segmenter.classes.thing_ids)
        if not things:
            continue
        truth = torch.stack([torch.from_numpy(true.mask) for true in things])
        by_layer = torch.stack([iou(masks, truth) for masks in layer_masks(segmenter, example)])
        query = by_layer[-1].argmax(0)
        overlaps.append(by_layer[:, query, torch.arange(len(things))])
    ious = torch.cat(overlaps, 1)
    lost = ious[0] < MISSED
    repaired = (ious[:, lost] >= FOUND).float().mean(1) if lost.any() else torch.zeros(len(ious))
    figures = {
        "missed": (ious < MISSED).float().mean(1),
        "found": (ious >= FOUND).float().mean(1),
        "overlap": ious.mean(1),
        "repaired": repaired,
    }
    return {name: [round(v, 4) for v in values.tolist()] for name, values in figures.items()}


@torch.no_grad()
def layer_masks(segmenter: Segmenter, example: Example) -> list[Tensor]:
    """Masks ``(N, H, W)`` bool of all queries before the first layer and after each."""
    decoder = segmenter.model.get_submodule("query_decoder")
    device = next(segmenter.model.parameters()).device
    pixels = segmenter.preprocess([example.image]).pixels.to(device)
    decoder.training = True  # its modules stay as in use; it keeps the predictions on the way
    try:
        last = segmenter.model(pixels)
    finally:
        decoder.training = False
    size = example.image.shape[:2]
    return [
        torch.nn.functional.interpolate(one.mask_logits, size, mode="bilinear")[0].cpu() > 0
        for one in (*last.auxiliary, last)
    ]


def iou(masks: Tensor, truth: Tensor) -> Tensor:
    """``(N, T)`` of masks ``(N, H, W)`` and ``(T, H, W)``."""
    a, b = masks.flatten(1).float(), truth.flatten(1).float()
    both = a @ b.T
    return both / (a.sum(1)[:, None] + b.sum(1)[None] - both).clamp(min=1)


def report_of(runs: Sequence[Figures]) -> str:
    """Figures at the end, and how queries come to their objects."""
    known = [name for name in VARIANTS if any(one["variant"] == name for one in runs)]
    wanted = ("pq", "pq_things", "pq_stuff", "ap", "ap50", "miou")
    rows = [[name, *(told(figures_of(runs, name, f)) for f in wanted)] for name in known]
    for name in known[1:]:
        gaps = (differences(runs, name, "masked", figure) for figure in wanted)
        rows.append([f"{name} less masked", *(told(gap) for gap in gaps)])
    head = ["", "PQ", "PQ things", "PQ stuff", "AP", "AP50", "mIoU"]
    layers = len(runs[0]["missed"])
    steps = [
        [f"{name}: {figure}"]
        + [
            told([one[figure][layer] for one in runs if one["variant"] == name])
            for layer in range(layers)
        ]
        for name in known
        for figure in ("missed", "found", "repaired")
    ]
    places = ["share of objects, %", "start", *(f"layer {n}" for n in range(1, layers))]
    return f"{table(head, rows)}\n\n{table(places, steps)}"


def along_steps(runs: Sequence[Figures], figure: str) -> str:
    """A figure, of 50 held-out pictures, against training steps."""
    lines = []
    for name in VARIANTS:
        mine = [one["along"] for one in runs if one["variant"] == name]
        if mine:
            steps = [point["step"] for point in mine[0]]
            spans = [
                interval([100 * (along[place][figure] or 0) for along in mine])
                for place in range(len(steps))
            ]
            lines.append(Line(name, steps, [m for m, _ in spans], [h for _, h in spans]))
    return draw(f"{figure.upper()}, points", "training steps", lines, lines[0].x)


def along_layers(runs: Sequence[Figures]) -> str:
    """Share of objects whose query misses them, layer by layer."""
    lines = []
    for name in VARIANTS:
        mine = [one["missed"] for one in runs if one["variant"] == name]
        if mine:
            layers = range(len(mine[0]))
            spans = [interval([100 * missed[layer] for missed in mine]) for layer in layers]
            lines.append(Line(name, list(layers), [m for m, _ in spans], [h for _, h in spans]))
    title = "Objects that their query misses, %"
    return draw(title, "layers of the decoder so far", lines, lines[0].x)


if __name__ == "__main__":
    main(sys.argv[1:])
