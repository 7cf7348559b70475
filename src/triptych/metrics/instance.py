"""Mask average precision as COCO defines it, fed image by image.

The counting is that of ``hotcoco``, a Rust implementation whose twelve figures equal those of
``pycocotools`` (the tests run both). It keeps scores and matches, not masks: about 100 small
records an image.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import hotcoco
import numpy as np
from hotcoco import mask as rle
from numpy.typing import ArrayLike, NDArray

from triptych.classes import Classes
from triptych.errors import TriptychError
from triptych.readings.instance import Instance, PlacedInstance
from triptych.truth import PlacedTruth, TrueInstance

Box = tuple[float, float, float, float]
RunLengths = dict[str, Any]


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's twelve figures and the precision of each class.

    Where there is nothing to find (no such class, no object of that size) a figure is nan;
    pycocotools prints -1 in its place.
    """

    ap: float
    """Mean of average precision over classes and the IoU thresholds 0.50, 0.55, ... 0.95."""
    ap50: float
    """At IoU 0.50."""
    ap75: float
    """At IoU 0.75."""
    ap_small: float
    """Objects below 32² pixels."""
    ap_medium: float
    """Objects of 32² to 96² pixels."""
    ap_large: float
    """Objects above 96² pixels."""
    ar1: float
    """Average recall with the best detection of each class in each image; of ten; of a hundred."""
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    per_class: tuple[float, ...]
    """``ap`` of each of the ``K`` classes."""
    per_class_50: tuple[float, ...]
    """``ap50`` of each."""


FIGURES = tuple(f for f in AveragePrecision.__dataclass_fields__ if "per_class" not in f)
"""Names of the twelve, in the order of pycocotools' ``stats``."""


@dataclass(frozen=True)
class ClassMatches:
    """Detections of one class in one image, best first, at COCO's ten IoU thresholds.

    Detections that match a crowd are neither right nor wrong.
    """

    scores: NDArray[np.float64]
    """``(D,)``."""
    right: NDArray[np.bool_]
    """``(10, D)``: matches an object."""
    wrong: NDArray[np.bool_]
    """``(10, D)``: matches nothing."""
    objects: int
    """How many objects there are to find."""


@dataclass(frozen=True)
class ImageMatches:
    """What mask AP needs to know of one image."""

    by_class: Mapping[int, ClassMatches]
    """Only classes that are found or to be found in it."""


