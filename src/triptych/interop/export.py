"""A checkpoint with ready-made graphs for another runtime, held against eager before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from triptych.engines.base import GraphEngine, differences
from triptych.engines.eager import Eager
from triptych.engines.folder import Exported, Size
from triptych.errors import TriptychError
from triptych.interop.convert import folder_beside, refuse_existing
from triptych.segmenter import find_precision, load

LIMITS = {"fp32": 1e-3, "bf16": 0.2, "fp16": 0.2}
"""Largest difference of logits from eager's in fp32, beside the largest logit. Usual are 1e-5 and
a few hundredths; beyond the limit something is wrong."""

MAKERS = {"onnx": ("torch", "onnx", "onnxscript"), "openvino": ("torch", "openvino")}
"""Packages that make the graphs."""


@dataclass(frozen=True)
class Written:
    """One graph that was exported."""

    file: str
    input: Size
    difference: float
    """Largest difference of logits from eager's in fp32, beside the largest logit."""


def export(
    source: str,
    out: Path,
    to: str,
    *,
    pictures: Sequence[Size] = (),
    entry: Size | None = None,
    precision: str = "fp32",
    overwrite: bool = False,
) -> list[Written]:
    """Write a checkpoint folder with graphs for an engine.

    The folder is written beside ``out``, loaded, and its answers are compared with eager's. Only
    then does it take its place.

    Args:
        source: what :func:`triptych.segmenter.load` takes.
        out: the new folder.
        to: "onnx" or "openvino".
        pictures: sizes of the pictures that will come, each of which gets a graph of the input it
            needs; 640x360 if none is given.
        entry: one size of the network's input for all pictures, which are resized to it whatever
            their shape, in place of the checkpoint's own rule.
        precision: arithmetic to be used when the folder is loaded: "fp32", "bf16" or "fp16". The
            weights stay in float32.
        overwrite: replace what ``out`` holds; other files in it stay.

    Raises:
        TriptychError: the source cannot be loaded, the engine is not installed or cannot take the
            network or the precision, its answers differ, ``out`` holds something already or cannot
            be written.
    """
    refuse_existing(out, overwrite)
    segmenter = load(source, device="cpu", engine=to)
    engine = segmenter.engine
    if not isinstance(engine, GraphEngine):
        raise TriptychError(f"the engine {to} has no graphs to write; use onnx or openvino")
    find_precision(precision)
    engine.check(precision)
    if entry:
        segmenter.preprocess = segmenter.preprocess.to_size(*entry)
    plans = [segmenter.preprocess.plan((h, w)) for w, h in pictures or [(640, 360)]]
    inputs = list(dict.fromkeys((width, height) for height, width in (p.input_size for p in plans)))
    with folder_beside(out) as folder:
        segmenter.save(folder)
        graphs = {(w, h): folder / f"{to}-{w}x{h}{engine.suffix}" for w, h in inputs}
        for size, file in graphs.items():
            engine.write(size, file)
        made_with = ", ".join(f"{name} {version(name)}" for name in MAKERS[to])
        Exported(folder, to, precision, graphs, made_with).write()
        return _compare(folder, graphs)


def _compare(folder: Path, graphs: dict[Size, Path]) -> list[Written]:
    """Hold each graph in the folder against eager."""
    loaded = load(folder, device="cpu")
    eager = Eager(loaded.model)
    engine = loaded.engine
    assert isinstance(engine, GraphEngine)
    assert engine.exported is not None
    precision = engine.exported.precision
    random = torch.Generator().manual_seed(0)
    found = []
    for (width, height), file in graphs.items():
        shape = (1, 3, height, width)
        pixels = torch.randn(shape, generator=random, dtype=torch.float32, device="cpu")
        wanted, given = eager(pixels), engine(pixels, loaded.autocast)
        difference = max(differences(given, wanted).values())
        if not difference <= LIMITS[precision]:
            raise TriptychError(
                f"{file.name}: its logits in {precision} differ from eager's by {difference:.1e} "
                f"of the largest, more than {LIMITS[precision]}, so nothing was kept; use another "
                "precision or engine"
            )
        found.append(Written(file.name, (width, height), difference))
    return found
