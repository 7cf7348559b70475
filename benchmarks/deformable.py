"""Deformable sampling beside transformers' function: same inputs, one run, paired medians.

    python benchmarks/deformable.py --size 512 640 --batch 1 --threads 1 2

Prints a table: milliseconds of each form, and how many times quicker than transformers' it was in
the same round (the median of the rounds' ratios, so that a busy moment hits both sides).
Results are first checked to agree within 1e-4 of the largest value.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

from triptych.networks.layers.deformable import grid_reference, sample_by_grid
from triptych.networks.layers.deformable_bags import Shapes, sample_by_bags

HEADS, POINTS, WIDTH = 8, 4, 32
Form = Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]


def transformers_form(value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> Tensor:
    sizes = points.new_tensor([(width, height) for height, width in shapes])[:, None]
    return multi_scale_deformable_attention(value, list(shapes), (points + 0.5) / sizes, weights)


FORMS: dict[str, Form] = {
    "transformers": transformers_form,
    "grid_sample": sample_by_grid,
    "bags": sample_by_bags,
}


def inputs(size: int, batch: int) -> tuple[Tensor, Shapes, Tensor, Tensor]:
    """One encoder layer of Mask2Former on a square image; points some 3 cells from their query."""
    shapes = tuple((size // stride, size // stride) for stride in (32, 16, 8))
    reference = grid_reference(shapes, torch.device("cpu"))
    cells = len(reference)
    value = torch.randn(batch, cells, HEADS, WIDTH)
    offsets = 3 * torch.randn(batch, cells, HEADS, len(shapes), POINTS, 2)
    scores = torch.randn(batch, cells, HEADS, len(shapes) * POINTS)
    weights = scores.softmax(-1).unflatten(-1, (len(shapes), POINTS))
    return value, shapes, reference[:, None, :, None] + offsets, weights


def forward(form: Form, value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> float:
    start = time.perf_counter()
    with torch.no_grad():
        form(value, shapes, points, weights)
    return time.perf_counter() - start


def both(form: Form, value: Tensor, shapes: Shapes, points: Tensor, weights: Tensor) -> float:
    leaves = [tensor.clone().requires_grad_() for tensor in (value, points, weights)]
    start = time.perf_counter()
    form(leaves[0], shapes, leaves[1], leaves[2]).square().sum().backward()
    return time.perf_counter() - start


def check(given: tuple[Tensor, Shapes, Tensor, Tensor]) -> None:
    wanted = transformers_form(*given)
    for name, form in FORMS.items():
        error = ((form(*given) - wanted).abs().max() / wanted.abs().max()).item()
        if error > 1e-4:
            raise SystemExit(f"{name} differs from transformers by {error:.1e}")


def compare(pass_: Callable[..., float], given: tuple[object, ...], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(rounds + 1):
        for name, form in FORMS.items():
            times[name].append(1e3 * pass_(form, *given))
    theirs = times["transformers"][1:]  # the first round warms up
    for name, all_rounds in times.items():
        ours = all_rounds[1:]
        ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
        print(f"  {name:14}{statistics.median(ours):9.1f} ms{ratio:8.2f} times as quick")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[512], help="image sides, pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.manual_seed(0)
    for size in options.size:
        given = inputs(size, options.batch)
        check(given)
        for threads in options.threads:
            torch.set_num_threads(threads)
            for title, pass_ in (("forward", forward), ("forward + backward", both)):
                cells = given[0].shape[1]
                print(f"{size}x{size}, batch {options.batch}, {cells} queries, ", end="")
                print(f"threads {threads}, {title}")
                compare(pass_, given, options.rounds)


if __name__ == "__main__":
    main()
