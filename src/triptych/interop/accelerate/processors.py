"""Image processors whose ``post_process_*`` functions are ours."""

from __future__ import annotations

import copy
import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

from triptych.interop.accelerate.authors import AuthorsRule
from triptych.interop.accelerate.instances import instances
from triptych.interop.accelerate.panoptic import panoptic
from triptych.interop.accelerate.semantic import class_maps, label_maps
from triptych.interop.accelerate.uncovered import Uncovered

log = logging.getLogger(__name__)

Reading = Callable[..., Any]

SQUARE = 384
"""The side to which Mask2Former's processor resizes masks, whatever the input."""

_QUERIES = ("Mask2FormerImageProcessor", "MaskFormerImageProcessor", "OneFormerImageProcessor")

FITTING = {
    "segformer": ("SegformerImageProcessor",),
    "maskformer": _QUERIES,
    "mask2former": _QUERIES,
    "oneformer": _QUERIES,
}
"""Which processors read the outputs of a family."""

_SEMANTIC, _INSTANCES, _PANOPTIC = (
    f"post_process_{name}_segmentation" for name in ("semantic", "instance", "panoptic")
)


def kind_of(processor: Any) -> str:
    """The name of a processor's class among those that are known here; empty for others.

    Most have two classes, of which the one with ``Pil`` behind its name needs no torchvision.
    """
    known = {name for names in FITTING.values() for name in names}
    names = (each.__name__.removesuffix("Pil") for each in type(processor).__mro__)
    return next((name for name in names if name in known), "")


def is_accelerated(processor: Any) -> bool:
    """Whether its functions are ours."""
    return hasattr(type(processor), "_triptych_readings")


def give(processor: Any, readings: dict[str, Reading]) -> None:
    """Put readings in the place of a processor's own; they take the arguments of these.

    Its class becomes one below its own, so that nothing of ours is among its settings.
    """
    take(processor)
    own = type(processor)
    methods = {
        name: _method(getattr(own, name), reading)
        for name, reading in readings.items()
        if hasattr(own, name)
    }
    entries = {
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
        "__doc__": own.__doc__,
        "__reduce_ex__": _reduced,
        "_triptych_readings": readings,
    }
    processor.__class__ = type(own.__name__, (own,), entries | methods)


def take(processor: Any) -> None:
    """Give a processor its own functions back."""
    if is_accelerated(processor):
        processor.__class__ = type(processor).__mro__[1]


def _reduced(self: Any, protocol: Any) -> Any:
    """What pickles and copies of an accelerated processor are made from: its readings go along."""
    plain = copy.copy(self.__dict__)
    return _restored, (type(self).__mro__[1], plain, type(self)._triptych_readings)


def _restored(own: type, entries: dict[str, Any], readings: dict[str, Reading]) -> Any:
    processor: Any = object.__new__(own)
    processor.__dict__.update(entries)
    give(processor, readings)
    return processor


def _method(own: Any, reading: Reading) -> Any:
    told: set[str] = set()

    @functools.wraps(own)
    def read(self: Any, outputs: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return reading(outputs, *args, **kwargs)
        except Uncovered as reason:
            if str(reason) not in told:
                told.add(str(reason))
                log.info("transformers' own %s runs: %s", own.__name__, reason)
        return own(self, outputs, *args, **kwargs)

    return read


def their_readings(processor: Any) -> dict[str, Reading]:
    """The readings of a processor, with its results and our speed."""
    kind = kind_of(processor)
    if kind == "SegformerImageProcessor":
        return {_SEMANTIC: label_maps}
    square = SQUARE if kind == "Mask2FormerImageProcessor" else None
    semantic = functools.partial(class_maps, square=square)
    if kind == "OneFormerImageProcessor":
        # Its other functions, and all of its class with torchvision, resize by torchvision.
        pil = any(each.__name__.endswith("Pil") for each in type(processor).__mro__)
        return {_SEMANTIC: semantic} if pil else {}
    return {
        _SEMANTIC: semantic,
        _INSTANCES: functools.partial(
            instances, square=square, run_lengths=_run_lengths(processor)
        ),
        _PANOPTIC: functools.partial(panoptic, square=square),
    }


def authors_readings(processor: Any, rule: AuthorsRule) -> dict[str, Reading]:
    """The readings of the authors."""
    found: dict[str, Reading] = {_SEMANTIC: rule.semantic}
    if kind_of(processor) != "SegformerImageProcessor":
        found[_INSTANCES] = rule.instances
        found[_PANOPTIC] = rule.panoptic
    return found


def _run_lengths(processor: Any) -> Callable[[Any], Any]:
    """Their function from a map of ids to run lengths, whose numbers are of its own types."""
    for each in type(processor).__mro__:
        found = getattr(sys.modules[each.__module__], "convert_segmentation_to_rle", None)
        if found is not None:
            return found
    raise AttributeError("convert_segmentation_to_rle")


def run_lengths(processor: Any) -> Callable[[Any], Any] | None:
    """The same; None for processors without instances."""
    try:
        return _run_lengths(processor)
    except AttributeError:
        return None
