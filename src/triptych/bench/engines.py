"""The same network by another engine: is the answer that of eager, and how long does each take?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from triptych.bench import plain
from triptych.bench.beside import FEW, TOLERANCE, Agreement, class_map
from triptych.bench.rounds import now
from triptych.bench.subject import Subject
from triptych.bench.walk import running, walk
from triptych.engines.eager import Eager
from triptych.engines.graph import differences
from triptych.image.preprocess import load_image

Pair = tuple[Callable[[], Any], Callable[[], Any]]
"""A piece of work on both sides."""


class Silent:
    """A meter that notes nothing but waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> None:
        """See :class:`triptych.bench.walk.Meter`."""

    def lap(self, stage: str, *touched: Any) -> None:
        """See :class:`triptych.bench.walk.Meter`."""
        now(self._device)


class BesideEager:
    """A segmenter's engine, and eager.

    Args:
        subject: the network and the picture.
        precision: of eager's autocast; None for fp32.
    """

    def __init__(self, subject: Subject, precision: torch.dtype | None) -> None:
        self.subject = subject
        self.precision = precision
        self.eager = Eager(subject.segmenter.model)

    def pairs(self) -> dict[str, Pair]:
        """What is timed: the forward pass, and the whole way from file to drawing."""
        segmenter = self.subject.segmenter
        image = load_image(self.subject.file)
        pixels = segmenter.preprocess([image]).pixels.to(segmenter.device, segmenter.dtype)
        return {
            "forward": (
                lambda: segmenter.engine(pixels, segmenter.autocast),
                lambda: self.eager(pixels, self.precision),
            ),
            "file to drawing": (self._walk, self._walk_eager),
        }

    def agreements(self) -> list[Agreement]:
        """Of logits, and of readings unless they are made up, both in fp32 to the usual limits."""
        segmenter = self.subject.segmenter
        image = load_image(self.subject.file)
        pixels = segmenter.preprocess([image]).pixels.to(segmenter.device, segmenter.dtype)
        ours = segmenter.engine(pixels, segmenter.autocast)
        theirs = self.eager(pixels, self.precision)
        exact = segmenter.autocast is None and self.precision is None
        limit = TOLERANCE if exact else None
        found = [
            Agreement(name, "difference", apart, limit)
            for name, apart in differences(ours, theirs).items()
        ]
        if self.subject.masks is None:
            masks = segmenter.segment([image], task=segmenter.task)[0]
            with self._eager():
                others = segmenter.segment([image], task=segmenter.task)[0]
            shares = {
                "semantic": plain.same_pixels(masks.semantic().ids, others.semantic().ids),
                "panoptic": plain.same_pixels(
                    class_map(masks.panoptic()), class_map(others.panoptic())
                ),
            }
            least = 1 - FEW if exact else None
            found += [Agreement(name, "share", share, least) for name, share in shares.items()]
        return found

    def _walk(self) -> None:
        walk(self.subject, Silent(self.subject.segmenter.device))

    def _walk_eager(self) -> None:
        with self._eager():
            self._walk()

    @contextlib.contextmanager
    def _eager(self) -> Iterator[None]:
        segmenter = self.subject.segmenter
        before = segmenter.autocast
        segmenter.autocast = self.precision
        try:
            with running(segmenter, self.eager):
                yield
        finally:
            segmenter.autocast = before
