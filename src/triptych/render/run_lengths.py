"""COCO's compressed run lengths of many masks at once.

Masks of an image are small beside it, and what costs is to read all of it once for each. Here only
the boxes around them are read, into one buffer, in which the ends of all runs are found together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Ints = NDArray[np.int64]


def encode_masks(
    masks: Sequence[NDArray[np.bool_]], boxes: Sequence[Box | None] | None = None
) -> list[dict[str, Any]]:
    """Run lengths of each mask, equal to those of ``pycocotools.mask.encode``.

    Args:
        masks: ``N`` of one size ``(H, W)``.
        boxes: around each of them, ``(x0, y0, x1, y1)`` in pixels, exclusive right and bottom;
            pixels outside are not looked at. One that is None or empty is found first, which
            takes longer than all the rest.

    Returns:
        Of each mask ``size`` and ``counts`` (bytes).
    """
    if not masks:
        return []
    height, width = masks[0].shape
    size = height * width
    windows = np.array(
        [_window(mask, box) for mask, box in zip(masks, boxes or [None] * len(masks), strict=True)]
    )
    ends, many = _run_ends(masks, windows, height, size)
    lengths, runs = _run_lengths(ends, many, size)
    texts = _compress(lengths, runs)
    return [{"size": [height, width], "counts": text} for text in texts]


def _window(mask: NDArray[np.bool_], box: Box | None) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what has to be read; all 0 for an empty mask."""
    if box is not None and box[0] < box[2] and box[1] < box[3]:
        return int(box[0]), int(box[1]), math.ceil(box[2]), math.ceil(box[3])
    columns = np.flatnonzero(mask.any(0))
    if not columns.size:
        return 0, 0, 0, 0
    left, right = int(columns[0]), int(columns[-1]) + 1
    rows = np.flatnonzero(mask[:, left:right].any(1))
    return left, int(rows[0]), right, int(rows[-1]) + 1


def _run_ends(
    masks: Sequence[NDArray[np.bool_]], windows: Ints, height: int, size: int
) -> tuple[Ints, Ints]:
    """Where runs end, counted down the columns of the image, and how many ends each mask has.

    Those of mask ``i`` lie at ``i * (size + 1)`` and above, ascending.
    """
    left, top = windows[:, 0], windows[:, 1]
    widths, heights = windows[:, 2] - left, windows[:, 3] - top
    # A row of margin above and below each, so that every run begins and ends in its own column.
    edges = np.concatenate(([0], np.cumsum((heights + 2) * widths)))
    # Bytes, not truth values, whose exclusive or is ten times as slow.
    buffer = np.zeros(edges[-1], np.uint8)
    starts, stops = edges[:-1].tolist(), edges[1:].tolist()
    for mask, (x0, y0, x1, y1), start, stop in zip(
        masks, windows.tolist(), starts, stops, strict=True
    ):
        if start < stop:
            part, columns = buffer[start:stop], x1 - x0
            part[columns:-columns].reshape(y1 - y0, columns)[:] = mask[y0:y1, x0:x1].view(np.uint8)
            part[:-columns] ^= part[columns:]  # a pixel differs from the one below it
    found = np.flatnonzero(buffer.view(np.bool_))
    many = np.diff(np.searchsorted(found, edges))
    inside = (found - np.repeat(edges[:-1], many)).astype(np.min_scalar_type(int(edges[-1])))
    row, column = np.divmod(inside, np.repeat(widths, many).astype(inside.dtype))
    corner = np.arange(len(masks)) * (size + 1) + left * height + top
    ends = np.repeat(corner, many) + column.astype(np.int64) * height + row
    # Sorting is the dearest step, and short numbers take half the time.
    ends = ends.astype(np.min_scalar_type(len(masks) * (size + 1)))
    ends.sort()
    # A run that goes on at the top of the next column ends where it begins again.
    again = np.flatnonzero(ends[1:] == ends[:-1])
    if again.size:
        ends = np.delete(ends, np.concatenate((again, again + 1)))
    first = np.arange(len(masks) + 1) * (size + 1)
    many = np.diff(np.searchsorted(ends, first.astype(ends.dtype)))
    return ends.astype(np.int64), many


def _run_lengths(ends: Ints, many: Ints, size: int) -> tuple[Ints, Ints]:
    """Lengths of the runs of all masks one after the other, and how many each mask has."""
    number = np.arange(len(many))
    first = np.cumsum(many + 2) - (many + 2)
    # The borders of all runs: the image begins, runs end, the image ends; then the next image.
    borders = np.empty(len(ends) + 2 * len(many), np.int64)
    borders[first] = number * (size + 1)
    borders[first + many + 1] = number * (size + 1) + size
    borders[np.arange(len(ends)) + np.repeat(2 * number + 1, many)] = ends
    lengths = np.diff(borders)
    drop = np.zeros(len(lengths), bool)
    drop[first[1:] - 1] = True  # from one image to the next
    last = first + many
    empty = (lengths[last] == 0) & (many > 0)  # the last run touches the end
    drop[last[empty]] = True
    return lengths[~drop], many + 1 - empty


def _compress(lengths: Ints, runs: Ints) -> list[bytes]:
    """The text of each mask: numbers in digits of 5 bits, from the third on as differences.

    Source: ``rleToString`` of COCO's API: the sixth bit says that another digit follows, the
    fifth of the last digit is the sign, 48 is added for print.
    """
    first = np.cumsum(runs) - runs
    place = np.arange(len(lengths)) - np.repeat(first, runs)
    rest = lengths.copy()
    rest[2:] -= np.where(place[2:] > 2, lengths[:-2], 0)
    digits, where = [], np.arange(len(lengths))
    long = np.zeros(len(lengths), np.int64)
    while where.size:
        low = rest & 31
        rest = rest >> 5
        more = rest != -(low >> 4)
        digits.append((where, (low + 48 + 32 * more).astype(np.uint8)))
        long[where] += 1
        where, rest = where[more], rest[more]
    begin = np.cumsum(long) - long
    text = np.empty(int(long.sum()), np.uint8)
    for digit, (where, characters) in enumerate(digits):
        text[begin[where] + digit] = characters
    cuts = [*begin[first].tolist(), len(text)]
    return [text[a:b].tobytes() for a, b in itertools.pairwise(cuts)]
