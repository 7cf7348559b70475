"""COCO's compressed run lengths of a mask, of which only the box around it is read.

hotcoco writes the numbers as text. Its ``encode`` reads the whole image: for an object of 400x400
pixels in one of 11000x9000 it takes 124 ms, this 0.2 ms (28 November 2026).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hotcoco.mask import rle_to_string
from numpy.typing import ArrayLike, NDArray

Box = tuple[float, float, float, float]
Ints = NDArray[np.int64]


def encode_mask(mask: ArrayLike, box: Box | None = None) -> dict[str, Any]:
    """Run lengths of a mask ``(H, W)``, equal to those of ``pycocotools.mask.encode``.

    Args:
        mask: of truth values.
        box: around it, ``(x0, y0, x1, y1)`` in pixels, exclusive right and bottom; pixels outside
            are not looked at, and an image may be large. One that is None or empty is found first,
            which takes longer than all the rest.

    Returns:
        ``size`` (H, W) and ``counts`` (bytes).
    """
    pixels = np.asarray(mask).astype(np.bool_, copy=False)
    height, width = pixels.shape
    ends = _run_ends(pixels, *_window(pixels, box))
    borders = np.concatenate(([0], ends, [height * width]))
    lengths = np.diff(borders)
    if len(ends) and not lengths[-1]:  # the last run touches the end
        lengths = lengths[:-1]
    size = [height, width]
    text = rle_to_string({"size": size, "counts": lengths.tolist()})
    return {"size": size, "counts": text.encode("ascii")}


def _window(pixels: NDArray[np.bool_], box: Box | None) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what has to be read; all 0 for an empty mask."""
    if box is not None and box[0] < box[2] and box[1] < box[3]:
        return int(box[0]), int(box[1]), math.ceil(box[2]), math.ceil(box[3])
    columns = np.flatnonzero(pixels.any(0))
    if not columns.size:
        return 0, 0, 0, 0
    left, right = int(columns[0]), int(columns[-1]) + 1
    rows = np.flatnonzero(pixels[:, left:right].any(1))
    return left, int(rows[0]), right, int(rows[-1]) + 1


def _run_ends(pixels: NDArray[np.bool_], left: int, top: int, right: int, bottom: int) -> Ints:
    """Where runs end, counted down the columns of the image, ascending."""
    # Turned, so that columns lie one after the other. A pixel of margin behind each, so that every
    # run begins and ends in its own column.
    columns = np.zeros((right - left, bottom - top + 1), bool)
    columns[:, :-1] = pixels[top:bottom, left:right].T
    changes = np.flatnonzero(np.diff(columns.ravel(), prepend=False))
    column, row = np.divmod(changes, columns.shape[1])
    ends = (left + column) * pixels.shape[0] + top + row
    # A run that goes on at the top of the next column ends where it begins again.
    again = np.flatnonzero(ends[1:] == ends[:-1])
    return np.delete(ends, np.concatenate((again, again + 1)))
