"""Ground truth of one training image: a set of segments, and what is not known about it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

IGNORE = 255
"""Label of pixels whose class is unknown (void, or padding)."""


@dataclass(frozen=True)
class Targets:
    """The ``T`` segments of one image, and ``C`` ambiguous regions, on an ``h x w`` grid."""

    class_ids: Tensor
    """``(T,)`` int64: stuff has one entry per class present, things one per instance."""

    masks: Tensor
    """``(T, h, w)`` bool. Segments are disjoint; void and ambiguous pixels belong to none."""

    semantic: Tensor
    """``(h, w)`` int64 dense class ids, :data:`IGNORE` where the class is unknown."""

    ambiguous: Tensor
    """``(C, h, w)`` bool: pixels of a thing class whose split into instances is unknown. They are
    no target, but a query that lies in them is not wrong either. One entry per class."""

    ambiguous_class_ids: Tensor
    """``(C,)`` int64."""

    @property
    def known(self) -> Tensor:
        """``(h, w)`` bool: where the class is known; losses leave the other pixels out."""
        return self.semantic != IGNORE


@dataclass(frozen=True)
class Sample:
    """One training image: ``pixels`` is ``(3, h, w)`` uint8 RGB, not normalised."""

    pixels: Tensor
    targets: Targets
    name: str
