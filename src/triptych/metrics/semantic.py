"""Pixel-wise quality of a semantic map: confusion matrix, IoU of each class, their mean."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import TriptychError
from triptych.truth import ignored_id


class ConfusionMatrix:
    """Counts of pixels by true and predicted class, over any number of images.

    Its memory is the matrix: it does not grow with the images. The intersection over union of a
    class is counted over the whole set, as the PASCAL VOC and Cityscapes benchmarks do, and is
    not a mean over images.

    Args:
        classes: number of classes, ``K``.
        ignore: truth id that is left out, whatever was predicted there; as a prediction, "none
            of these classes", which is a mistake. By default 255, or 65535 if there are more
            than 255 classes.
    """

    def __init__(self, classes: int, ignore: int | None = None) -> None:
        self.matrix: NDArray[np.int64] = np.zeros((classes, classes + 1), np.int64)
        """``(K, K + 1)`` pixels; rows are true classes, columns predicted ones, the last: none."""
        self.ignore = ignored_id(classes) if ignore is None else ignore

    def update(self, predicted: ArrayLike, true: ArrayLike) -> None:
        """Count one image.

        Args:
            predicted: ``(H, W)`` class ids, ``0..K-1`` or ``ignore``; a tensor in main memory will
                do.
            true: ``(H, W)`` class ids, ``0..K-1`` or ``ignore``.

        Raises:
            TriptychError: the sizes differ, or an id is out of range.
        """
        predicted, true = np.asarray(predicted), np.asarray(true)
        if predicted.shape != true.shape:
            raise TriptychError(
                f"semantic truth has size {true.shape}, the prediction {predicted.shape}; "
                "resize the prediction to the truth"
            )
        counted = true != self.ignore
        truth = true[counted].astype(np.int64)
        guess = predicted[counted].astype(np.int64)
        classes = len(self.matrix)
        none = guess == self.ignore
        for name, ids in (("truth", truth), ("prediction", guess[~none])):
            if ids.size and (ids.min() < 0 or ids.max() >= classes):
                wrong = ids[(ids < 0) | (ids >= classes)][0]
                raise TriptychError(
                    f"semantic {name} holds id {wrong}; ids go from 0 to {classes - 1}"
                    f" ({self.ignore} in the truth is left out)"
                )
        guess[none] = classes
        pairs = np.bincount(truth * (classes + 1) + guess, minlength=self.matrix.size)
        self.matrix += pairs.reshape(self.matrix.shape)

    def __iadd__(self, other: ConfusionMatrix) -> Self:
        """Count the images that another one has counted."""
        self.matrix += other.matrix
        return self

    @property
    def intersection(self) -> NDArray[np.int64]:
        """``(K,)`` pixels that were rightly given each class."""
        return self.matrix.diagonal()

    @property
    def union(self) -> NDArray[np.int64]:
        """``(K,)`` pixels that are of a class, or were given it, or both."""
        predicted: NDArray[np.int64] = self.matrix[:, :-1].sum(0)
        return predicted + self.matrix.sum(1) - self.intersection

    def iou(self) -> NDArray[np.float64]:
        """``(K,)`` intersection over union; nan for a class neither true nor predicted anywhere."""
        both, either = self.intersection, self.union
        return np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)

    @property
    def miou(self) -> float:
        """Mean of :meth:`iou` over the classes that have one; nan if there is none."""
        iou = self.iou()
        return float(iou[~np.isnan(iou)].mean()) if not np.isnan(iou).all() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of counted pixels whose class is right; nan before the first."""
        counted = int(self.matrix.sum())
        return float(self.matrix.trace() / counted) if counted else float("nan")