class MaskAP:
    """Average precision of instance masks over any number of images.

    Args:
        classes: the ``K`` classes.
        keep_matches: whether :meth:`update` returns the matches of its image, for
            :mod:`triptych.metrics.bootstrap`; they are found a second time for that.
    """

    def __init__(self, classes: Classes, *, keep_matches: bool = False) -> None:
        self.classes = classes
        self.keep_matches = keep_matches
        self._images = 0
        self._truths = 0
        self._categories = [{"id": i, "name": name} for i, name in enumerate(classes.names)]
        self._stream = hotcoco.StreamingEval(self._categories, "segm")

    def update(
        self,
        predicted: Iterable[Instance],
        truth: Iterable[TrueInstance],
        ignored: NDArray[np.bool_] | None = None,
    ) -> ImageMatches | None:
        """Count one image.

        Args:
            predicted: what ``MaskSet.instances(threshold=0.0)`` gives: the benchmark ranks by
                score itself, and a threshold would only cut off recall. Pixels above and below
                the box of an instance are not looked at, unless the box is empty.
            truth: the objects; may be empty.
            ignored: ``(H, W)`` pixels that count as a crowd of every class: who is found there is
                neither right nor wrong.

        Returns:
            The image's matches with ``keep_matches``, else None.

        Raises:
            TriptychError: masks differ in size, or a class id is out of range.
        """
        predicted, truth = list(predicted), list(truth)
        height, width = self._size([*predicted, *truth], ignored)
        image = self._images = self._images + 1
        # Instances of several classes read from one query share their mask, or its cut. All are
        # held, so that no two ever have the same place in memory.
        held = [i.cut if isinstance(i, PlacedInstance) else i.mask for i in predicted]
        code_of: dict[int, RunLengths] = {}
        for mask, instance in zip(held, predicted, strict=True):
            if id(mask) not in code_of:
                if isinstance(instance, PlacedInstance):
                    code_of[id(mask)] = placed_run_lengths(mask, instance.box, (height, width))
                else:
                    code_of[id(mask)] = turned_run_lengths(mask, instance.box)
        detections = [
            {
                "image_id": image,
                "category_id": instance.class_id,
                "score": instance.score,
                "segmentation": code_of[id(mask)],
            }
            for mask, instance in zip(held, predicted, strict=True)
        ]
        annotations = []
        for true in truth:
            code = _true_run_lengths(true)
            self._truths += 1
            annotations.append(
                {
                    "id": self._truths,
                    "image_id": image,
                    "category_id": true.class_id,
                    "iscrowd": int(true.crowd),
                    "area": float(rle.area(code) if true.area is None else true.area),
                    "bbox": rle.to_bbox(code).tolist(),
                    "segmentation": code,
                }
            )
        if ignored is not None and ignored.any():
            annotations += self._crowds(ignored, image, {i.class_id for i in predicted})
        size = {"id": image, "height": width, "width": height}  # turned, as the masks are
        return self.count(size, annotations, detections)

    def _crowds(
        self, region: NDArray[np.bool_], image: int, class_ids: Iterable[int]
    ) -> list[dict[str, Any]]:
        """One region as a crowd of each class; classes that nobody finds need none."""
        code = turned_run_lengths(region)
        crowds = []
        for class_id in sorted(class_ids):
            self._truths += 1
            crowds.append(
                {
                    "id": self._truths,
                    "image_id": image,
                    "category_id": class_id,
                    "iscrowd": 1,
                    "area": float(rle.area(code)),
                    "bbox": rle.to_bbox(code).tolist(),
                    "segmentation": code,
                }
            )
        return crowds

    def count(
        self,
        image: dict[str, Any],
        annotations: list[dict[str, Any]],
        detections: list[dict[str, Any]],
    ) -> ImageMatches | None:
        """:meth:`update` for masks that are run lengths already.

        Args:
            image: ``id`` (of its own), ``height`` and ``width``.
            annotations: the objects, as the files of COCO describe them, with bytes for counts.
            detections: what was found, as COCO's files of results do.
        """
        self._stream.update([image], annotations, detections)
        return self._matches(image, annotations, detections) if self.keep_matches else None

    def _matches(
        self, size: dict[str, Any], annotations: list[Any], detections: list[Any]
    ) -> ImageMatches:
        """Match the detections of one image as the stream does, and keep the outcome."""
        dataset = {"images": [size], "annotations": annotations, "categories": self._categories}
        truth = hotcoco.COCO(dataset)
        evaluation = hotcoco.COCOeval(truth, truth.load_res(detections), "segm")
        evaluation.params.area_rng = evaluation.params.area_rng[:1]  # any size
        evaluation.params.area_rng_lbl = evaluation.params.area_rng_lbl[:1]
        evaluation.evaluate()
        by_class = {}
        for record in filter(None, evaluation.eval_imgs):
            shape = (10, len(record["dtScores"]))
            counts = ~np.asarray(record["dtIgnore"], bool).reshape(shape)
            matched = np.asarray(record["dtMatched"], bool).reshape(shape)
            by_class[int(record["category_id"])] = ClassMatches(
                np.asarray(record["dtScores"], np.float64),
                matched & counts,
                ~matched & counts,
                int(np.count_nonzero(~np.asarray(record["gtIgnore"], bool))),
            )
        return ImageMatches(by_class)

    def compute(self) -> AveragePrecision:
        """The figures so far; more images may follow."""
        evaluation = copy.copy(self._stream).finalize()
        evaluation.accumulate()
        # (IoU thresholds, recall points, classes, sizes, most detections) and the same without
        # the recall points; -1 where there is nothing to find.
        figures = evaluation.eval
        assert figures is not None  # accumulate() has filled it
        precision, recall = figures["precision"], figures["recall"]
        every, small, medium, large = range(4)
        one, ten, hundred = range(3)
        at50, at75 = 0, 5
        return AveragePrecision(
            ap=_mean(precision[..., every, hundred]),
            ap50=_mean(precision[at50, ..., every, hundred]),
            ap75=_mean(precision[at75, ..., every, hundred]),
            ap_small=_mean(precision[..., small, hundred]),
            ap_medium=_mean(precision[..., medium, hundred]),
            ap_large=_mean(precision[..., large, hundred]),
            ar1=_mean(recall[..., every, one]),
            ar10=_mean(recall[..., every, ten]),
            ar100=_mean(recall[..., every, hundred]),
            ar_small=_mean(recall[..., small, hundred]),
            ar_medium=_mean(recall[..., medium, hundred]),
            ar_large=_mean(recall[..., large, hundred]),
            per_class=tuple(
                _mean(precision[:, :, i, every, hundred]) for i in range(len(self.classes))
            ),
            per_class_50=tuple(
                _mean(precision[at50, :, i, every, hundred]) for i in range(len(self.classes))
            ),
        )

    def _size(
        self, masked: list[Instance | TrueInstance], ignored: NDArray[np.bool_] | None
    ) -> tuple[int, int]:
        """The size ``(H, W)`` of all masks of an image; any where there is none."""
        for instance in masked:
            if not 0 <= instance.class_id < len(self.classes):
                raise TriptychError(
                    f"an instance has class {instance.class_id}; "
                    f"class ids go from 0 to {len(self.classes) - 1}"
                )
        sizes = {_size_of(one) for one in masked} or {(1, 1)}
        if masked and ignored is not None:
            sizes.add((int(ignored.shape[0]), int(ignored.shape[1])))
        if len(sizes) > 1:
            raise TriptychError(
                f"instance masks of one image have sizes {sorted(sizes)}; "
                "resize the predicted ones to the truth"
            )
        return sizes.pop()


