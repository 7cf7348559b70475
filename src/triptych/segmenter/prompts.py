"""Clicks and boxes as a user gives them: plain numbers in pixels of the image."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.readings.masks import Masks
from triptych.windows.layout import Window


@dataclass(frozen=True)
class Prompt:
    """One prompt: what a person points at, in pixels of the upright image."""

    points: Tensor
    """``(n, 2)`` float32, x and y; ``n`` may be 0."""
    labels: Tensor
    """``(n,)`` int64: 1 for a point of the object, 0 for one beside it."""
    box: Tensor | None
    """``(4,)`` float32: left, top, right, bottom."""
    mask: Tensor | None
    """``(h, w)`` float32: logits of an earlier answer."""

    @property
    def kind(self) -> tuple[bool, bool, bool]:
        """Whether it has points, a box, a mask: what prompts share that are asked together."""
        return len(self.points) > 0, self.box is not None, self.mask is not None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all that it points at."""
        corners = self.points if self.box is None else torch.cat((self.points, self.box.view(2, 2)))
        (left, top), (right, bottom) = corners.amin(0).tolist(), corners.amax(0).tolist()
        return left, top, right, bottom

    def moved(self, right: float, down: float) -> Prompt:
        """The same, so many pixels further right and down."""
        by = torch.tensor((right, down), dtype=torch.float32, device="cpu")
        box = None if self.box is None else self.box + by.repeat(2)
        return dataclasses.replace(self, points=self.points + by, box=box)

    @property
    def is_click(self) -> bool:
        """Whether it is a single point, which may mean a part or the whole."""
        return len(self.points) == 1 and self.box is None and self.mask is None


def read_prompts(
    image_size: tuple[int, int],
    image: str,
    *,
    points: Any = None,
    labels: Any = None,
    boxes: Any = None,
    mask: Masks | None = None,
) -> list[Prompt]:
    """Read the prompts for one image.

    Args:
        image_size: ``(H, W)`` in pixels.
        image: its token, see :func:`triptych.image.geometry.image_token`.
        points: ``(n, 2)``, one prompt of ``n`` points; or a list of such, one for each prompt.
        labels: in the same form without the last axis: 1 for a point of the object, 0 for one
            beside it; all 1 by default.
        boxes: ``(4,)`` or ``(P, 4)``: left, top, right, bottom.
        mask: an earlier answer for this image, with one mask for each prompt.

    Raises:
        TriptychError: there is no prompt, shapes do not go together, a point lies outside the
            image, a box is inside out, or the mask is of another image.
    """
    if points is None and boxes is None:
        raise TriptychError("there is no prompt; give points=, boxes= or both")
    placed = _points(points, labels, image_size) if points is not None else None
    if points is None and labels is not None:
        raise TriptychError("there are labels but no points; give points= as well")
    boxed = list(_boxes(boxes, image_size)) if boxes is not None else None
    if placed is not None and boxed is not None and len(placed) != len(boxed):
        raise TriptychError(
            f"there are points for {len(placed)} prompts and {len(boxed)} boxes; give one box for "
            "each prompt"
        )
    count = len(placed if placed is not None else boxed or [])
    logits = _masks(mask, image, count) if mask is not None else None
    nothing = (
        torch.zeros((0, 2), dtype=torch.float32, device="cpu"),
        torch.zeros(0, dtype=torch.long, device="cpu"),
    )
    return [
        Prompt(
            *(placed[i] if placed is not None else nothing),
            box=None if boxed is None else boxed[i],
            mask=None if logits is None else logits[i],
        )
        for i in range(count)
    ]


def spread(prompts: Sequence[Prompt], windows: Sequence[Window]) -> list[tuple[Window, list[int]]]:
    """Which prompts each window gets: those that lie deeper in it than in any other.

    Raises:
        TriptychError: a prompt lies in no window as a whole.
    """
    size = (max(w.area[0].stop for w in windows), max(w.area[1].stop for w in windows))
    members: dict[int, list[int]] = {}
    for number, prompt in enumerate(prompts):
        depths = [_depth_in(prompt, window, size) for window in windows]
        best = max(range(len(windows)), key=depths.__getitem__)
        if depths[best] < 0:
            raise TriptychError(
                f"prompt {number} spans more than a window; use larger windows, or none"
            )
        members.setdefault(best, []).append(number)
    return [(windows[at], members[at]) for at in sorted(members)]


def _depth_in(prompt: Prompt, window: Window, size: tuple[int, int]) -> float:
    """Pixels from what a prompt points at to the nearest edge of a window; below 0 outside."""
    left, top, right, bottom = prompt.extent
    rows, columns = window.area
    height, width = size
    # What a box shows beyond the image is in no window.
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    return min(left - columns.start, columns.stop - right, top - rows.start, rows.stop - bottom)


