"""Switching a model and a processor of transformers to our code, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal, TypeVar, get_args

from triptych.checkpoints.labels import read_labels
from triptych.checkpoints.names.registry import family
from triptych.errors import TriptychError
from triptych.interop.accelerate import processors
from triptych.interop.accelerate.authors import AuthorsRule
from triptych.interop.accelerate.forward import ANSWERS, Forward
from triptych.interop.accelerate.uncovered import Uncovered

Rule = Literal["transformers", "authors"]

KNOWN = ("5.23",)
"""Versions of transformers whose results ours were compared with."""

Model = TypeVar("Model")


def accelerate(model: Model, processor: Any = None, *, rule: Rule = "transformers") -> Model:
    """Make a model of transformers, and its processor, quicker in place.

    The model's ``forward`` and the processor's ``post_process_*`` functions are replaced by ours.
    They take the same arguments and give the same objects. The weights are shared: what trains or
    loads the model goes on to work. Where ours would not give what theirs does (in training mode,
    with gradients, for hidden states, with hooks inside the model, ...) theirs runs, and a line of
    the log at level INFO says why. Twice is as once.

    Args:
        model: ``SegformerForSemanticSegmentation``, ``MaskFormerForInstanceSegmentation``,
            ``Mask2FormerForUniversalSegmentation`` or ``OneFormerForUniversalSegmentation``.
        processor: its image processor, or what has one; None leaves post-processing as it is.
        rule: ``"transformers"`` gives their results, to the bit for equal outputs of the network;
            ``"authors"`` those of :mod:`triptych.readings`.

    Returns:
        The model.

    Raises:
        TriptychError: it is another kind of model, or has an option that is not supported here;
            the processor does not fit it; or this version of transformers is not known. Both are
            untouched then.

    >>> accelerate(model, processor)  # doctest: +SKIP
    """
    if rule not in get_args(Rule):
        raise TriptychError(f"no rule is called {rule!r}; use transformers or authors")
    _check_version()
    given: Any = model
    name = _family_of(given)
    image_processor = _image_processor(processor)
    if image_processor is not None:
        _check_processor(image_processor, name)
    readings = None if image_processor is None else _readings(given, name, image_processor, rule)
    if not isinstance(given.__dict__.get("forward"), Forward):
        if "forward" in given.__dict__:
            raise TriptychError(
                f"the forward of this {type(model).__name__} is replaced already (by device_map "
                "over several devices, say); accelerate a model that is whole on one"
            )
        forward = Forward(given)
        # In its __dict__: a module's own way would look for parameters in it.
        given.__dict__["forward"] = forward
    if readings is not None:
        processors.give(image_processor, readings)
    return model


@contextlib.contextmanager
def accelerated(
    model: Model, processor: Any = None, *, rule: Rule = "transformers"
) -> Iterator[Model]:
    """As :func:`accelerate`, for the length of a block.

    Raises:
        TriptychError: as :func:`accelerate`.
    """
    image_processor = _image_processor(processor)
    given: Any = model
    before = getattr(given, "__dict__", {}).get("forward"), type(image_processor)
    accelerate(model, processor, rule=rule)
    try:
        yield model
    finally:
        forward = given.__dict__.get("forward")
        if before[0] is None and isinstance(forward, Forward):
            del given.__dict__["forward"]
            with contextlib.suppress(Uncovered):
                forward.shared.release()
        if image_processor is not None:
            image_processor.__class__ = before[1]


def _check_version() -> None:
    try:
        import transformers
    except ImportError as error:
        raise TriptychError("transformers is not installed; pip install transformers") from error
    version = str(transformers.__version__)
    if ".".join(version.split(".")[:2]) not in KNOWN:
        raise TriptychError(
            f"transformers {version} is not known here, so its results could be others; known: "
            f"{', '.join(KNOWN)}"
        )


def _family_of(model: Any) -> str:
    """The family of a model that is covered.

    Raises:
        TriptychError: it is another one.
    """
    name = str(getattr(getattr(model, "config", None), "model_type", ""))
    kind = type(model).__name__
    wanted = [family(each).published for each in ANSWERS]
    known = [each.architecture for each in wanted if each is not None]
    published = family(name).published if name in ANSWERS else None
    if published is None or kind != published.architecture:
        raise TriptychError(f"a {kind} is not accelerated, only {', '.join(known)}")
    if getattr(model, "hf_quantizer", None) is not None:
        raise TriptychError(f"this {kind} is quantised; load it without quantization_config")
    return name


def _image_processor(processor: Any) -> Any:
    """The image processor within a processor."""
    return getattr(processor, "image_processor", processor)


def _check_processor(processor: Any, name: str) -> None:
    if processors.kind_of(processor) not in processors.FITTING[name]:
        raise TriptychError(
            f"a {type(processor).__name__} does not read what a {name} gives; give its own, "
            f"{' or '.join(processors.FITTING[name])}"
        )


def _readings(model: Any, name: str, processor: Any, rule: Rule) -> dict[str, Any]:
    if rule == "transformers":
        return processors.their_readings(processor)
    labels = read_labels(model.config.to_dict())
    settings = family(name).readings.replace(things_only=labels.panoptic)
    lengths = processors.run_lengths(processor)
    return processors.authors_readings(processor, AuthorsRule(labels.classes, settings, lengths))
