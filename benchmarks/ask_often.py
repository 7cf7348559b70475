"""Encode once, ask often: what each further answer costs, beside transformers asked anew each time.

    python benchmarks/ask_often.py                      # OneFormer Swin-T, 512x512, all three tasks
    python benchmarks/ask_often.py --halves             # encode and decode beside the single call
    python benchmarks/ask_often.py --size 640 --rounds 7

Random weights: they prove speed alone. All forms take turns, from normalised pixels to logits in
float32; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from triptych.bench.beside import sentence, theirs_of
from triptych.bench.rounds import Spread, in_turns
from triptych.classes import Classes
from triptych.engines.eager import Eager, inference
from triptych.image.preprocess import Preprocess
from triptych.networks.contract import TASKS, Task
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter

CLASSES = 150
"""Of ADE20K."""

CLOSED: Mapping[str, Mapping[str, Any]] = {
    "segformer": {"size": "b0"},
    "maskformer": {"backbone": "swin_tiny"},
    "mask2former": {"backbone": "swin_tiny"},
}


def network(family: str, **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(family, classes=CLASSES, **arguments).eval()


def report(works: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    found = {}
    for name, seconds in in_turns(works, range(rounds), torch.device("cpu")).items():
        spread = Spread.of(seconds)
        found[name] = spread.median
        print(f"  {name:44s} {spread.median:7.3f} s ({spread.low:.3f} to {spread.high:.3f})")
    return found


def against_transformers(pixels: Tensor, rounds: int) -> None:
    """The three tasks about one image, and one, by both."""
    model = network("oneformer", backbone="swin_tiny", queries=150)
    arguments = {"classes": CLASSES, "backbone": "swin_tiny", "queries": 150}
    classes = Classes.of([f"class {i}" for i in range(CLASSES)], things=["class 0"])
    segmenter = Segmenter(
        model, Preprocess(), classes, family="oneformer", arguments=arguments, name="oneformer"
    )
    eager = Eager(model)
    with theirs_of(segmenter, None) as theirs:

        def asked_anew(*tasks: str) -> None:
            for task in tasks:
                told = sentence(task).to(pixels)[None].expand(len(pixels), -1)
                with inference(pixels.device, None):
                    theirs.model(pixel_values=pixels, task_inputs=told.reshape(len(pixels), -1))

        def encoded_once(*tasks: str) -> None:
            features = eager.encode(pixels)
            for task in tasks:
                eager.decode(features, Task(task))  # type: ignore[arg-type]

        features = eager.encode(pixels)
        found = report(
            {
                "transformers, three calls": lambda: asked_anew(*TASKS),
                "triptych, encoded once, three tasks": lambda: encoded_once(*TASKS),
                "transformers, one call": lambda: asked_anew("panoptic"),
                "triptych, one task": lambda: encoded_once("panoptic"),
                "triptych, a further task": lambda: eager.decode(features, Task("semantic")),
            },
            rounds,
        )
    three = found["transformers, three calls"] / found["triptych, encoded once, three tasks"]
    one = found["transformers, one call"] / found["triptych, one task"]
    print(f"three tasks: {three:.2f} times as quick; one task: {one:.2f} times as quick")


def halves(pixels: Tensor, rounds: int) -> None:
    """Encode and decode beside the single call."""
    for family, arguments in CLOSED.items():
        eager = Eager(network(family, **arguments))
        print(family)

        def in_two(eager: Eager) -> None:
            eager.decode(eager.encode(pixels))

        found = report(
            {
                "single call": functools.partial(eager, pixels),
                "encode and decode": functools.partial(in_two, eager),
            },
            rounds,
        )
        print(f"  speed of the halves: {found['single call'] / found['encode and decode']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--halves", action="store_true")
    parser.add_argument("--size", type=int, default=512, help="edge of the network's input")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    random = torch.Generator().manual_seed(0)
    pixels = torch.randn((1, 3, options.size, options.size), generator=random)
    print(f"{options.size}x{options.size}, fp32, {options.threads} threads")
    (halves if options.halves else against_transformers)(pixels, options.rounds)


if __name__ == "__main__":
    main()
