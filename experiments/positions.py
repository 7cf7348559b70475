"""Why drop position embeddings? One SegFormer with and without, tested at other resolutions.

    python -m experiments.positions

Three variants of a narrow SegFormer are trained on CamVid at 192 x 256 and tested from half to
twice that, each size as the whole frame resized to it:

- ``mix``: as published; a convolution in each feed-forward, whose zero padding tells of positions;
- ``mix and positions``: with learnt positions added in each stage, resized bilinearly;
- ``positions``: with learnt positions in place of those convolutions (the paper's table 1c).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from experiments.driver import (
    Figures,
    Study,
    differences,
    figures_of,
    interval,
    log_of,
    table,
    told,
)
from experiments.plot import Line, draw
from triptych.data.sets.open import open_set
from triptych.data.spread import spread
from triptych.evaluation.evaluate import evaluate
from triptych.image.preprocess import Preprocess
from triptych.segmenter import Segmenter, load
from triptych.train.recipe import read_recipe

VARIANTS = {
    "mix": (),
    "mix and positions": ("model.arguments.positions=[192,256]",),
    "positions": ("model.arguments.positions=[192,256]", "model.arguments.mixing=false"),
}
SIZES = ((96, 128), (128, 160), (192, 256), (256, 352), (288, 384), (384, 512))
"""Multiples of 32, which no padding changes; 128 x 160 and 256 x 352 are 6 % narrower and 3 % wider
than the frames."""

IMAGES = 60
"""Frames of the split test, spread evenly."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and test what is not known yet, tell and draw it."""
    study = Study.from_command("positions", "SegFormer and position embeddings", arguments)

    def run(variant: str, seed: int) -> Figures:
        folder, seconds = study.train("positions.yaml", variant, seed, VARIANTS[variant])
        recipe = read_recipe(folder / "recipe.yaml")
        data = open_set(recipe.data.arguments["root"], "test")
        trained = load(folder / "model", "auto")
        miou = {}
        for size in SIZES:
            resized = dataclasses.replace(trained.preprocess, size=size)
            segmenter = at_size(trained, resized)
            examples = (data[index] for index in spread(len(data), IMAGES))
            miou[name_of(size)] = round(evaluate(segmenter, examples).figures["miou"], 6)
        loss = log_of(folder, "step")[-1]["loss"]
        return {"seconds": round(seconds, 1), "loss": round(loss, 4), **miou}

    runs = study.measure(list(VARIANTS), run)
    study.publish(report(runs), miou=picture(runs))


def at_size(trained: Segmenter, preprocess: Preprocess) -> Segmenter:
    """The same network, given its images in another way."""
    return Segmenter(trained.model, preprocess, trained.classes, trained.readings)


def name_of(size: tuple[int, int]) -> str:
    """How results call a size."""
    return f"miou {size[0]} x {size[1]}"


def report(runs: Sequence[Figures]) -> str:
    """mIoU in points by size, and what learnt positions change at each, seed by seed."""
    known = [name for name in VARIANTS if any(one["variant"] == name for one in runs)]
    rows = [
        [name, *(told(figures_of(runs, name, name_of(size))) for size in SIZES)] for name in known
    ]
    for name in known[1:]:
        gaps = (differences(runs, name, "mix", name_of(size)) for size in SIZES)
        rows.append([f"{name} less mix", *(told(gap) for gap in gaps)])
    return table(["mIoU", *(f"{height} x {width}" for height, width in SIZES)], rows)


def picture(runs: Sequence[Figures]) -> str:
    """mIoU against the size in multiples of that of the training."""
    scales = [(h * w / (192 * 256)) ** 0.5 for h, w in SIZES]
    lines = []
    for name in VARIANTS:
        if any(one["variant"] == name for one in runs):
            spans = [
                interval([100 * value for value in figures_of(runs, name, name_of(size))])
                for size in SIZES
            ]
            lines.append(Line(name, scales, [m for m, _ in spans], [h for _, h in spans]))
    return draw("mIoU, points", "resolution / that of the training", lines, (0.5, 1, 1.5, 2))


if __name__ == "__main__":
    main(sys.argv[1:])
