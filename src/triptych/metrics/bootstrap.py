"""How sure a figure is: intervals by the bootstrap over images, in one pass.

The bootstrap asks how a figure would vary over other samples of as many images: it draws images
with replacement and computes the figure anew, many times. Here each replicate gives an image a
Poisson weight of mean 1 as it comes by, which for more than a few images is the same as drawing
(Chamandy et al., "Estimating Uncertainty for Massive Data Streams", 2012). So nothing is kept of
an image but, for mask AP, its matches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.classes import Classes
from triptych.metrics.instance import ImageMatches
from triptych.metrics.panoptic import PanopticQuality
from triptych.metrics.semantic import ConfusionMatrix

RECALLS = np.linspace(0, 1, 101)
"""Recall levels at which COCO samples precision."""

AT50, AT75 = 0, 5
"""Places of the IoU thresholds 0.50 and 0.75 among COCO's ten."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class ImageCounts:
    """What one image adds to each metric; None where it has no such truth."""

    semantic: ConfusionMatrix | None = None
    panoptic: PanopticQuality | None = None
    matches: ImageMatches | None = None


class Bootstrap:
    """Intervals of mIoU, PQ and mask AP over any number of images.

    Args:
        classes: of the metrics.
        replicates: how often each figure is computed anew.
        seed: of the weights; the same images in the same order give the same intervals.
    """

    def __init__(self, classes: Classes, replicates: int = 500, seed: int = 0) -> None:
        self.classes, self.replicates, self.seed = classes, replicates, seed
        self._images = 0
        self._overlap = np.zeros((replicates, 2, len(classes)))  # intersection, union
        self._panoptic = np.zeros((replicates, 4, len(classes)))  # iou, tp, fp, fn
        self._matches: list[tuple[int, ImageMatches]] = []

    def weights(self, image: int) -> NDArray[np.float64]:
        """``(replicates,)`` how often each replicate holds the image of that number."""
        random = np.random.default_rng((self.seed, image))
        return random.poisson(1.0, self.replicates).astype(np.float64)

    def add(self, counts: ImageCounts) -> None:
        """Count one image."""
        weights = self.weights(self._images)
        if counts.semantic is not None:
            pair = np.stack((counts.semantic.intersection, counts.semantic.union))
            self._overlap += weights[:, None, None] * pair
        if counts.panoptic is not None:
            q = counts.panoptic
            self._panoptic += weights[:, None, None] * np.stack((q.iou, q.tp, q.fp, q.fn))
        if counts.matches is not None:
            self._matches.append((self._images, counts.matches))
        self._images += 1

    def samples(self) -> dict[str, NDArray[np.float64]]:
        """What each replicate gives: ``(replicates,)`` by figure, nan where one is undefined.

        miou, pq, pq_things, pq_stuff, ap, ap50 and ap75, as far as there is truth; and iou/CLASS,
        pq/CLASS, ap/CLASS and ap50/CLASS. Two checkpoints measured on the same images in the same
        order have the same weights, so the difference of their samples is that of the paired
        bootstrap.
        """
        found: dict[str, NDArray[np.float64]] = {}

        def by_class(figure: str, values: NDArray[np.float64]) -> None:
            for name, column in zip(self.classes.names, values.T, strict=True):
                found[f"{figure}/{name}"] = column

        if self._overlap.any():
            found["miou"] = _class_mean(self._overlap[:, 0], self._overlap[:, 1])
            by_class("iou", _share(self._overlap[:, 0], self._overlap[:, 1]))
        if self._panoptic.any():
            iou, tp, fp, fn = self._panoptic.transpose(1, 0, 2)
            size = tp + fp / 2 + fn / 2
            found["pq"] = _class_mean(iou, size)
            by_class("pq", _share(iou, size))
            for name, ids in (
                ("pq_things", self.classes.thing_ids),
                ("pq_stuff", self.classes.stuff_ids),
            ):
                found[name] = _class_mean(iou[:, list(ids)], size[:, list(ids)])
        if self._matches:
            weights = np.stack([self.weights(image) for image, _ in self._matches], axis=1)
            precision = resampled_precision(
                [matches for _, matches in self._matches], weights, len(self.classes)
            )
            found["ap"] = _mean(precision.reshape(self.replicates, -1))
            found["ap50"] = _mean(precision[:, :, AT50])
            found["ap75"] = _mean(precision[:, :, AT75])
            by_class("ap", precision.mean(2))
            by_class("ap50", precision[:, :, AT50])
        return found

    def intervals(self, level: float = 0.95) -> dict[str, Interval]:
        """Percentile intervals of the figures of :meth:`samples`, those of single classes aside."""
        return intervals(self.samples(), level)


def intervals(samples: dict[str, NDArray[np.float64]], level: float = 0.95) -> dict[str, Interval]:
    """Percentile intervals of samples by figure, those of single classes aside."""
    whole = {name: values for name, values in samples.items() if "/" not in name}
    return {name: ends for name, values in whole.items() if (ends := interval(values, level))}


def interval(values: NDArray[np.float64], level: float = 0.95) -> Interval | None:
    """The percentile interval of the replicates in which a figure is defined; None without any."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    low, high = np.percentile(defined, (50 * (1 - level), 100 - 50 * (1 - level)))
    return float(low), float(high)


def resampled_precision(
    images: list[ImageMatches], weights: NDArray[np.float64], classes: int
) -> NDArray[np.float64]:
    """Average precision ``(B, K, 10)`` of ``B`` weightings of the images, at COCO's thresholds.

    Args:
        images: matches of each image.
        weights: ``(B, len(images))`` how often an image counts.
        classes: ``K``.

    Returns:
        nan for a class with no object among the images that count.
    """
    result = np.full((len(weights), classes, 10), np.nan)
    for class_id in range(classes):
        having = [i for i, image in enumerate(images) if class_id in image.by_class]
        if not having:
            continue
        parts = [images[i].by_class[class_id] for i in having]
        owner = np.repeat(having, [len(part.scores) for part in parts])
        scores = np.concatenate([part.scores for part in parts])
        order = np.argsort(-scores, kind="stable")
        owner = owner[order]
        right = np.concatenate([part.right for part in parts], axis=1)[:, order]
        wrong = np.concatenate([part.wrong for part in parts], axis=1)[:, order]
        objects = weights[:, having] @ np.array([part.objects for part in parts])
        for replicate in np.flatnonzero(objects > 0):
            weight = weights[replicate, owner]
            result[replicate, class_id] = _average_precision(
                (right * weight).cumsum(1), (wrong * weight).cumsum(1), objects[replicate]
            )
    return result


def _average_precision(
    right: NDArray[np.float64], wrong: NDArray[np.float64], objects: float
) -> NDArray[np.float64]:
    """``(T,)`` from ``(T, D)`` numbers of right and wrong detections down to each score."""
    recall = right / objects
    precision = right / np.maximum(right + wrong, np.spacing(1))
    # Precision at a recall is the best one at that recall or beyond.
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate((best, np.zeros((len(best), 1))), axis=1)
    places = np.stack([np.searchsorted(row, RECALLS, side="left") for row in recall])
    mean: NDArray[np.float64] = np.take_along_axis(best, places, axis=1).mean(axis=1)
    return mean


def _class_mean(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the classes that have a whole of ``part / whole``, both ``(B, K)``."""
    return _mean(_share(part, whole))


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """``part / whole``, nan where there is no whole."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean along the last dimension of those that are defined; nan where none is."""
    defined = ~np.isnan(values)
    count = defined.sum(-1)
    total = np.where(defined, values, 0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
