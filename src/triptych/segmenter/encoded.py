"""An image that the network has looked at once, to be asked about as often as one likes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from triptych.class_table import Merged
from triptych.classes import Classes
from triptych.engines.base import Engine
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.networks.contract import TASKS, Ask, Features, Prediction, Task, tensors_of
from triptych.readings.masks import Masks
from triptych.readings.settings import ReadingSettings
from triptych.segmenter.memory import memory_told
from triptych.segmenter.prompts import Prompt
from triptych.segmenter.question import Question, misunderstood, on_device


@dataclass(frozen=True)
class Answering:
    """How a network's predictions become mask sets."""

    engine: Engine
    autocast: torch.dtype | None
    classes: Classes
    """Those of the network."""
    readings: ReadingSettings
    merged: Merged | None = None
    """What became of them, if they were regrouped."""

    @property
    def asks(self) -> frozenset[type]:
        """What the network understands; see :class:`triptych.networks.contract.Network`."""
        found: frozenset[type] = getattr(self.engine.model, "asks", frozenset())
        return found

    @property
    def task(self) -> str | None:
        """The task that the network is told where nobody says another; None: it is told none."""
        return "panoptic" if Task in self.asks else None

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.engine.model.parameters()).device

    def decode(self, features: Features, ask: Ask | None) -> Prediction:
        """Decode features of an image."""
        with memory_told("these prompts at once; ask about fewer"):
            return self.engine.decode(features, on_device(ask, self.device), self.autocast)

    def for_readings(self, pixels: Tensor, geometries: Sequence[Geometry]) -> Iterator[MaskSet]:
        """A mask set for each image of a batch: each reading has the masks of its own task."""
        features = self.engine.encode(pixels, self.autocast)
        by_task = {
            task: self.mask_sets(self.decode(features, Task(task)), geometries, task=task)
            for task in TASKS
        }
        for sets in zip(*by_task.values(), strict=True):
            masks = dict(zip(by_task, sets, strict=True))
            yield dataclasses.replace(masks["panoptic"], others=masks)

    def mask_sets(
        self, prediction: Prediction, geometries: Sequence[Geometry], *, task: str | None = None
    ) -> Iterator[MaskSet]:
        """A mask set for each image of a batch."""
        for index, geometry in enumerate(geometries):
            logits, quality = prediction.class_logits, prediction.quality
            # Copies: ordinary tensors outside inference mode, and keeping one mask set of a
            # batch does not keep the others.
            masks = MaskSet(
                prediction.mask_logits[index].to(torch.float32, copy=True),
                None if logits is None else logits[index].to(torch.float32, copy=True),
                self.classes,
                geometry,
                quality=None if quality is None else quality[index].to(torch.float32, copy=True),
                competition=self.engine.model.competition,  # type: ignore[arg-type]
                readings=self.readings,
                prompt=None if prediction.prompt is None else prediction.prompt.clone(),
                task=task,
            )
            yield masks if self.merged is None else masks.regrouped(self.merged)


@dataclass(frozen=True, eq=False, repr=False)
class EncodedImage:
    """What a network has seen in one image; made by :meth:`triptych.Segmenter.encode`.

    It never changes and may be asked from any thread. Its memory is freed with the last reference
    to it.
    """

    features: Features
    """Tensors that depend on the image alone; see :mod:`triptych.networks.contract`."""
    geometry: Geometry
    image: str
    """The image's token; see :func:`triptych.image.geometry.image_token`."""
    answering: Answering

    def __call__(
        self,
        *,
        task: str | None = None,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        mask: Masks | None = None,
        multimask: bool | None = None,
    ) -> MaskSet:
        """Decode the masks; the image is not encoded again.

        Coordinates are pixels of the original upright image, counted from 0.

        Args:
            task: "semantic", "instance" or "panoptic", for networks that are told one.
            points: for promptable networks: ``(n, 2)``, one prompt of ``n`` points, or a list of
                such, one for each prompt; they may differ in length.
            labels: in the same form without the last axis: 1 for a point of the object, 0 for one
                beside it; all 1 by default.
            boxes: ``(4,)`` or ``(P, 4)``: left, top, right, bottom. Points of a prompt go with its
                box.
            mask: an earlier answer about this image, one mask for each prompt, to be refined.
            multimask: three masks for each prompt, since it may mean a part or the whole, or one.
                By default three where every prompt is a single point.

        Raises:
            TriptychError: the network does not understand it, or prompts are wrong: see
                :func:`triptych.segmenter.prompts.read_prompts`.
        """
        question = Question(task, points, labels, boxes, mask, multimask)
        question.check(self.answering.asks)
        prompts = []
        if question.points_at_something:
            prompts = question.prompts(self.geometry.image_size, self.image)
        return self.answer(question, prompts)

    def answer(self, question: Question, prompts: list[Prompt]) -> MaskSet:
        """The same for prompts that are read already; of the question the rest counts."""
        found = []
        for ask, members in question.asks(prompts, self.geometry):
            prediction = self.answering.decode(self.features, ask)
            task = question.task or self.answering.task
            (masks,) = self.answering.mask_sets(prediction, [self.geometry], task=task)
            found.append((masks, members))
        return in_order(found, self.image)

    def with_classes(self, classes: Any, things: Sequence[str] = ()) -> NoReturn:
        """The same image with other classes; no family of networks here has an open vocabulary.

        Raises:
            TriptychError: always; the line says what the network understands.
        """
        raise misunderstood("other classes", self.answering.asks)

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return sum(t.numel() * t.element_size() for t in tensors_of(self.features).values())

    def __repr__(self) -> str:
        height, width = self.geometry.image_size
        return f"EncodedImage({width}x{height}, {self.nbytes / 1e6:.1f} MB)"


def in_order(found: Sequence[tuple[MaskSet, list[int]]], image: str) -> MaskSet:
    """One mask set of the answers to several asks about an image, by the order of the prompts.

    Args:
        found: mask sets, and to which prompts the answers in each belong.
        image: the image's token.
    """
    first = found[0][0]
    if first.prompt is None:
        return dataclasses.replace(first, image=image)
    numbers = torch.cat(
        [torch.tensor(members, dtype=torch.long, device="cpu")[_prompt(m)] for m, members in found]
    )
    order = numbers.argsort(stable=True)

    def merged(name: str) -> Tensor:
        return torch.cat([getattr(masks, name) for masks, _ in found])[order]

    return dataclasses.replace(
        first,
        mask_logits=merged("mask_logits"),
        quality=merged("quality"),
        prompt=numbers[order].to(first.mask_logits.device),
        image=image,
    )


def _prompt(masks: MaskSet) -> Tensor:
    assert masks.prompt is not None
    return masks.prompt.cpu()
