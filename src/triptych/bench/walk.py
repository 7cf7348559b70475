"""One image on its whole way, from the file to the drawing, with a lap after every stage."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from triptych.bench.memory import Peak
from triptych.bench.rounds import now
from triptych.bench.subject import Subject
from triptych.engines.base import Engine
from triptych.image.preprocess import load_image
from triptych.networks.contract import Ask, Features, Prediction
from triptych.networks.layers.linear import FUSED
from triptych.readings.masks import READINGS
from triptych.render.panels import panels
from triptych.segmenter import Segmenter

REST = "rest"
"""What lies between the parts of the network, and the copies that make a mask set of its output."""


class Meter(Protocol):
    """Told of the end of each stage, which is the beginning of the next."""

    def begin(self) -> None:
        """The first stage begins."""
        ...

    def lap(self, stage: str, *touched: Any) -> None:
        """A stage ends; it has read or made ``touched``: tensors, modules, and what holds them."""
        ...


def walk(subject: Subject, meter: Meter, by: Engine | None = None) -> None:
    """Take the image of ``subject`` from its file to the drawing of its readings.

    The parts of the network are its own submodules, whatever they are called; hooks tell when one
    begins and ends. An engine that does not run them has one stage, "network".

    Args:
        subject: the network and the image.
        meter: is told of the stages.
        by: runs the network in place of its own engine, with the same stages.
    """
    segmenter = subject.segmenter
    meter.begin()
    image = load_image(subject.file)
    meter.lap("decode")
    engine = by or segmenter.engine
    if segmenter.engine.runs_modules:
        with running(segmenter, engine), laps_inside(engine.model, meter, image):
            found = segmenter.segment([image], task=segmenter.task)[0]
    else:
        with running(segmenter, Watched(engine, meter, image)):
            found = segmenter.segment([image], task=segmenter.task)[0]
    meter.lap(REST)
    # A mask set keeps what readings find out about it: this one was not read in an earlier round.
    masks = dataclasses.replace(subject.masks or found)
    masks.require(*READINGS)
    read = (masks.mask_logits, masks.class_logits)
    semantic = masks.semantic()
    meter.lap("semantic", read, semantic.ids)
    instances = masks.instances()
    meter.lap("instances", read, [instance.mask for instance in instances])
    panoptic = masks.panoptic()
    meter.lap("panoptic", read, panoptic.ids)
    panels(image, semantic, instances, panoptic)
    meter.lap("draw")


@contextlib.contextmanager
def running(segmenter: Segmenter, engine: Engine) -> Iterator[None]:
    """While active, ``segmenter`` has this engine."""
    before = segmenter.engine
    segmenter.engine = engine
    try:
        yield
    finally:
        segmenter.engine = before


class Watched:
    """An engine that tells the meter when its preparation and the network end."""

    runs_modules = False

    def __init__(self, engine: Engine, meter: Meter, *images: Tensor) -> None:
        self.name, self.model, self.preparation = engine.name, engine.model, engine.preparation
        self._engine, self._meter, self._images = engine, meter, images

    def __call__(
        self, pixels: Tensor, precision: torch.dtype | None = None, ask: Ask | None = None
    ) -> Prediction:
        """See :class:`triptych.engines.base.Engine`."""
        self._meter.lap("preprocess", self._images, pixels)
        prediction = self._engine(pixels, precision, ask)
        self._meter.lap("network", self.model, pixels, prediction)
        return prediction

    def encode(self, pixels: Tensor, precision: torch.dtype | None = None) -> Features:
        """See :class:`triptych.engines.base.Engine`; only whole passes are measured."""
        return self._engine.encode(pixels, precision)

    def decode(
        self, features: Features, ask: Ask | None = None, precision: torch.dtype | None = None
    ) -> Prediction:
        """See :class:`triptych.engines.base.Engine`; only whole passes are measured."""
        return self._engine.decode(features, ask, precision)


@contextlib.contextmanager
def laps_inside(model: nn.Module, meter: Meter, *images: Tensor) -> Iterator[None]:
    """While active, ``model`` tells the meter when its preparation and its submodules end."""

    def before_model(module: nn.Module, given: Any) -> None:
        meter.lap("preprocess", images, given)

    def before(module: nn.Module, given: Any) -> None:
        meter.lap(REST)

    def after(name: str) -> Any:
        def hook(module: nn.Module, given: Any, made: Any) -> None:
            meter.lap(name.replace("_", " "), module, given, made)

        return hook

    hooks = [model.register_forward_pre_hook(before_model)]
    for name, child in model.named_children():
        hooks.append(child.register_forward_pre_hook(before))
        hooks.append(child.register_forward_hook(after(name)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Seconds:
    """Time of each stage."""

    def __init__(self, device: torch.device) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._device = device

    def begin(self) -> None:
        """Start the clock."""
        self._last = now(self._device)

    def lap(self, stage: str, *touched: Any) -> None:
        """Note the time since the last lap."""
        here = now(self._device)
        self.spent[stage] += here - self._last
        self._last = now(self._device)


class Needs:
    """Memory that each stage needs beyond what there was when it began."""

    def __init__(self, device: torch.device) -> None:
        self.needed: dict[str, int | None] = {}
        self._peak = Peak(device)

    def begin(self) -> None:
        """Count from here."""
        self._peak.begin()

    def lap(self, stage: str, *touched: Any) -> None:
        """Note the highest since the last lap."""
        found = self._peak.bytes()
        earlier = self.needed.get(stage)
        self.needed[stage] = found if earlier is None else max(earlier, found or 0)
        self._peak.begin()


class Work:
    """Operations and bytes that no implementation of a stage can do without.

    Operations are those of matrix products, convolutions and attention, two a multiplication with
    its addition, in the form in which this network computes them. Bytes are what goes in, what
    comes out, and the weights, each once. To be used as a context manager around the walk.
    """

    def __init__(self) -> None:
        self.operations: dict[str, int] = defaultdict(int)
        self.bytes: dict[str, int] = defaultdict(int)
        attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        formulas: dict[Any, Any] = {attention: _attention}
        if FUSED is not None:
            formulas[FUSED] = _linear
        self._counter = FlopCounterMode(display=False, custom_mapping=formulas)

    def __enter__(self) -> Work:
        self._counter.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._counter.__exit__(*error)

    def begin(self) -> None:
        """Count from here."""
        self._last = self._counter.get_total_flops()

    def lap(self, stage: str, *touched: Any) -> None:
        """Note what was counted since the last lap."""
        here = self._counter.get_total_flops()
        self.operations[stage] += here - self._last
        self.bytes[stage] += sum(tensors_in(touched).values())
        self._last = here


def _attention(
    queries: tuple[int, ...],
    keys: tuple[int, ...],
    values: tuple[int, ...],
    *args: Any,
    **rest: Any,
) -> int:
    """Operations of attention, by shapes: torch has the formula, but not for its CPU kernel."""
    return int(sdpa_flop_count(queries, keys, values))


def _linear(x: tuple[int, ...], weight: tuple[int, ...], *args: Any, **rest: Any) -> int:
    """Operations of oneDNN's linear layer, which torch does not count."""
    return 2 * math.prod(x) * weight[0]


def tensors_in(value: Any) -> dict[int, int]:
    """Identity to bytes of the tensors in lists, dataclasses and modules; each one once."""
    if isinstance(value, Tensor):
        return {id(value): value.numel() * value.element_size()}
    if isinstance(value, nn.Module):
        return tensors_in([*value.parameters(), *value.buffers()])
    if dataclasses.is_dataclass(value):
        return tensors_in([getattr(value, field.name) for field in dataclasses.fields(value)])
    found: dict[int, int] = {}
    if isinstance(value, list | tuple):
        for part in value:
            found |= tensors_in(part)
    return found
