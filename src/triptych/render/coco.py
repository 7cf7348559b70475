"""COCO's forms: segment ids as the colours of a PNG, masks as run lengths."""

from __future__ import annotations

from typing import Any

import hotcoco.mask
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor


def encode_ids(ids: Tensor) -> Image.Image:
    """An RGB image of ``ids (H, W)``: R + 256 G + 256² B is the id, black is void.

    Source: the panoptic format of https://cocodataset.org/#format-data.
    """
    little = np.ascontiguousarray(ids.cpu().numpy().astype("<u4"))
    digits = little.view(np.uint8).reshape(*ids.shape, 4)
    return Image.fromarray(np.ascontiguousarray(digits[..., :3]))


def encode_mask(mask: ArrayLike) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask ``(H, W)``: ``size`` and ``counts`` (bytes).

    They run down the columns. Only the box around the mask is turned on its side: turning the
    whole image takes ten times as long as all the rest.
    """
    mask = np.asarray(mask, bool)
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows):
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        # A margin above and below each column, so that runs begin and end in their own.
        inside = np.zeros((right - left, bottom - top + 2), np.int8)
        inside[:, 1:-1] = mask[top:bottom, left:right].T
        column, row = np.nonzero(np.diff(inside, axis=1))
        ends = (column + left) * height + row + top
        # A run that goes on at the top of the next column ends where it begins again.
        again = np.flatnonzero(ends[1:] == ends[:-1])
        ends = np.delete(ends, np.concatenate((again, again + 1)))
    else:
        ends = rows
    counts = np.diff(np.concatenate(([0], ends, [mask.size]))).tolist()
    if ends.size and ends[-1] == mask.size:
        counts.pop()
    code: dict[str, Any] = hotcoco.mask.fr_py_objects(
        {"size": [height, width], "counts": counts}, height, width
    )
    return code
