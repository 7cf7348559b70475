"""Which connected components of a thing class are single objects?

CamVid labels pixels by class only, so touching cars share one region. A component becomes an
instance only when its outline is that of one object: compact (it fills most of its convex hull),
with the proportions of its class, and large enough to judge. All else stays a region of unknown
split. The thresholds were set by looking at the decisions on random CamVid training frames;
they prefer to refuse, because a wrong instance teaches the network to merge objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

MAXIMAL_GAP = 3
"""Pixels. Parts of one object on both sides of a thin occluder (a pole) are joined over it."""


@dataclass(frozen=True)
class Plausibility:
    """Limits within which a component is taken for one object. Lengths are pixels at 480x360."""

    minimal_area: int
    minimal_height: int
    minimal_solidity: float
    """Area over area of the convex hull. Two objects side by side leave a notch in the outline."""

    minimal_fill: float
    """Area over area of the bounding box. A row of cars that recedes along the kerb can be almost
    convex, but it is a wedge and leaves a corner of its box empty."""

    aspect: tuple[float, float]
    """Smallest and largest width over height of the bounding box, when clear of the border."""

    border_aspect: tuple[float, float]
    """The same for a component that the image border cuts: part of the object is missing."""


def hull_area(mask: NDArray[np.bool_]) -> float:
    """Area of the convex hull of the pixel squares of ``mask`` (h, w), in pixels."""
    rows = np.flatnonzero(mask.any(axis=1))
    part = mask[rows]
    left = part.argmax(axis=1)
    right = part.shape[1] - part[:, ::-1].argmax(axis=1)
    points = np.concatenate([np.stack([rows + dy, xs], 1) for dy in (0, 1) for xs in (left, right)])
    return float(ConvexHull(points).volume)


def is_single(mask: NDArray[np.bool_], borders: int, rule: Plausibility) -> bool:
    """Tell whether ``mask`` (h, w), cut to its box, looks like one object.

    ``borders`` is the number of image borders that the box touches.
    """
    height, width = mask.shape
    area = int(mask.sum())
    if area < rule.minimal_area or height < rule.minimal_height or borders > 2:
        return False
    low, high = rule.border_aspect if borders else rule.aspect
    if not low <= width / height <= high:
        return False
    if area / mask.size < rule.minimal_fill:
        return False
    return area / hull_area(mask) >= rule.minimal_solidity


def single_components(
    mask: NDArray[np.bool_], rule: Plausibility
) -> list[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Components of ``mask`` (H, W) that pass ``rule``, as (box, mask within the box) pairs."""
    found: list[tuple[tuple[slice, slice], NDArray[np.bool_]]] = []
    if not mask.any():
        return found
    labels, _ = ndimage.label(bridge(mask), np.ones((3, 3), bool))
    boxes: list[tuple[slice, slice]] = ndimage.find_objects(labels)
    for number, (rows, columns) in enumerate(boxes, start=1):
        joined = labels[rows, columns] == number
        borders = [rows.start == 0, rows.stop == mask.shape[0]]
        borders += [columns.start == 0, columns.stop == mask.shape[1]]
        if is_single(joined, sum(borders), rule):
            found.append(((rows, columns), joined & mask[rows, columns]))
    return found


def bridge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``mask`` (H, W) with gaps up to :data:`MAXIMAL_GAP` wide filled along the rows.

    Only sideways, because thin occluders are upright.
    """
    reach = np.zeros(mask.shape, bool)
    filled = mask.copy()
    # A gap pixel is filled when the mask is found to both sides within the gap's width.
    for left in range(1, MAXIMAL_GAP + 1):
        for right in range(1, MAXIMAL_GAP + 2 - left):
            reach[:] = False
            reach[:, left:-right] = mask[:, : -left - right] & mask[:, left + right :]
            filled |= reach
    return filled
