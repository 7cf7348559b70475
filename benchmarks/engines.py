"""All engines and precisions of one network in the same rounds.

    python benchmarks/engines.py --threads 2
    python benchmarks/engines.py --random mask2former --override backbone=swin_tiny \
        --size 640x640 --variants eager:fp32 openvino:fp32 openvino:bf16

Times the forward pass and the whole way from a JPEG to the drawing of the three readings, and holds
logits and maps against eager in fp32. Without --image a picture is made up; graphs in folders that
triptych export wrote of the same network are used, which saves making them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from triptych.bench.beside import class_map
from triptych.bench.engines import Silent
from triptych.bench.plain import same_pixels
from triptych.bench.rounds import Spread, in_turns
from triptych.bench.subject import load_network, prepared
from triptych.bench.walk import running, walk
from triptych.commands.sizes import parse_size
from triptych.engines.base import Engine
from triptych.engines.folder import read_exported
from triptych.engines.graph import differences
from triptych.engines.registry import make_engine
from triptych.image.preprocess import load_image
from triptych.segmenter import find_precision

VARIANTS = ["eager:fp32", "eager:bf16", "compile:fp32", "onnx:fp32", "openvino:fp32"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a checkpoint; street by default")
    parser.add_argument("--random", help="a family, with random weights")
    parser.add_argument("--override", action="append", default=[], help="of its arguments")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--size", default="640x360", help="of the picture")
    parser.add_argument("--variants", nargs="+", default=[*VARIANTS, "openvino:bf16"])
    parser.add_argument("--exported", action="append", default=[], type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--forward-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    segmenter = load_network(options.model, options.random, options.override, "cpu")
    size = parse_size("--size", options.size)
    random = options.random is not None
    graphs = {found.engine: found for found in map(read_exported, options.exported) if found}
    with prepared(segmenter, options.image, size, made_up=random) as subject:
        image = load_image(subject.file)
        pixels = segmenter.preprocess([image]).pixels
        wanted = segmenter.engine(pixels)
        reference = segmenter.segment([image], task=segmenter.task)[0]
        engines: dict[str, Engine] = {}
        works: dict[str, Callable[[], Any]] = {}
        for variant in options.variants:
            name, _, precision = variant.partition(":")
            if name not in engines:
                engines[name] = make_engine(name, segmenter.model, graphs.get(name))
            engine, dtype = engines[name], find_precision(precision)
            before = engine.preparation
            found = differences(engine(pixels, dtype), wanted)
            told = [f"{what} {value:.1e}" for what, value in found.items()]
            if not random:
                with running(segmenter, engine):
                    segmenter.autocast = dtype
                    masks = segmenter.segment([image], task=segmenter.task)[0]
                maps = {
                    "semantic": (masks.semantic().ids, reference.semantic().ids),
                    "panoptic": (class_map(masks.panoptic()), class_map(reference.panoptic())),
                }
                told += [f"{what} {same_pixels(*pair):.3%}" for what, pair in maps.items()]
            ready = engine.preparation - before
            print(f"{variant}: ready in {ready:.1f} s; {', '.join(told)}", flush=True)

            def forward(engine: Engine = engine, dtype: torch.dtype | None = dtype) -> None:
                engine(pixels, dtype)

            def whole(engine: Engine = engine, dtype: torch.dtype | None = dtype) -> None:
                segmenter.autocast = dtype
                with running(segmenter, engine):
                    walk(subject, Silent(segmenter.device))

            works[f"{variant} forward"] = forward
            if not options.forward_only:
                works[f"{variant} file to drawing"] = whole
        seconds = in_turns(works, range(options.rounds), segmenter.device)
    for work, times in seconds.items():
        kind = work.split(" ", 1)[1]
        eager = seconds[f"{options.variants[0]} {kind}"]
        spread = Spread.of(times)
        ratio = Spread.of([a / b for a, b in zip(eager, times, strict=True)])
        print(
            f"{work:32} {1000 * spread.median:8.1f} ms ({1000 * spread.low:.1f} to "
            f"{1000 * spread.high:.1f}), {ratio.median:.2f} times {options.variants[0]}, "
            f"{1 / spread.median:.1f} a second"
        )


if __name__ == "__main__":
    main()
