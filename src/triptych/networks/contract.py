"""What every network is: one that looks at an image once, and answers as often as it is asked.

``network.encode(pixels)`` gives features, which depend on the image alone;
``network.decode(features, ask)`` gives a set of masks. Networks with a fixed list of classes take
no ask.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, get_args

import torch
from torch import Tensor, nn

TaskName = Literal["semantic", "instance", "panoptic"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)

Features = Any
"""What ``encode`` gives and ``decode`` takes: a named tuple of tensors, and of tuples of such."""


@dataclass(frozen=True)
class Task:
    """Which reading the masks are for (OneFormer, Jain et al., CVPR 2023, section 3.1)."""

    name: TaskName


@dataclass(frozen=True)
class Prompts:
    """What a person points at (Segment Anything, Kirillov et al., ICCV 2023, section 3).

    ``P`` prompts for one image. Coordinates are ``(x, y)`` in pixels of the network's input, where
    the centre of the first pixel is at 0.5. Each prompt has points, a box, or both. What a prompt
    is answered depends on no other prompt.
    """

    points: Tensor | None = None
    """``(P, n, 2)`` float32."""
    labels: Tensor | None = None
    """``(P, n)`` int64: 1 for a point of the object, 0 for one beside it, -1 for a point that only
    fills up the row."""
    boxes: Tensor | None = None
    """``(P, 4)`` float32: left, top, right, bottom."""
    masks: Tensor | None = None
    """``(P, 1, h, w)`` float32: logits of an earlier answer, on the network's mask grid."""
    multimask: bool = True
    """Whether a prompt gets several masks, for what it may mean, or one."""

    def __len__(self) -> int:
        """The number of prompts, ``P``."""
        given = self.points if self.points is not None else self.boxes
        return 0 if given is None else len(given)


@dataclass(frozen=True)
class Vocabulary:
    """Classes as embeddings of text: a name and its synonyms give several rows for one class."""

    text: Tensor
    """``(S, D)`` float32, of length 1."""
    class_ids: Tensor
    """``(S,)`` int64: whose name each row is, 0 to ``K-1``."""


Ask = Task | Prompts | Vocabulary
"""What can be said to a network that has encoded an image."""


class MaskLogits(Protocol):
    """Masks of a batch, before sigmoid (of pixel labellers: before softmax over ``N``)."""

    @property
    def maps(self) -> Tensor:
        """``(B, C, h, w)``: what is read at points; layers of a decoder may share it."""
        ...

    def dense(self) -> Tensor:
        """All logits, ``(B, N, h, w)``."""
        ...

    def only(self, queries: list[int]) -> Self:
        """The masks of some queries."""
        ...

    def at(self, points: Tensor, read: Tensor) -> Tensor:
        """Logits ``(B, N, P)`` in float32 at points ``(B, P, 2)``, where the maps are ``read``.

        Args:
            points: x and y, 0 to 1 over the whole image.
            read: ``(B, C, P)``, :attr:`maps` at the points.
        """
        ...

    def chosen(self, layers: Sequence[Self], image: int, queries: Sequence[Tensor]) -> Tensor:
        """Logits ``(M, h, w)`` in float32 of some queries of each layer, layer after layer.

        Args:
            layers: masks of the layers of one decoder, this one's like.
            image: which of the batch.
            queries: the indices for each layer.
        """
        ...


@dataclass(frozen=True)
class DenseMasks:
    """Masks as plain logits."""

    maps: Tensor
    """``(B, N, h, w)``."""

    def dense(self) -> Tensor:
        """See :class:`MaskLogits`."""
        return self.maps

    def only(self, queries: list[int]) -> DenseMasks:
        """See :class:`MaskLogits`."""
        return DenseMasks(self.maps[:, queries])

    def at(self, points: Tensor, read: Tensor) -> Tensor:
        """See :class:`MaskLogits`."""
        return read.float()

    def chosen(self, layers: Sequence[DenseMasks], image: int, queries: Sequence[Tensor]) -> Tensor:
        """See :class:`MaskLogits`."""
        rows = [layer.maps[image, q] for layer, q in zip(layers, queries, strict=True)]
        return torch.cat(rows).float()


