"""Which connected components of a thing class are single objects?

CamVid labels pixels by class only, so touching cars share one region. A component becomes an
instance only when its outline is that of one object: compact (it fills most of its convex hull),
with the proportions of its class, and large enough to judge. All else stays a region of unknown
split. The limits prefer to refuse, because a wrong instance teaches the network to merge objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

MAX_GAP = 3
"""Pixels. Parts of one object on both sides of a thin occluder (a pole) are joined over it."""

MIN_AREA = 40
"""Pixels at 480x360. Below that, outlines say nothing."""


@dataclass(frozen=True)
class OutlineLimits:
    """One view of an object, as limits on its outline. Lengths are pixels at 480x360."""

    aspect: tuple[float, float]
    """Smallest and largest width over height of the bounding box."""

    height: int
    """Smallest height of the box."""

    solidity: float
    """Smallest area over area of the convex hull. Two objects side by side leave a notch."""

    fill: float
    """Smallest area over area of the box."""

    lopsided: float = 1.0
    """Largest distance of the centre of mass from the middle of the box, over its width. A row of
    cars that recedes along the kerb is a wedge, almost convex, but heavy on one side."""

    cut: bool = False
    """Whether this is the view of an object that an image border cuts."""


def hull_area(mask: NDArray[np.bool_]) -> float:
    """Area of the convex hull of the pixel squares of ``mask`` (h, w), in pixels."""
    rows = np.flatnonzero(mask.any(axis=1))
    part = mask[rows]
    left = part.argmax(axis=1)
    right = part.shape[1] - part[:, ::-1].argmax(axis=1)
    points = np.concatenate([np.stack([rows + dy, xs], 1) for dy in (0, 1) for xs in (left, right)])
    return float(ConvexHull(points).volume)


def is_single(mask: NDArray[np.bool_], borders: int, shapes: tuple[OutlineLimits, ...]) -> bool:
    """Tell whether ``mask`` (h, w), cut to its box, looks like one object.

    Args:
        mask: the component.
        borders: number of image borders that its box touches.
        shapes: the views of an object of its class; one of them must fit.
    """
    height, width = mask.shape
    area = int(np.count_nonzero(mask))
    if area < MIN_AREA or borders > 2:
        return False
    fill, aspect = area / mask.size, width / height
    fitting = [
        shape
        for shape in shapes
        if shape.cut == (borders > 0)
        and shape.aspect[0] <= aspect <= shape.aspect[1]
        and height >= shape.height
        and fill >= shape.fill
    ]
    if not fitting:
        return False
    solidity, lopsided = area / hull_area(mask), lopsidedness(mask)
    return any(s.solidity <= solidity and s.lopsided >= lopsided for s in fitting)


def lopsidedness(mask: NDArray[np.bool_]) -> float:
    """Distance of the centre of mass of ``mask`` (h, w) from the middle, over the width."""
    columns = mask.sum(axis=0)
    centre = (np.arange(len(columns)) + 0.5) @ columns / columns.sum()
    return float(abs(centre / len(columns) - 0.5))


def single_components(
    mask: NDArray[np.bool_], shapes: tuple[OutlineLimits, ...]
) -> list[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Components of ``mask`` (H, W) that look like one object, each as box and mask in the box."""
    found: list[tuple[tuple[slice, slice], NDArray[np.bool_]]] = []
    if not mask.any():
        return found
    labels, _ = ndimage.label(bridge(mask), np.ones((3, 3), bool))
    boxes: list[tuple[slice, slice]] = ndimage.find_objects(labels)
    for number, (rows, columns) in enumerate(boxes, start=1):
        joined = labels[rows, columns] == number
        borders = [rows.start == 0, rows.stop == mask.shape[0]]
        borders += [columns.start == 0, columns.stop == mask.shape[1]]
        if is_single(joined, sum(borders), shapes):
            found.append(((rows, columns), joined & mask[rows, columns]))
    return found


def bridge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``mask`` (H, W) with gaps up to :data:`MAX_GAP` wide filled along the rows.

    Only sideways, because thin occluders are upright.
    """
    reach = np.zeros(mask.shape, bool)
    filled = mask.copy()
    # A gap pixel is filled when the mask is found to both sides within the gap's width.
    for left in range(1, MAX_GAP + 1):
        for right in range(1, MAX_GAP + 2 - left):
            reach[:] = False
            reach[:, left:-right] = mask[:, : -left - right] & mask[:, left + right :]
            filled |= reach
    return filled
