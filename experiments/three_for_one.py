"""Three models for one: two specialists and a merge script against one universal checkpoint.

    python -m experiments.three_for_one

All are trained on the pictures of ``experiments.shapes``, with the same number of steps and
pictures a step:

- ``universal``: the Mask2Former of ``recipes/shapes.yaml``, which is read three ways;
- ``semantic``: a SegFormer of about as many weights, for the class map;
- ``instance``: the same Mask2Former trained on the outlines of things alone, for the objects;
- the panoptic map of the specialists is what ``experiments.merge`` makes of the two.

So the specialists together have twice the budget of the universal model.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from experiments import shapes
from experiments.driver import (
    HERE,
    RECIPES,
    Figures,
    Study,
    clocks,
    defined,
    differences,
    figures_of,
    table,
    told,
)
from experiments.merge import merge
from triptych.bench.memory import resident
from triptych.data.sets.open import open_set
from triptych.evaluation.answers import Answer, match_classes
from triptych.evaluation.evaluate import measure
from triptych.segmenter import Segmenter, load
from triptych.train.recipe import read_recipe
from triptych.truth import Example

COUNTS = {"train": 600, "val": 100}
SEMANTIC = (
    "model.family=segformer",
    "model.arguments={channels: [24, 48, 80, 112], depths: [1, 1, 2, 1], heads: [1, 2, 5, 7], "
    "decoder_dim: 64, drop_path: 0.0, dropout: 0.0}",
    "criterion={}",
    "optimisation.learning_rate=0.002",
)
FIGURES = {"miou": "mIoU", "ap": "AP", "pq": "PQ"}
REPEATS = 30
"""Pictures whose time is taken."""


def main(arguments: Sequence[str] | None = None, counts: dict[str, int] = COUNTS) -> None:
    """Train and measure what is not known yet, tell it."""
    study = Study.from_command("three_for_one", "three specialists against one", arguments)
    root = Path(read_recipe(RECIPES / "shapes.yaml", study.overrides).data.arguments["root"])
    shapes.write(root, counts)
    things = (f"data.arguments.root={root / shapes.THINGS_FILE}",)

    def universal(variant: str, seed: int) -> Figures:
        folder, seconds = study.train("shapes.yaml", variant, seed)
        found = _figures([folder / "model"], root)
        return {"training seconds": round(seconds, 1), **found}

    def specialists(variant: str, seed: int) -> Figures:
        first, one = study.train("shapes.yaml", "semantic", seed, SEMANTIC)
        second, two = study.train("shapes.yaml", "instance", seed, things)
        found = _figures([first / "model", second / "model"], root)
        together, _ = study.train("shapes.yaml", "universal", seed)
        both = times([[together / "model"], [first / "model", second / "model"]], root)
        milliseconds = dict(zip(("universal ms", "specialists ms"), both, strict=True))
        return {"training seconds": round(one + two, 1), **found, **milliseconds}

    runs = study.measure(["universal"], universal)
    runs += study.measure(["specialists"], specialists)
    study.publish(report(runs))


def answers(models: Sequence[Segmenter], merging: bool) -> Callable[[Tensor], Answer]:
    """From an image to the three maps: of one network, or of two and the merge script."""

    def one(image: Tensor) -> Answer:
        masks = models[0](image).to("cpu")
        return Answer(
            masks.semantic().ids.numpy(), masks.instances(threshold=0.0), masks.panoptic()
        )

    def two(image: Tensor) -> Answer:
        semantic = models[0](image).to("cpu").semantic()
        objects = models[1](image).to("cpu").instances(threshold=0.0)
        match = match_classes(models[1].classes, semantic.classes)
        return Answer(semantic.ids.numpy(), match.instances(objects), merge(semantic, objects))

    return two if merging else one


def _figures(folders: Sequence[Path], root: Path) -> Figures:
    """Quality on the held-out pictures, weights, time and memory."""
    models, data = [load(folder, "auto") for folder in folders], open_set(root, "val")
    answer = answers(models, len(models) > 1)

    def answered() -> Iterator[tuple[Example, Answer]]:
        for index in range(len(data)):
            example = data[index]
            yield example, answer(example.image)

    figures = measure(answered(), data.classes).figures
    image = data[0].image
    weights = sum(p.numel() for model in models for p in model.model.parameters())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        memory = pool.apply(_memory, ([str(folder) for folder in folders], image.tolist()))
    return {
        **defined({name: figures[name] for name in FIGURES}),
        "parameters": weights,
        "megabytes": memory,
    }


def times(sides: Sequence[Sequence[Path]], root: Path) -> list[float]:
    """Milliseconds from a picture to all three maps, of each side in turns."""
    image = open_set(root, "val")[0].image
    loaded = [[load(folder, "auto") for folder in folders] for folders in sides]
    works = [answers(models, len(models) > 1) for models in loaded]
    taken = clocks([functools.partial(work, image) for work in works], REPEATS)
    return [round(1000 * seconds, 2) for seconds in taken]


def _memory(folders: list[str], pixels: list[list[list[int]]]) -> float | None:
    """Megabytes that models and their work add to a fresh process."""
    torch.set_num_threads(1)
    image = torch.tensor(pixels, dtype=torch.uint8)
    before = resident()
    models = [load(folder, "cpu") for folder in folders]
    answers(models, len(models) > 1)(image)
    most = resident("VmHWM")
    return round((most - before) / 1e6, 1) if most and before else None


def code_lines(file: Path) -> int:
    """Lines of a module that are neither empty nor comment."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))


def report(runs: Sequence[Figures]) -> str:
    """The table of both, and the specialists less the universal model, seed by seed."""
    rows = []
    for name in ("universal", "specialists"):
        mine = (figures_of(runs, name, figure) for figure in FIGURES)
        rows.append(
            [
                name,
                *(told(values) for values in mine),
                told(figures_of(runs, name, "parameters"), 1e-6, 2),
                told(figures_of(runs, name, "megabytes"), 1),
                told(figures_of(runs, "specialists", f"{name} ms"), 1),
                told(figures_of(runs, name, "training seconds"), 1, 0),
                str(code_lines(HERE / "merge.py") if name == "specialists" else 0),
            ]
        )
    gaps = (told(differences(runs, "specialists", "universal", f)) for f in FIGURES)
    rows.append(["specialists less universal", *gaps, *[""] * 5])
    head = [
        "",
        *FIGURES.values(),
        "weights, millions",
        "memory, MB",
        "time a picture, ms",
        "training, s",
        "lines to merge",
    ]
    return table(head, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