def _points(points: Any, labels: Any, size: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
    depth = _nesting(points)
    if depth == 1 and not len(points):
        raise TriptychError("there is no prompt; points= is empty")
    if depth not in (2, 3):
        raise TriptychError(
            f"points= {_short(points)} are nested {depth} deep; give (n, 2), such as [[x, y]], for "
            "one prompt, or a list of such"
        )
    single = depth == 2
    rows = [points] if single else list(points)
    if labels is not None and not _nesting(labels):
        raise TriptychError(
            f"labels= is {_short(labels)}; give a list with one label for each point"
        )
    if labels is None:
        marks: list[Any] = [None] * len(rows)
    else:
        marks = [labels] if single and _nesting(labels) < 2 else list(labels)
    if not rows:
        raise TriptychError("there is no prompt; points= is empty")
    if len(marks) != len(rows):
        raise TriptychError(
            f"there are points for {len(rows)} prompts and labels for {len(marks)}; give one list "
            "of labels for each prompt"
        )
    found = []
    for number, (row, mark) in enumerate(zip(rows, marks, strict=True)):
        where = _numbers(row, "points=", "[[x, y], ...]")
        if where.ndim != 2 or where.shape[1] != 2 or not len(where):
            raise TriptychError(
                f"points of prompt {number} have shape {tuple(where.shape)}; give (n, 2): x and y"
            )
        _refuse_outside(where, size, number)
        kinds = (
            torch.ones_like(where[:, 0]) if mark is None else _numbers(mark, "labels=", "1 or 0")
        )
        if kinds.shape != where.shape[:1]:
            raise TriptychError(
                f"prompt {number} has {len(where)} points and labels of shape "
                f"{tuple(kinds.shape)}; give one label for each point"
            )
        if not ((kinds == 0) | (kinds == 1)).all():
            raise TriptychError(
                f"labels of prompt {number} are {kinds.tolist()}; use 1 for a point of the object "
                "and 0 for one beside it"
            )
        found.append((where, kinds.long()))
    return found


def _refuse_outside(points: Tensor, size: tuple[int, int], number: int) -> None:
    height, width = size
    for x, y in points.tolist():
        if not (0 <= x <= width and 0 <= y <= height):
            raise TriptychError(
                f"point ({x:g}, {y:g}) of prompt {number} lies outside the image of "
                f"{width}x{height} pixels"
            )


def _boxes(boxes: Any, size: tuple[int, int]) -> Tensor:
    height, width = size
    found = _numbers(boxes, "boxes=", "[left, top, right, bottom]")
    if found.ndim == 1:
        found = found[None]
    if found.ndim != 2 or found.shape[1] != 4 or not len(found):
        raise TriptychError(
            f"boxes have shape {tuple(found.shape)}; give (4,) or (P, 4): left, top, right, bottom"
        )
    for number, (left, top, right, bottom) in enumerate(found.tolist()):
        named = f"box {number} ({left:g}, {top:g}, {right:g}, {bottom:g})"
        if left >= right or top >= bottom:
            raise TriptychError(f"{named} is inside out; give left, top, right, bottom")
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise TriptychError(f"{named} lies outside the image of {width}x{height} pixels")
    return found


def _masks(mask: Masks, image: str, count: int) -> Tensor:
    if not isinstance(mask, Masks):
        raise TriptychError(
            f"mask= is a {type(mask).__name__}; give an earlier answer, such as earlier.best()"
        )
    if not mask.image or mask.image != image:
        raise TriptychError("mask= is an answer for another image; ask anew about this one")
    if len(mask) != count:
        raise TriptychError(
            f"mask= holds {len(mask)} masks for {count} prompts; give one for each (see best())"
        )
    if mask.mask_logits.is_meta or not torch.isfinite(mask.mask_logits).all():
        raise TriptychError("mask= holds no finite logits; ask anew")
    return mask.mask_logits.float().cpu()


def _short(value: Any) -> str:
    """A value for a message, on one line."""
    return reprlib.repr(value).replace("\n", " ")


def _nesting(value: Any) -> int:
    """How deeply sequences are nested, which the first element of each tells."""
    if isinstance(value, Tensor) or hasattr(value, "ndim"):
        return int(value.ndim)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return 1 + (_nesting(value[0]) if len(value) else 0)
    return 0


def _numbers(value: Any, what: str, form: str) -> Tensor:
    """Numbers in rows, of whatever holds them, as float32 on the CPU."""
    try:
        if isinstance(value, Tensor):
            found = value.detach().to("cpu", torch.float32)
        else:
            array = np.asarray(value)
            # Text and bytes are no numbers, and what hides behind a mask is not given.
            if array.dtype.kind not in "biuf" or np.ma.is_masked(value):
                raise TypeError
            # A copy: torch takes no reversed rows, and no other byte order.
            found = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TriptychError(f"{what} {_short(value)} are no numbers in rows; give {form}") from None
    if found.layout is not torch.strided:
        raise TriptychError(f"{what} are a sparse tensor; give {form}")
    if not torch.isfinite(found).all():
        raise TriptychError(f"{what} hold a number that is not finite; give {form}")
    return found
