"""The graphs of a network: all of it, or one of its two halves, for inputs of fixed shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from triptych.errors import TriptychError
from triptych.networks.contract import (
    TASKS,
    Ask,
    EncoderDecoder,
    Features,
    Prediction,
    Prompts,
    Task,
    features_of,
    tensors_of,
)

Half = Literal["whole", "encode", "decode"]

Size = tuple[int, int]
"""Width and height in pixels."""

OUTPUTS = ("mask_logits", "class_logits", "quality")
"""What a graph that predicts may give, in this order; see
:class:`triptych.networks.contract.Prediction`."""

PLAIN_ASKS: Mapping[str, Ask] = {
    **{name: Task(name) for name in TASKS},
    "three": Prompts(multimask=True),
    "one": Prompts(multimask=False),
}
"""What is written into a graph as it is, by the word for it; the tensors of an ask are inputs."""


class Input(NamedTuple):
    """One input of a graph."""

    name: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Labels of points are whole numbers; all else is float32."""
        return torch.int64 if self.name == "labels" else torch.float32


@dataclass(frozen=True)
class Part:
    """What a graph computes, and of which inputs."""

    half: Half
    inputs: tuple[Input, ...]
    ask: Ask | None = None
    """One of :data:`PLAIN_ASKS`; None where the network is asked by default."""

    @property
    def name(self) -> str:
        """``whole``, ``encode``, ``decode``, or with what is asked, such as ``decode-panoptic``."""
        words = [word for word, ask in PLAIN_ASKS.items() if ask == self.ask]
        return "-".join([self.half, *words])

    @classmethod
    def named(cls, name: str, inputs: Mapping[str, tuple[int, ...]]) -> Part:
        """The part that has this :attr:`name`.

        Raises:
            ValueError: there is none.
        """
        half, _, word = name.partition("-")
        if half not in get_args(Half) or (word and word not in PLAIN_ASKS):
            raise ValueError(f"no part of a network is called {name!r}")
        given = tuple(Input(name, tuple(shape)) for name, shape in inputs.items())
        return cls(half, given, PLAIN_ASKS[word] if word else None)  # type: ignore[arg-type]

    def examples(self) -> tuple[Tensor, ...]:
        """Zeros of the inputs' shapes."""
        return tuple(torch.zeros(one.shape, dtype=one.dtype, device="cpu") for one in self.inputs)

    def __str__(self) -> str:
        shapes = ", ".join("x".join(map(str, one.shape)) for one in self.inputs[:1])
        return f"{self.name} of {shapes}"


def whole(size: Size) -> Part:
    """All of a network, for one picture of ``size``."""
    return Part("whole", (_pixels(size),))


def encoding(size: Size) -> Part:
    """The first half, for one picture of ``size``."""
    return Part("encode", (_pixels(size),))


def decoding(features: Features, ask: Ask | None) -> tuple[Part, tuple[Tensor, ...]]:
    """The second half for features and an ask like these, and its inputs."""
    tensors = tensors_of(features)
    if ask is not None:
        tensors |= tensors_in(ask)
    inputs = tuple(Input(name, tuple(tensor.shape)) for name, tensor in tensors.items())
    return Part("decode", inputs, plain(ask)), tuple(tensors.values())


def _pixels(size: Size) -> Input:
    width, height = size
    return Input("pixels", (1, 3, height, width))


def tensors_in(ask: Ask) -> dict[str, Tensor]:
    """The tensors of an ask by the names of its fields."""
    values = ((field.name, getattr(ask, field.name)) for field in dataclasses.fields(ask))
    return {name: value for name, value in values if isinstance(value, Tensor)}


def plain(ask: Ask | None) -> Ask | None:
    """An ask without its tensors."""
    return None if ask is None else _with_tensors(ask, dict.fromkeys(tensors_in(ask)))


def _with_tensors(ask: Ask, tensors: Mapping[str, Tensor | None]) -> Ask:
    return dataclasses.replace(ask, **tensors)  # type: ignore[arg-type]


class PartModule(nn.Module):
    """A part of a network as a module from tensors to a tuple of tensors, which graphs can hold."""

    def __init__(
        self, model: nn.Module, part: Part, tell: Callable[[tuple[str, ...]], None]
    ) -> None:
        super().__init__()
        self.model = model
        self.part = part
        self.tell = tell
        """Is told the names of what each call gives: torch.export would put an attribute back."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the part of its inputs, in their order."""
        if self.part.half == "whole":
            return self._named(outputs_of(self.model(*inputs)))
        model = two_halves(self.model)
        if self.part.half == "encode":
            return self._named(tensors_of(model.encode(*inputs)))
        named = dict(zip((one.name for one in self.part.inputs), inputs, strict=True))
        ask = self.part.ask
        if ask is not None:
            given = {f.name: named.pop(f.name) for f in dataclasses.fields(ask) if f.name in named}
            ask = _with_tensors(ask, given)
        features = features_of(model.features_type, named)
        return self._named(outputs_of(model.decode(features, ask)))

    def _named(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        self.tell(tuple(tensors))
        return tuple(tensors.values())


def two_halves(model: nn.Module) -> EncoderDecoder:
    """A network as one that encodes and decodes.

    Raises:
        TriptychError: it looks and answers in one go only.
    """
    if not isinstance(model, EncoderDecoder):
        raise TriptychError(
            f"{type(model).__name__} has no encode and decode; derive it from "
            "triptych.networks.contract.EncoderDecoder"
        )
    return model


def outputs_of(prediction: Prediction) -> dict[str, Tensor]:
    """The tensors of a prediction that are there, by the names in :data:`OUTPUTS`."""
    found = ((name, getattr(prediction, name)) for name in OUTPUTS)
    return {name: tensor for name, tensor in found if tensor is not None}


def prediction_of(outputs: Mapping[str, Tensor], prompts: int = 0) -> Prediction:
    """A prediction made of a graph's outputs, for so many prompts."""
    masks = outputs["mask_logits"]
    prompt = None
    if prompts:
        numbers = torch.arange(prompts, dtype=torch.long, device=masks.device)
        prompt = numbers.repeat_interleave(masks.shape[1] // prompts)
    return Prediction.from_logits(
        masks, outputs.get("class_logits"), quality=outputs.get("quality"), prompt=prompt
    )
