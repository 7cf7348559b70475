"""A checkpoint with ready-made graphs for another runtime, held against eager before it counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from triptych.class_table import ClassTable
from triptych.engines.eager import Eager
from triptych.engines.folder import Exported, Graph
from triptych.engines.graph import GraphEngine, differences, largest_difference, trace
from triptych.engines.parts import Part, Size, decoding, encoding, whole
from triptych.errors import TriptychError
from triptych.interop.convert import folder_beside, refuse_existing
from triptych.networks.contract import TASKS, Ask, Prompts, Task, tensors_of
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
    part: str
    """What it computes; see :attr:`triptych.engines.parts.Part.name`."""
    input: Size
    """Of the network."""
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
    regroup: ClassTable | None = None,
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
        regroup: groups of its classes that the folder is to have in place of them.
        overwrite: replace what ``out`` holds; other files in it stay.

    Raises:
        TriptychError: the source cannot be loaded or regrouped so, the engine is not installed or
            cannot take the network or the precision, its answers differ, ``out`` holds something
            already or cannot be written.
    """
    refuse_existing(out, overwrite)
    segmenter = load(source, device="cpu", engine=to)
    segmenter = segmenter if regroup is None else segmenter.regroup(regroup)
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
        wanted = [one for size in inputs for one in graphs_of(segmenter.model, size)]
        graphs: dict[Part, Graph] = {}
        for one in wanted:
            width, height = one.size
            words = "-".join([to, f"{width}x{height}", *one.words])
            traced = trace(segmenter.model, one.part)
            graphs[one.part] = Graph(folder / f"{words}{engine.suffix}", traced.outputs)
            engine.write(traced, graphs[one.part].file)
        made_with = ", ".join(f"{name} {version(name)}" for name in MAKERS[to])
        Exported(folder, to, precision, graphs, made_with).write()
        return list(_compare(folder, wanted))


@dataclass(frozen=True)
class Wanted:
    """A graph that is to be exported."""

    part: Part
    size: Size
    """Of the network's input."""
    ask: Ask | None = None
    words: tuple[str, ...] = ()
    """What its file is called, behind the size."""


def graphs_of(model: nn.Module, size: Size) -> Iterator[Wanted]:
    """The graphs that serve a network for inputs of one size.

    A network with a fixed list of classes is one graph. Others have one for the encoder and one
    for each usual ask: every task; a click, two, a box, and a box with a click. What else is asked
    is answered all the same: its graph is made when it comes.
    """
    asks: frozenset[type] = getattr(model, "asks", frozenset())
    if Prompts not in asks:
        yield Wanted(whole(size), size)
    if not asks:
        return
    yield Wanted(encoding(size), size, words=("encode",))
    width, height = size
    features = Eager(model).encode(
        torch.zeros((1, 3, height, width), dtype=torch.float32, device="cpu")
    )
    usual = usual_tasks() if Task in asks else {}
    usual |= usual_prompts(width, height) if Prompts in asks else {}
    for word, ask in usual.items():
        yield Wanted(decoding(features, ask)[0], size, ask, ("decode", word))


def usual_tasks() -> dict[str, Ask]:
    """Every task."""
    return {name: Task(name) for name in TASKS}


def usual_prompts(width: int, height: int) -> dict[str, Ask]:
    """A click, two, a box and a box with a click, about an input of this size."""
    middle = torch.tensor([[[width / 2, height / 2]]], dtype=torch.float32, device="cpu")
    corners = (width / 4, height / 4, width / 2, height / 2)
    click = Prompts(middle, torch.ones((1, 1), dtype=torch.long, device="cpu"))
    box = torch.tensor([corners], dtype=torch.float32, device="cpu")
    labels = torch.tensor([[1, 0]], dtype=torch.long, device="cpu")
    two = Prompts(torch.cat((middle, middle / 2), 1), labels, multimask=False)
    return {
        "click-three": click,
        "click": replace(click, multimask=False),
        "two-clicks": two,
        "box": Prompts(boxes=box, multimask=False),
        "box-and-click": replace(click, boxes=box, multimask=False),
    }


def _compare(folder: Path, wanted: Sequence[Wanted]) -> Iterator[Written]:
    """Hold each graph in the folder against eager."""
    loaded = load(folder, device="cpu")
    eager = Eager(loaded.model)
    engine = loaded.engine
    assert isinstance(engine, GraphEngine)
    assert engine.exported is not None
    precision = engine.exported.precision
    random = torch.Generator().manual_seed(0)
    for one in wanted:
        width, height = one.size
        shape = (1, 3, height, width)
        pixels = torch.randn(shape, generator=random, dtype=torch.float32, device="cpu")
        difference = max(_apart(one, pixels, engine, eager, loaded.autocast))
        file = engine.exported.graphs[one.part].file
        if not difference <= LIMITS[precision]:
            raise TriptychError(
                f"{file.name}: its logits in {precision} differ from eager's by {difference:.1e} "
                f"of the largest, more than {LIMITS[precision]}, so nothing was kept; use another "
                "precision or engine"
            )
        yield Written(file.name, one.part.name, one.size, difference)


def _apart(
    one: Wanted, pixels: Tensor, engine: GraphEngine, eager: Eager, precision: torch.dtype | None
) -> list[float]:
    """How far each output of a graph is from eager's in fp32."""
    if one.part.half == "whole":
        return list(differences(engine(pixels, precision), eager(pixels)).values())
    features = eager.encode(pixels)
    if one.part.half == "decode":
        answers = engine.decode(features, one.ask, precision), eager.decode(features, one.ask)
        return list(differences(*answers).values())
    given = tensors_of(engine.encode(pixels, precision))
    return [largest_difference(given[name], t) for name, t in tensors_of(features).items()]
