"""Images with ground truth, in the form that the metrics compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from triptych.errors import TriptychError

IGNORE = 255
"""Class id, in maps of classes, of pixels whose class is unknown (void, or padding)."""

VOID = 0
"""Segment id of pixels that belong to no segment, in truth and prediction alike."""


@dataclass(frozen=True)
class TrueInstance:
    """One object, or one crowd of them."""

    mask: NDArray[np.bool_]
    """``(H, W)``."""
    class_id: int
    crowd: bool = False
    """Many objects that nobody told apart: finding them is neither right nor wrong."""
    area: float | None = None
    """Pixels, for the size classes of mask AP; None counts the mask. COCO gives the polygon's."""
    box: tuple[float, float, float, float] | None = None
    """``(x0, y0, x1, y1)`` in pixels around the mask; None is looked for, which takes longer than
    anything else in mask AP."""


@dataclass(frozen=True)
class TrueSegment:
    """What one id of a panoptic truth means."""

    id: int
    class_id: int
    crowd: bool = False


@dataclass(frozen=True)
class PanopticTruth:
    """A partition of the image into segments.

    Raises:
        TriptychError: two segments share an id, or one has the id of void.
    """

    ids: NDArray[np.integer]
    """``(H, W)`` segment ids; 0 is void."""
    segments: Sequence[TrueSegment]

    def __post_init__(self) -> None:
        ids = [segment.id for segment in self.segments]
        if len(set(ids)) < len(ids) or VOID in ids:
            raise TriptychError(
                f"panoptic truth: segment ids {sorted(ids)} must differ, and {VOID} is void"
            )

    def instances(self, class_ids: Sequence[int]) -> list[TrueInstance]:
        """The segments of ``class_ids`` as objects, for mask AP; none of them overlap."""
        return [
            TrueInstance(self.ids == segment.id, segment.class_id, segment.crowd)
            for segment in self.segments
            if segment.class_id in class_ids
        ]

    def semantic(self, ignore: int) -> NDArray[np.uint8]:
        """``(H, W)`` class ids; ``ignore`` where no segment lies."""
        semantic = np.full(self.ids.shape, ignore, np.uint8)
        for segment in self.segments:
            semantic[self.ids == segment.id] = segment.class_id
        return semantic


@dataclass(frozen=True)
class Example:
    """One image and what is known about it."""

    image: Tensor
    """``(H, W, 3)`` uint8, as :func:`triptych.images.load_image` gives it."""
    semantic: NDArray[np.integer]
    """``(H, W)`` class ids; 255 where unknown."""
    panoptic: PanopticTruth | None = None
    """None where objects are not told apart: such an image does not count for PQ."""
    instances: Sequence[TrueInstance] | None = None
    """Objects as they were outlined, which may overlap; None: those of ``panoptic``. Where both
    are None, the image does not count for mask AP."""
    ignored: NDArray[np.bool_] | None = None
    """``(H, W)``: pixels of objects whose class nobody asks for (a class table leaves it out). They
    are void in the other two truths; in mask AP they are a crowd of every class. None: nowhere."""