@dataclass(frozen=True)
class Prediction:
    """Raw output of a network: a set of masks for each image, before any reading."""

    masks: MaskLogits
    """Dense, or while training, with queries, what they are made of."""

    class_logits: Tensor | None
    """``(B, N, K+1)``, the last column being "no object"; None where query ``i`` is class ``i``,
    and for masks without classes. Log-probabilities of an open vocabulary fit unchanged."""

    quality: Tensor | None = None
    """``(B, N)``, 0 to 1: the network's own estimate of each mask (promptable networks)."""

    prompt: Tensor | None = None
    """``(N,)`` int64: which prompt each mask answers (promptable networks)."""

    auxiliary: tuple[Prediction, ...] = ()
    """What earlier decoder layers would have answered, first layer first. Filled only while
    training: nothing else reads it."""

    @classmethod
    def from_logits(
        cls, mask_logits: Tensor, class_logits: Tensor | None, **others: Any
    ) -> Prediction:
        """A prediction with dense masks ``(B, N, h, w)``; ``others`` are its other fields."""
        return cls(DenseMasks(mask_logits), class_logits, **others)

    @property
    def mask_logits(self) -> Tensor:
        """``(B, N, h, w)``, before sigmoid (for pixel labellers, before softmax over ``N``)."""
        return self.masks.dense()


class Network(Protocol):
    """A network, which is an ``nn.Module`` as well; ``forward`` is the two halves in one call."""

    size_divisor: int
    """Height and width of its input are multiples of this."""
    competition: Literal["independent", "softmax"]
    """Whether each mask stands by itself, or all compete for each pixel."""
    asks: frozenset[type]
    """Which of :class:`Task`, :class:`Prompts` and :class:`Vocabulary` it understands; empty for
    networks with a fixed list of classes."""

    def encode(self, pixels: Tensor) -> Features:
        """Look at normalised pixels ``(B, 3, H, W)``."""
        ...

    def decode(self, features: Features, ask: Ask | None = None) -> Prediction:
        """Answer. Without an ask, as the network is asked by default."""
        ...

    def __call__(self, pixels: Tensor, ask: Ask | None = None) -> Prediction:
        """Both."""
        ...


class EncoderDecoder(nn.Module):
    """A module whose ``forward`` is ``encode`` and ``decode``; it understands no ask by default."""

    asks: frozenset[type] = frozenset()
    features_type: type
    """The named tuple that ``encode`` gives."""

    def encode(self, pixels: Tensor) -> Features:
        """See :class:`Network`."""
        raise NotImplementedError

    def decode(self, features: Features, ask: Ask | None = None) -> Prediction:
        """See :class:`Network`."""
        raise NotImplementedError

    def forward(self, pixels: Tensor, ask: Ask | None = None) -> Prediction:
        """Predict masks for normalised pixels ``(B, 3, H, W)``."""
        return self.decode(self.encode(pixels), ask)


def tensors_of(features: Features) -> dict[str, Tensor]:
    """The tensors of features by name: ``mask_features``, ``memory.0``, ``memory.1``."""
    found: dict[str, Tensor] = {}
    for name, value in features._asdict().items():
        if isinstance(value, Tensor):
            found[name] = value
        else:
            found |= {f"{name}.{number}": tensor for number, tensor in enumerate(value)}
    return found


def features_of(kind: type, tensors: Mapping[str, Tensor]) -> Features:
    """Features of a ``kind``, a named tuple, from what :func:`tensors_of` gave."""
    values: dict[str, Any] = {}
    for name in kind._fields:  # type: ignore[attr-defined]
        rows = (f"{name}.{number}" for number in itertools.count())
        parts = itertools.takewhile(tensors.__contains__, rows)
        values[name] = tensors[name] if name in tensors else tuple(tensors[row] for row in parts)
    return kind(**values)
