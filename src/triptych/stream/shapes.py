"""Overlaps of boxes, and of shapes that were cut out of their picture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from triptych.readings.instance import Box

CRUMB = 0.2
"""Parts of a mask that are smaller than this share of its largest one are not the object's."""

MAX_PARTS = 16
"""So many of the largest parts are looked at: a mask of noise has thousands."""

HIDDEN = 0.8
"""Two parts are of one object if at least this share of what lies between them is hidden."""


def visible_parts(mask: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """What is seen of an object: the largest connected part of its mask, and what belongs to it.

    Another part does if something that hides the object lies between the two.

    Args:
        mask: bool; something in it is True.
        others: bool, of the same size: where other objects are seen.

    Returns:
        The mask of these parts, cut out along their box, and ``(x, y)`` of its corner in ``mask``.
    """
    parts, count = ndimage.label(mask, np.ones((3, 3), int))
    if count == 1:
        return mask, (0, 0)
    sizes, boxes = np.bincount(parts.ravel())[1:], ndimage.find_objects(parts)
    candidates = np.argsort(-sizes, kind="stable")[:MAX_PARTS]
    largest = int(candidates[0])
    kept = np.zeros(count + 1, bool)
    kept[largest + 1] = True
    for number in candidates[sizes[candidates] >= CRUMB * sizes[largest]].tolist():
        between = others[_between(boxes[number], boxes[largest])]
        kept[number + 1] |= between.size > 0 and between.mean() >= HIDDEN
    seen = kept[parts]
    rows, columns = ndimage.find_objects(seen.astype(np.uint8))[0]
    return seen[rows, columns], (columns.start, rows.start)


def _between(a: tuple[slice, slice], b: tuple[slice, slice]) -> tuple[slice, slice]:
    """Rows and columns between two boxes that lie beside or above each other; empty otherwise."""
    common = [slice(max(s.start, t.start), min(s.stop, t.stop)) for s, t in zip(a, b, strict=True)]
    gaps = [slice(c.stop, c.start) for c in common]
    if common[0].start < common[0].stop:
        return common[0], gaps[1]
    return gaps[0], common[1]


def area(box: Box) -> float:
    """Square pixels."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def common(a: Box, b: Box) -> Box:
    """The box that both cover; without area if they do not meet."""
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def moved(box: Box, dx: float, dy: float) -> Box:
    """The box, shifted."""
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


def centre(box: Box) -> tuple[float, float]:
    """``(x, y)``."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    both = area(common(a, b))
    return both / (area(a) + area(b) - both) if both else 0.0


def mask_iou(a: Box, mask_a: np.ndarray, b: Box, mask_b: np.ndarray) -> float:
    """Intersection over union of two shapes, 0 to 1.

    Args:
        a: place of the first shape; its top left corner is rounded to a pixel.
        mask_a: bool, as large as that box.
        b: place of the second shape.
        mask_b: bool, as large as that box.
    """
    (ax, ay), (bx, by) = ((round(box[0]), round(box[1])) for box in (a, b))
    x0, y0 = max(ax, bx), max(ay, by)
    x1 = min(ax + mask_a.shape[1], bx + mask_b.shape[1])
    y1 = min(ay + mask_a.shape[0], by + mask_b.shape[0])
    if x0 >= x1 or y0 >= y1:
        return 0.0
    part_a = mask_a[y0 - ay : y1 - ay, x0 - ax : x1 - ax]
    part_b = mask_b[y0 - by : y1 - by, x0 - bx : x1 - bx]
    both = int(np.count_nonzero(part_a & part_b))
    return both / (int(np.count_nonzero(mask_a)) + int(np.count_nonzero(mask_b)) - both)
