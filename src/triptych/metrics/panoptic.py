"""Panoptic quality (Kirillov et al., Panoptic Segmentation, CVPR 2019), counted image by image.

The rules for void and crowds are those of the authors' ``panopticapi``:

- a predicted and a true segment match when they are of one class and their intersection over
  union exceeds 0.5; predicted pixels on void truth do not enter the union;
- crowds match nothing and are not missed;
- an unmatched prediction is forgiven when more than half of it lies on void or on the crowd of
  its class (of several crowds of one class, only the last counts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.truth import VOID, PanopticTruth

if TYPE_CHECKING:
    from triptych.readings.panoptic import PanopticMap, Segment


@dataclass(frozen=True)
class Quality:
    """Panoptic quality of a group of classes: the mean over those that occur."""

    pq: float
    """Panoptic quality, ``sq * rq`` for a single class; nan when no class occurs."""
    sq: float
    """Segmentation quality: mean IoU of the matched segments."""
    rq: float
    """Recognition quality: F1 of the matches."""
    classes: int
    """How many classes occur, in truth or prediction, and were averaged."""


class PanopticQuality:
    """Panoptic quality over any number of images; memory is four numbers a class."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        count = len(classes)
        self.iou: NDArray[np.float64] = np.zeros(count)
        """``(K,)`` sum of the IoU of matched segments."""
        self.tp: NDArray[np.int64] = np.zeros(count, np.int64)
        """``(K,)`` matched segments."""
        self.fp: NDArray[np.int64] = np.zeros(count, np.int64)
        """``(K,)`` predicted segments that match nothing."""
        self.fn: NDArray[np.int64] = np.zeros(count, np.int64)
        """``(K,)`` true segments that nothing matches."""

    def update(self, predicted: PanopticMap, truth: PanopticTruth) -> None:
        """Count one image.

        Raises:
            TriptychError: the sizes differ, a map holds an id that no segment explains, a
                predicted segment has no pixel, or a class id is out of range.
        """
        shape = np.shape(predicted.ids)
        if shape != truth.ids.shape:
            raise TriptychError(
                f"panoptic truth has size {truth.ids.shape}, the prediction {shape}; "
                "resize the prediction to the truth"
            )
        for name, segments in (("truth", truth.segments), ("prediction", predicted.segments)):
            for segment in segments:
                if not 0 <= segment.class_id < len(self.classes):
                    raise TriptychError(
                        f"panoptic {name}: segment {segment.id} has class {segment.class_id}; "
                        f"class ids go from 0 to {len(self.classes) - 1}"
                    )
        # Row 0 and column 0 are void; segment i of a list is row or column i + 1.
        rows = _number(truth.ids, [s.id for s in truth.segments], "truth")
        columns = _number(predicted.ids, [s.id for s in predicted.segments], "prediction")
        height, width = len(truth.segments) + 1, len(predicted.segments) + 1
        overlap = np.bincount(rows * width + columns, minlength=height * width)
        self._count(overlap.reshape(height, width), predicted.segments, truth)

    def _count(
        self, overlap: NDArray[np.int64], predicted: Sequence[Segment], truth: PanopticTruth
    ) -> None:
        """Match segments by their ``overlap`` in pixels, ``(T + 1, P + 1)``, void first."""
        predicted_area = overlap.sum(0)[1:]
        true_area = overlap.sum(1)[1:]
        on_void = overlap[0, 1:]
        inside = overlap[1:, 1:]
        if not predicted_area.all():
            empty = predicted[int(np.argmin(predicted_area))].id
            raise TriptychError(f"panoptic prediction: segment {empty} has no pixel; leave it out")

        predicted_class = np.array([s.class_id for s in predicted], np.int64)
        true_class = np.array([s.class_id for s in truth.segments], np.int64)
        crowd = np.array([s.crowd for s in truth.segments], bool)

        union = true_area[:, None] + (predicted_area - on_void)[None] - inside
        # A union is empty only where a true segment has no pixel and the prediction lies on void.
        iou = np.divide(inside, union, out=np.zeros(inside.shape), where=union > 0)
        same = true_class[:, None] == predicted_class[None]
        match = same & ~crowd[:, None] & (iou > 0.5)
        # At most one match a segment, on either side (theorem 1 of the paper).
        t, p = np.nonzero(match)
        np.add.at(self.iou, true_class[t], iou[t, p])
        np.add.at(self.tp, true_class[t], 1)
        missed = ~match.any(1) & ~crowd
        np.add.at(self.fn, true_class[missed], 1)

        forgiven = on_void.astype(np.float64)
        last_crowd = {int(true_class[i]): i for i in np.flatnonzero(crowd)}
        for class_id, row in last_crowd.items():
            forgiven += np.where(predicted_class == class_id, inside[row], 0)
        wrong = ~match.any(0) & (forgiven <= 0.5 * predicted_area)
        np.add.at(self.fp, predicted_class[wrong], 1)

    def __iadd__(self, other: PanopticQuality) -> Self:
        """Count the images that another one has counted."""
        for name in ("iou", "tp", "fp", "fn"):
            getattr(self, name)[:] += getattr(other, name)
        return self

    def per_class(self) -> list[Quality]:
        """One entry a class, in their order; nan in a class that does not occur."""
        return [self._mean([class_id]) for class_id in range(len(self.classes))]

    def overall(self) -> Quality:
        """All classes."""
        return self._mean(range(len(self.classes)))

    def things(self) -> Quality:
        """Countable classes only."""
        return self._mean(self.classes.thing_ids)

    def stuff(self) -> Quality:
        """Uncountable classes only."""
        return self._mean(self.classes.stuff_ids)

    def _mean(self, class_ids: Sequence[int]) -> Quality:
        chosen = np.asarray(class_ids, np.int64)
        tp, iou = self.tp[chosen], self.iou[chosen]
        size = tp + 0.5 * self.fp[chosen] + 0.5 * self.fn[chosen]
        occurs = size > 0
        if not occurs.any():
            return Quality(float("nan"), float("nan"), float("nan"), 0)
        tp, iou, size = tp[occurs], iou[occurs], size[occurs]
        return Quality(
            pq=float((iou / size).mean()),
            sq=float((iou / np.maximum(tp, 1)).mean()),
            rq=float((tp / size).mean()),
            classes=int(occurs.sum()),
        )


def _number(ids: ArrayLike, known: Sequence[int], name: str) -> NDArray[np.int64]:
    """Flat map of 0 for void and ``i + 1`` for ``known[i]``, by a table: sorting is slower."""
    if min(known, default=1) <= VOID:
        raise TriptychError(f"panoptic {name}: segment id {min(known)}; ids start at 1, 0 is void")
    flat = np.asarray(ids).ravel().astype(np.int64)
    largest = max(int(flat.max(initial=0)), *known, 0)
    if int(flat.min(initial=0)) < 0:
        raise TriptychError(f"panoptic {name}: holds the negative id {flat.min()}; 0 is void")
    # Zero, which untouched memory holds for free, stands for ids that no segment explains.
    table = np.zeros(largest + 1, np.int64)
    table[VOID] = 1
    table[list(known)] = np.arange(len(known)) + 2
    numbers = table[flat]
    unknown = flat[numbers == 0]
    if unknown.size:
        raise TriptychError(
            f"panoptic {name}: id {unknown[0]} is in the map and not among its segments"
        )
    return numbers - 1