def _size_of(one: Instance | TrueInstance) -> tuple[int, int]:
    if isinstance(one, TrueInstance | PlacedInstance):
        return one.size
    return int(one.mask.shape[0]), int(one.mask.shape[1])


def _true_run_lengths(true: TrueInstance) -> RunLengths:
    if isinstance(true, PlacedTruth):
        assert true.box is not None
        return placed_run_lengths(true.cut, true.box, true.size)
    return turned_run_lengths(true.mask, true.box)


def placed_run_lengths(cut: ArrayLike, box: Box, size: tuple[int, int]) -> RunLengths:
    """:func:`turned_run_lengths` of a mask of which only what lies in its box is there.

    Args:
        cut: of truth values, ``(y1 - y0, x1 - x0)``.
        box: ``(x0, y0, x1, y1)`` in whole pixels.
        size: of the image, ``(H, W)``.
    """
    left, top, right, bottom = (int(edge) for edge in box)
    rows = np.zeros((bottom - top, size[1]), bool)
    rows[:, left:right] = np.asarray(cut)
    if not rows.size:  # an empty box
        return turned_run_lengths(np.zeros((1, 1), bool)) | {"size": [size[1], size[0]]}
    counts = rle.encode(rows.T)["counts"]
    if top:
        counts = _lengthen(counts, top * size[1])
    return {"size": [size[1], size[0]], "counts": counts}


def turned_run_lengths(mask: ArrayLike, box: Box | None = None) -> RunLengths:
    """COCO's run lengths of a mask ``(H, W)`` turned over its diagonal, so that rows are columns.

    COCO counts down the columns, and to do so in an image that lies row by row takes ten times as
    long. Areas and overlaps, all that mask AP asks of masks, are the same either way.

    Args:
        mask: of truth values.
        box: around it, ``(x0, y0, x1, y1)`` in pixels, exclusive bottom; rows above and below are
            not read, unless it is None or empty.

    Returns:
        ``size`` (W, H) and ``counts``, which do not reach below the box.
    """
    pixels = np.asarray(mask).astype(np.bool_, copy=False)
    height, width = pixels.shape
    top, bottom = 0, height
    if box is not None and box[1] < box[3]:
        top, bottom = int(box[1]), math.ceil(box[3])
    counts = rle.encode(pixels[top:bottom].T)["counts"]
    if top:
        counts = _lengthen(counts, top * width)
    return {"size": [width, height], "counts": counts}


def _lengthen(counts: bytes, by: int) -> bytes:
    """Run lengths whose first run is longer; no other is written relative to it.

    Source: ``rleToString`` of COCO's API. Numbers are in digits of 5 bits, the lowest first; the
    sixth bit says that another follows, the fifth of the last one is the sign, and 48 is added.
    """
    for last, digit in enumerate(counts):
        by += (digit - 48 & 31) << 5 * last
        if not digit - 48 & 32:
            break
    digits = []
    while by > 15:
        digits.append((by & 31 | 32) + 48)
        by >>= 5
    return bytes((*digits, by + 48)) + counts[last + 1 :]


def _mean(figures: NDArray[np.float64]) -> float:
    defined = figures[figures > -1]
    return float(defined.mean()) if defined.size else float("nan")
