"""Two checkpoints on the same images: the difference of their figures, and how sure it is.

The paired bootstrap: both are measured on the same resamplings of the images, so what makes an
image hard for both leaves the difference alone (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.errors import TriptychError
from triptych.evaluation.evaluate import Report
from triptych.metrics.bootstrap import Interval, interval

MAIN = ("miou", "pq", "pq_things", "pq_stuff", "ap", "ap50", "ap75")
MEAN = "mean of these"
"""What the mean over chosen classes is called."""


@dataclass(frozen=True)
class Difference:
    """One figure of two checkpoints."""

    name: str
    """Such as ``pq``, or ``pq/car`` for a class."""
    first: float
    second: float
    interval: Interval | None
    """95 % interval of the difference; None where no resampling has both figures."""

    @property
    def difference(self) -> float:
        """The second less the first."""
        return self.second - self.first


def compare(first: Report, second: Report, classes: Sequence[str] = ()) -> list[Difference]:
    """Compare two reports with samples of the bootstrap on the same images in the same order.

    Args:
        first: of the checkpoint that was there before.
        second: of the new one.
        classes: names of classes that are compared one by one, with their mean; none by default.

    Raises:
        TriptychError: a report has no samples, they are of different images, or there is no such
            class.
    """
    if not first.samples or not second.samples:
        raise TriptychError("to compare two checkpoints, measure both with the bootstrap")
    if first.figures["images"] != second.figures["images"]:
        raise TriptychError("the two checkpoints were measured on different images")
    found = [
        Difference(
            name,
            first.figures[name],
            second.figures[name],
            interval(second.samples[name] - first.samples[name]),
        )
        for name in MAIN
        if name in first.samples and name in second.samples
    ]
    for figure in first.per_class.keys() & second.per_class.keys():
        known = first.per_class[figure]
        for name in classes:
            if name not in known:
                raise TriptychError(f"no class {name!r}; there are: {', '.join(known)}")
    for figure in (figure for figure in first.per_class if figure in second.per_class):
        defined = [n for n in classes if not np.isnan(first.per_class[figure][n])]
        rows = []
        for name in defined:
            key = f"{figure}/{name}"
            pair = (first.per_class[figure][name], second.per_class[figure][name])
            rows.append(Difference(key, *pair, interval(_less(second, first, [key]))))
        found += rows
        if len(rows) > 1:
            keys = [row.name for row in rows]
            ends = interval(_less(second, first, keys))
            means = (_mean([r.first for r in rows]), _mean([r.second for r in rows]))
            found.append(Difference(f"{figure}/{MEAN}", *means, ends))
    return found


def _less(second: Report, first: Report, keys: Sequence[str]) -> NDArray[np.float64]:
    """``(replicates,)`` mean of some figures of the second, less that of the first."""
    return _over(second, keys) - _over(first, keys)


def _over(report: Report, keys: Sequence[str]) -> NDArray[np.float64]:
    with warnings.catch_warnings():  # a replicate without any of the classes
        warnings.simplefilter("ignore", RuntimeWarning)
        values: NDArray[np.float64] = np.nanmean([report.samples[key] for key in keys], axis=0)
    return values


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
