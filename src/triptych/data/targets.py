"""Ground truth of one training image: a set of segments, and what is not known about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from triptych.truth import IGNORE


@dataclass(frozen=True)
class Targets:
    """The ``T`` segments of one image, and ``C`` ambiguous regions, on an ``h x w`` grid."""

    class_ids: Tensor
    """``(T,)`` int64: stuff has one entry per class present, things one per instance."""

    masks: Tensor
    """``(T, h, w)`` bool. Void and ambiguous pixels belong to none. Segments are disjoint, unless
    the data are outlines of objects that overlap."""

    semantic: Tensor
    """``(h, w)`` int64 dense class ids; where the class is unknown
    :func:`~triptych.truth.ignored_id` of their number."""

    ambiguous: Tensor
    """``(C, h, w)`` bool: connected regions of a thing class whose split into instances is unknown.
    Each holds one object or several touching ones, and none of these reaches out of it."""

    ambiguous_class_ids: Tensor
    """``(C,)`` int64."""

    void: Tensor | None = None
    """``(h, w)`` bool: where nothing is known. By default, where the class is unknown (given where
    there are more than 255 classes). It is less where the data tell of objects only: then all else
    has no class, but is known to be in none."""

    unlabelled: Tensor | None = None
    """``(U,)`` int64: classes that nobody labelled in this image. Where no segment lies there may
    be any of them, so a query that finds one is not wrong. None: every class was labelled."""

    padding: Tensor | None = None
    """``(h, w)`` bool: beyond the border of the image. Void as well, but nothing is there, and that
    is known. None: nowhere."""

    @cached_property
    def all_class_ids(self) -> Tensor:
        """``(T + C,)``: the classes of the segments, then of the ambiguous regions."""
        return torch.cat((self.class_ids, self.ambiguous_class_ids))

    @cached_property
    def all_masks(self) -> Tensor:
        """``(T + C, h, w)``: the segments, then the ambiguous regions."""
        return torch.cat((self.masks, self.ambiguous))

    @property
    def unclear(self) -> Tensor:
        """``(h, w)`` bool: void within the image, where there may be an object of any class."""
        return ~self.known if self.padding is None else ~self.known & ~self.padding

    @property
    def known(self) -> Tensor:
        """``(h, w)`` bool: where something is known; losses leave the other pixels out."""
        return self.semantic != IGNORE if self.void is None else ~self.void


@dataclass(frozen=True)
class Sample:
    """One training image: ``pixels`` is ``(3, h, w)`` uint8 RGB, not normalised."""

    pixels: Tensor
    targets: Targets
    name: str
