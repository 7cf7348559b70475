"""COCO outlines, polygons or run lengths, to masks; and what can be wrong with them.

Truth and the answers of other tools go through the same checks. Polygons are filled by
``hotcoco``, whose masks equal those of ``pycocotools`` bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hotcoco import mask as rle
from numpy.typing import NDArray

from triptych.data.sets.base import FaultKind
from triptych.data.sets.values import number, shown, whole
from triptych.errors import TriptychError
from triptych.metrics.run_lengths import check_counts, counts_from_string

TOLERANCE = 1.0
"""Pixels by which a polygon may leave its image: annotators' tools round."""

FAR_OUT = 20_000.0
"""Pixels beyond which a polygon that leaves its image is no outline in it. Filling takes time and
memory by the length of its edges."""

Tell = Callable[[FaultKind, str], None]
"""Takes a kind of fault and what is wrong; the receiver knows which annotation it is about."""

Counts = NDArray[np.int64]


def encode(segmentation: Any, height: int, width: int, tell: Tell) -> Counts | None:
    """Run lengths of an outline as drawn on an image of ``height`` x ``width`` pixels.

    Polygons are united; what lies outside the image is cut off. What is wrong with one outline is
    told once, the gravest first.

    Returns:
        Lengths of the runs down the columns, background first, which fill the image; None if there
        is nothing that could be drawn.
    """
    outline = examine(segmentation, height, width, tell)
    if not isinstance(outline, list):
        return outline
    # A list of a list of four numbers would be taken for a box; whole polygons have six or more.
    merged = rle.merge(rle.fr_py_objects(outline, height, width))
    return counts_from_string(merged["counts"])


def examine(
    segmentation: Any, height: int, width: int, tell: Tell
) -> Counts | list[list[float]] | None:
    """Check an outline as :func:`encode` does, and draw nothing.

    Returns:
        Lengths of runs, or the polygons; None if there is nothing that could be drawn.
    """
    if segmentation is None or segmentation == []:
        tell(FaultKind.EMPTY_OUTLINE, "it has no outline")
        return None
    if isinstance(segmentation, dict):
        try:
            return _from_runs(segmentation, (height, width))
        except TriptychError as error:
            tell(FaultKind.BROKEN, str(error))
            return None
    if not isinstance(segmentation, list):
        tell(FaultKind.BROKEN, "its outline is neither polygons nor run lengths")
        return None
    wrong: list[tuple[FaultKind, str]] = []
    given, form = _listed(segmentation)
    if form:
        wrong.append((FaultKind.FORM, form))
    polygons = [points for polygon in given if (points := _points(polygon, wrong))]
    _check_inside(polygons, height, width, wrong)
    if wrong:
        kinds = [kind for kind, _ in wrong]
        first = next((kind for kind in kinds if kind.grave), kinds[0])
        texts = list(
            dict.fromkeys(text for kind, text in wrong if kind is first or not first.grave)
        )
        more = f" (and {len(texts) - 2} more)" if len(texts) > 2 else ""
        tell(first, "; ".join(texts[:2]) + more)
        if first.grave:
            return None
    return polygons or None


def _listed(segmentation: list[Any]) -> tuple[list[Any], str]:
    """The polygons, each ``[x, y, x, y, ...]``, and a word on what had another form."""
    if all(not isinstance(item, list | dict | str) for item in segmentation):
        return [segmentation], "its polygon is not in a list of its own; it is read as one"
    if all(isinstance(item, list) for item in segmentation):
        if len(segmentation) > 2 and all(_is_point(item) for item in segmentation):
            points = [value for point in segmentation for value in point]
            return [points], "its polygon is a list of points; it is read as one"
        pointwise = [bool(item) and all(map(_is_point, item)) for item in segmentation]
        if any(pointwise):
            flat = [
                [value for point in item for value in point] if is_points else item
                for item, is_points in zip(segmentation, pointwise, strict=True)
            ]
            return flat, "its polygons are lists of points; they are read as such"
    return segmentation, ""


def _is_point(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and not any(isinstance(v, list) for v in item)


def _points(polygon: Any, wrong: list[tuple[FaultKind, str]]) -> list[float] | None:
    """The numbers of a polygon; None, with a reason, if they are none."""
    if not isinstance(polygon, list):
        wrong.append((FaultKind.BROKEN, f"a polygon is no list of numbers but {shown(polygon)}"))
        return None
    points = [number(value) for value in polygon]
    if None in points:
        value = polygon[points.index(None)]
        wrong.append(
            (FaultKind.BROKEN, f"a polygon is no list of numbers: it holds {shown(value)}")
        )
        return None
    if len(points) % 2:
        wrong.append((FaultKind.BROKEN, f"a polygon has {len(points)} numbers, x without y"))
        return None
    if len(points) < 6:
        count = len(points) // 2
        text = f"a polygon has {count} point{'s' * (count != 1)}, fewer than three"
        wrong.append((FaultKind.EMPTY_OUTLINE, text))
        return None
    return points  # type: ignore[return-value]  # none of them is None


def _check_inside(
    polygons: list[list[float]], height: int, width: int, wrong: list[tuple[FaultKind, str]]
) -> None:
    """Note by how much polygons leave their image."""
    beyond = max(
        (
            max(-min(xs), -min(ys), max(xs) - width, max(ys) - height)
            for xs, ys in ((points[::2], points[1::2]) for points in polygons)
        ),
        default=0.0,
    )
    if beyond > TOLERANCE:
        text = f"a polygon reaches {beyond:.0f} pixels out of the {width}x{height} image"
        wrong.append((FaultKind.BROKEN if beyond > FAR_OUT else FaultKind.OUTSIDE, text))


def _from_runs(runs: dict[str, Any], size: tuple[int, int]) -> Counts:
    """Run lengths from COCO's mapping, checked.

    Raises:
        TriptychError: they are none, or do not fill an image of ``size`` (H, W).
    """
    given, counts = runs.get("size"), runs.get("counts")
    sides = [whole(v, 0, 2**31) for v in given] if isinstance(given, list) else None
    if sides != list(size):
        raise TriptychError(
            f"its run lengths are for size {shown(given)}, the image has {list(size)}"
        )
    if isinstance(counts, str):
        try:
            lengths = counts_from_string(counts)
        except TriptychError as error:
            raise TriptychError(f"its run lengths cannot be read: {error}") from None
    elif isinstance(counts, list):
        plain = [whole(value, -(2**31), 2**31) for value in counts]
        if None in plain:
            value = counts[plain.index(None)]
            raise TriptychError(f"its run lengths cannot be read: {shown(value)} is none")
        lengths = np.array(plain, np.int64)
    else:
        raise TriptychError(f"its run lengths cannot be read: counts is {shown(counts)}")
    try:
        check_counts(lengths, size)
    except TriptychError as error:
        raise TriptychError(f"its run lengths are wrong: {error}") from None
    return lengths
