"""Images with ground truth: what data sets give, training learns and metrics compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import ndimage
from torch import Tensor

from triptych.errors import TriptychError

IntBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, right and bottom exclusive."""

IGNORE = 255
"""Class id, in maps of up to 255 classes, of pixels whose class is unknown (void, or padding)."""

WIDE_IGNORE = 65535
"""The same in maps of more classes, which have 16 bits."""

MAX_CLASSES = WIDE_IGNORE - 1
"""Classes that a map can tell apart."""

VOID = 0
"""Segment id of pixels that belong to no segment, in truth and prediction alike."""


def ignored_id(classes: int) -> int:
    """The id of unknown pixels in maps of so many classes: :data:`IGNORE` up to 255 of them."""
    return IGNORE if classes <= IGNORE else WIDE_IGNORE


def map_type(classes: int) -> DTypeLike:
    """The type of maps of so many classes, unknown pixels included."""
    return np.uint8 if classes <= IGNORE else np.uint16


@dataclass(frozen=True)
class TrueInstance:
    """One object, or one crowd of them; see :class:`PlacedTruth` for large images."""

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

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        height, width = self.mask.shape
        return height, width

    @property
    def cut(self) -> NDArray[np.bool_]:
        """The mask inside :attr:`box`; the whole mask where there is no box."""
        rows, columns = self.window
        return self.mask[rows, columns]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the box; of the whole image where there is none."""
        if self.box is None:
            return slice(0, self.size[0]), slice(0, self.size[1])
        left, top, right, bottom = self.box
        return slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))


class PlacedTruth(TrueInstance):
    """An object of whose mask only what lies in the box is kept, so that many fit into memory.

    :attr:`mask` is made anew whenever it is asked for.
    """

    _cut: NDArray[np.bool_]
    _size: tuple[int, int]

    def __init__(
        self,
        cut: NDArray[np.bool_],
        box: IntBox,
        size: tuple[int, int],
        class_id: int,
        crowd: bool = False,
        area: float | None = None,
    ) -> None:
        """``cut`` is the mask inside ``box``, ``size`` that of the image, ``(H, W)``."""
        values = {"class_id": class_id, "crowd": crowd, "area": area, "box": box}
        for key, value in (values | {"_cut": cut, "_size": size}).items():
            object.__setattr__(self, key, value)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """``(H, W)``."""
        whole = np.zeros(self._size, bool)
        whole[self.window] = self._cut
        return whole

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self._size

    @property
    def cut(self) -> NDArray[np.bool_]:
        """The mask inside the box."""
        return self._cut


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
        wanted = [segment for segment in self.segments if segment.class_id in class_ids]
        if not wanted:
            return []
        # Numbered from 1 without gaps, which ids of COCO are not: boxes are found by number.
        table = np.zeros(max(int(self.ids.max()), *(s.id for s in wanted)) + 1, np.int32)
        table[[segment.id for segment in wanted]] = np.arange(1, len(wanted) + 1)
        numbers = table[self.ids]
        places = ndimage.find_objects(numbers, len(wanted))
        height, width = self.ids.shape
        found: list[TrueInstance] = []
        for number, (segment, place) in enumerate(zip(wanted, places, strict=True), start=1):
            rows, columns = place or (slice(0, 0), slice(0, 0))
            box = (columns.start, rows.start, columns.stop, rows.stop)
            cut = numbers[rows, columns] == number
            found.append(PlacedTruth(cut, box, (height, width), segment.class_id, segment.crowd))
        return found

    def semantic(self, ignore: int) -> NDArray[np.integer]:
        """``(H, W)`` class ids; ``ignore`` where no segment lies."""
        semantic = np.full(self.ids.shape, ignore, np.uint8 if ignore <= IGNORE else np.uint16)
        for segment in self.segments:
            semantic[self.ids == segment.id] = segment.class_id
        return semantic


@dataclass(frozen=True)
class Truth:
    """What is known about one image, without its pixels."""

    semantic: NDArray[np.integer]
    """``(H, W)`` class ids; :func:`ignored_id` for void."""
    panoptic: PanopticTruth | None = None
    instances: Sequence[TrueInstance] | None = None
    ignored: NDArray[np.bool_] | None = None
    """``(H, W)``: objects of classes that the class table leaves out; see :class:`Example`."""


@dataclass(frozen=True)
class Example:
    """One image and what is known about it."""

    image: Tensor
    """``(H, W, 3)`` uint8, as :func:`triptych.image.preprocess.load_image` gives it."""
    semantic: NDArray[np.integer]
    """``(H, W)`` class ids; :func:`ignored_id` where unknown."""
    panoptic: PanopticTruth | None = None
    """None where objects are not told apart: such an image does not count for PQ."""
    instances: Sequence[TrueInstance] | None = None
    """Objects as they were outlined, which may overlap; None: those of ``panoptic``. Where both
    are None, the image does not count for mask AP."""
    ignored: NDArray[np.bool_] | None = None
    """``(H, W)``: pixels of objects whose class nobody asks for (a class table leaves it out). They
    are void in the other two truths; in mask AP they are a crowd of every class. None: nowhere."""
