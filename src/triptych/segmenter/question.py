"""What a user asks of a network, checked and in the network's own terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import nn

from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.networks.contract import TASKS, Ask, Prompts, Task, Vocabulary
from triptych.readings.masks import Masks
from triptych.segmenter.prompts import Prompt, read_prompts

FILLER = -1
"""Label of a point that only fills up a row."""
CENTRE = 0.5
"""Where the centre of a pixel is, from its corner."""

WORDS: dict[type, str] = {
    Task: f"a task ({', '.join(TASKS)})",
    Prompts: "points, boxes and masks",
    Vocabulary: "other classes (with_classes)",
}
"""The kinds of ask, for messages."""


class Asking(TypedDict, total=False):
    """With what a user asks; see :meth:`triptych.segmenter.encoded.EncodedImage.__call__`."""

    task: str | None
    points: Any
    labels: Any
    boxes: Any
    mask: Masks | None
    multimask: bool | None


@dataclass(frozen=True)
class Question:
    """:class:`Asking`, with its defaults."""

    task: str | None = None
    points: Any = None
    labels: Any = None
    boxes: Any = None
    mask: Masks | None = None
    multimask: bool | None = None

    @property
    def points_at_something(self) -> bool:
        """Whether there is anything about prompts in it."""
        given = (self.points, self.labels, self.boxes, self.mask, self.multimask)
        return any(one is not None for one in given)

    def check(self, asks: frozenset[type]) -> None:
        """Refuse what a network does not understand, before it works.

        Raises:
            TriptychError: it is asked for what it does not understand, for an unknown task, or for
                nothing where it needs prompts.
        """
        if self.task is not None:
            if Task not in asks:
                raise misunderstood("a task", asks)
            if not isinstance(self.task, str) or self.task not in TASKS:
                raise TriptychError(f"no task is called {self.task!r}; use {' or '.join(TASKS)}")
        if not (self.multimask is None or isinstance(self.multimask, bool)):
            raise TriptychError(f"multimask= is {self.multimask!r}; give True or False")
        if self.points_at_something:
            if Prompts not in asks:
                raise misunderstood("points, boxes or masks", asks)
        elif Prompts in asks:
            raise TriptychError("there is no prompt; give points=, boxes= or both")

    def prompts(self, image_size: tuple[int, int], image: str) -> list[Prompt]:
        """The prompts, in pixels of the image.

        Args:
            image_size: ``(H, W)``.
            image: its token.

        Raises:
            TriptychError: as :func:`triptych.segmenter.prompts.read_prompts`.
        """
        return read_prompts(
            image_size,
            image,
            points=self.points,
            labels=self.labels,
            boxes=self.boxes,
            mask=self.mask,
        )

    def asks(
        self, prompts: list[Prompt], geometry: Geometry
    ) -> Iterator[tuple[Ask | None, list[int]]]:
        """What to ask the network about an image, in turn.

        Yields:
            An ask, and which of the prompts are in it.
        """
        if not prompts:
            yield Task(self.task) if self.task else None, []  # type: ignore[arg-type]
            return
        multimask = self.multimask
        if multimask is None:
            multimask = all(prompt.is_click for prompt in prompts)
        groups: dict[tuple[bool, bool, bool], list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault(prompt.kind, []).append(index)
        for members in groups.values():
            yield joined([prompts[i] for i in members], geometry, multimask), members


def misunderstood(what: str, asks: frozenset[type]) -> TriptychError:
    """The error of asking a network for what it does not understand."""
    known = [words for one, words in WORDS.items() if one in asks]
    understood = f"it understands {' and '.join(known)}" if known else "its classes are fixed"
    return TriptychError(f"this network does not take {what}; {understood}")


def joined(prompts: list[Prompt], geometry: Geometry, multimask: bool) -> Prompts:
    """Prompts of one kind as the network takes them: in pixels of its input.

    As the authors do, a user counts the pixels of an image, so that the centre of the first one is
    at 0; the network's input is resized from its corner.
    """
    (height, width), (h, w) = geometry.image_size, geometry.valid_size
    scale = torch.tensor((w / width, h / height), dtype=torch.float32, device="cpu")
    rows, marks = [p.points for p in prompts], [p.labels for p in prompts]
    points = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    labels = nn.utils.rnn.pad_sequence(marks, batch_first=True, padding_value=FILLER)
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    masks = [prompt.mask for prompt in prompts if prompt.mask is not None]
    return Prompts(
        points=points * scale + CENTRE if points.shape[1] else None,
        labels=labels if points.shape[1] else None,
        boxes=torch.stack(boxes) * scale.repeat(2) + CENTRE if boxes else None,
        masks=torch.stack(masks)[:, None] if masks else None,
        multimask=multimask,
    )


def on_device(ask: Ask | None, device: torch.device) -> Ask | None:
    """An ask with its tensors where the network computes."""
    if ask is None:
        return ask
    values = ((f.name, getattr(ask, f.name)) for f in dataclasses.fields(ask))
    moved = {name: v.to(device) for name, v in values if isinstance(v, torch.Tensor)}
    return dataclasses.replace(ask, **moved)  # type: ignore[arg-type]
