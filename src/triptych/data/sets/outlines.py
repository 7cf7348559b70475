"""COCO outlines, polygons or run lengths, to masks; and what can be wrong with them.

Filled by ``hotcoco``, whose masks equal those of ``pycocotools`` bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hotcoco import mask as rle

from triptych.data.sets.base import Kind

TOLERANCE = 1.0
"""Pixels by which a polygon may leave its image: annotators' tools round."""

Tell = Callable[[Kind, str], None]
"""Takes a kind of fault and what is wrong; the receiver knows which annotation it is about."""


def encode(segmentation: Any, height: int, width: int, tell: Tell) -> dict[str, Any] | None:
    """Run lengths of an outline as drawn on an image of ``height`` x ``width`` pixels.

    Polygons are united; what lies outside the image is cut off.

    Returns:
        COCO's compressed code; None if there is nothing that could be drawn.
    """
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, height, width, tell)
    if not isinstance(segmentation, list):
        tell(Kind.BROKEN, "its outline is neither polygons nor run lengths")
        return None
    if not segmentation:
        tell(Kind.EMPTY_OUTLINE, "it has no outline")
        return None
    whole = [p for p in segmentation if _is_polygon(p, height, width, tell)]
    # A list of a list of four numbers would be taken for a box; whole polygons have six or more.
    return rle.merge(rle.fr_py_objects(whole, height, width)) if whole else None


def _is_polygon(points: Any, height: int, width: int, tell: Tell) -> bool:
    if not isinstance(points, list) or not all(
        isinstance(v, int | float) and math.isfinite(v) for v in points
    ):
        tell(Kind.BROKEN, "a polygon is no list of numbers")
        return False
    if len(points) % 2:
        tell(Kind.BROKEN, f"a polygon has {len(points)} numbers, x without y")
        return False
    if len(points) < 6:
        tell(Kind.EMPTY_OUTLINE, f"a polygon has {len(points) // 2} points, fewer than three")
        return False
    xs, ys = points[::2], points[1::2]
    beyond = max(-min(xs), -min(ys), max(xs) - width, max(ys) - height)
    if beyond > TOLERANCE:
        tell(
            Kind.OUTSIDE, f"a polygon reaches {beyond:.0f} pixels out of the {width}x{height} image"
        )
    return True


def _from_runs(runs: dict[str, Any], height: int, width: int, tell: Tell) -> dict[str, Any] | None:
    size, counts = runs.get("size"), runs.get("counts")
    if size != [height, width]:
        tell(Kind.BROKEN, f"its run lengths are for size {size}, the image has {[height, width]}")
        return None
    try:
        if isinstance(counts, list):
            if sum(counts) != height * width:
                tell(
                    Kind.BROKEN,
                    f"its run lengths add up to {sum(counts)} pixels, not {height * width}",
                )
                return None
            return rle.fr_py_objects(runs, height, width)
        rle.area({"size": size, "counts": counts})
        return {"size": size, "counts": counts}
    except (ValueError, TypeError, OverflowError) as error:
        tell(Kind.BROKEN, f"its run lengths cannot be read ({error})")
        return None
