"""From the coarse grid to image pixels, only where it matters.

The reference meaning of a reading upsamples the mask logits to the network input, crops the
padding and resizes to the image. Both resizes are linear and treat rows and columns separately,
so together they make every pixel a weighted mean of a small window of coarse cells. Readings use
this twice. A bilinear value never leaves the range of its window, so most windows settle all
their pixels without a look at any of them. And the rest, the pixels along the borders, are
weighted bags of rows of a table, which is what ``embedding_bag`` computes fast.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.errors import TriptychError
from triptych.masks import MaskSet

STRIP_NUMBERS = 1 << 18
"""Coarse numbers, or pixel values, worked on at a time on the CPU: 1 MiB stays in its cache."""

STRIP_NUMBERS_ACCELERATOR = 1 << 26
"""The same on an accelerator, where only memory bounds it."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of the resize: pixel ``j`` is a weighted sum of ``n`` cells from ``start[j]`` on."""

    start: Tensor
    """``(pixels,)`` int64, never decreasing."""
    taps: Tensor
    """``(pixels, n)`` float32; ``n`` is 2 for one bilinear step, 3 or 4 for two."""

    @classmethod
    @functools.lru_cache(maxsize=32)  # small, and the same for every image of a stream
    def of(cls, cells: int, padded: int, valid: int, pixels: int, device: torch.device) -> Axis:
        """Resize ``cells`` to ``padded``, crop to ``valid``, resize to ``pixels``."""
        # Resizing the unit vectors gives exactly the weights that the two operations use.
        basis = torch.eye(cells, device=device)[None]
        if padded != cells:
            basis = F.interpolate(basis, size=padded, mode="linear", align_corners=False)
        basis = basis[:, :, :valid]
        if pixels != valid:
            basis = F.interpolate(basis, size=pixels, mode="linear", align_corners=False)
        weights = basis[0].T
        used = (weights != 0).to(torch.uint8)
        first, last = used.argmax(1), cells - 1 - used.flip(1).argmax(1)
        width = int((last - first).max()) + 1
        start = first.clamp(max=cells - width)
        return cls(start, weights.gather(1, _runs(start, width)))

    def __len__(self) -> int:
        return len(self.start)

    @property
    def window(self) -> int:
        """``n``, the cells in a window."""
        return self.taps.shape[1]

    def cells(self) -> Tensor:
        """``(pixels, n)``: the cells that the taps weigh."""
        return _runs(self.start, self.window)

    def cut(self, pixels: slice) -> tuple[Axis, slice]:
        """The part for some pixels, and the cells it starts from."""
        start = self.start[pixels]
        cells = slice(int(start[0]), int(start[-1]) + self.window)
        return Axis(start - cells.start, self.taps[pixels]), cells

    def reach(self, first: int, last: int) -> slice:
        """The pixels whose windows touch the cells ``first`` to ``last`` (inclusive)."""
        ends = torch.tensor([first - self.window, last], device=self.start.device)
        return slice(*torch.searchsorted(self.start, ends, right=True).tolist())

    def resize(self, table: Tensor) -> Tensor:
        """``(cells, D)`` to ``(pixels, D)``."""
        return F.embedding_bag(self.cells(), table, per_sample_weights=self.taps, mode="sum")


@dataclass(frozen=True, eq=False)
class Grid:
    """Logits of ``A`` queries on coarse cells, and the image pixels above them.

    A *window* is the rectangle of cells that some pixels are computed from; windows are numbered
    by their first cell, so an array of them has the shape ``(..., h', w')`` with ``h' <= h``.
    """

    masks: Tensor
    """``(A, h, w)`` float32."""
    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, mask_set: MaskSet) -> Grid:
        """All queries over the whole image.

        Raises:
            TriptychError: a mask logit is not finite.
        """
        masks, geometry = mask_set.mask_logits.float(), mask_set.geometry
        low, high = masks.aminmax()
        if not torch.isfinite(high - low):
            raise TriptychError(
                "mask_logits hold NaN or infinity; the network or its weights are broken"
            )
        sizes = zip(
            masks.shape[1:],
            geometry.input_size,
            geometry.valid_size,
            geometry.image_size,
            strict=True,
        )
        rows, columns = (Axis.of(*size, device=masks.device) for size in sizes)
        return cls(masks, rows, columns)

    @property
    def size(self) -> tuple[int, int]:
        """Pixels, ``(H, W)``."""
        return len(self.rows), len(self.columns)

    @property
    def device(self) -> torch.device:
        """Where the logits are."""
        return self.masks.device

    def only(self, queries: Tensor) -> Grid:
        """The same pixels with some of the queries."""
        return Grid(self.masks[queries], self.rows, self.columns)

    def strips(self) -> Iterator[tuple[slice, Grid]]:
        """Cut the image into strips of rows that are small enough to work on in one go."""
        height = len(self.rows)
        queries, cells, across = self.masks.shape
        per_row = queries * max(across * cells / height, 1)
        step = max(self._numbers // int(per_row), 4 * -(-height // cells))
        for top in range(0, height, step):
            pixels = slice(top, min(top + step, height))
            rows, cells_used = self.rows.cut(pixels)
            # Contiguous, because torch has a fast way to transpose only such ones.
            yield pixels, Grid(self.masks[:, cells_used].contiguous(), rows, self.columns)

    @property
    def _numbers(self) -> int:
        return STRIP_NUMBERS if self.device.type == "cpu" else STRIP_NUMBERS_ACCELERATOR

    def windows(self, values: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The largest (``torch.maximum``) or smallest of ``values (..., h, w)`` in every window."""
        for dim, axis in ((-1, self.columns), (-2, self.rows)):
            count = values.shape[dim] - axis.window + 1
            shifted = [values.narrow(dim, at, count) for at in range(axis.window)]
            values = shifted[0]
            for other in shifted[1:]:
                values = pick(values, other)
        return values

    def spread(self, windows: Tensor) -> Tensor:
        """``(H, W)``: give the pixels of every window its one value of ``windows (h', w')``."""
        across = windows.index_select(1, self.columns.start)
        return across.index_select(0, self.rows.start)

    def areas(self) -> Tensor:
        """Pixels of each window, ``(h', w')`` int64."""
        counts = [
            axis.start.bincount(minlength=cells - axis.window + 1)
            for axis, cells in zip((self.rows, self.columns), self.masks.shape[1:], strict=True)
        ]
        return counts[0][:, None] * counts[1]

    def pixels(self, windows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Look closely at the windows marked in a bool ``(h', w')``.

        Yields:
            The places ``(U,)`` of pixels in the flattened image, a batch at a time, and the
            logits of all queries there, ``(U, A)``.
        """
        width = len(self.columns)
        places = self.spread(windows.to(torch.uint8)).flatten().nonzero()[:, 0]
        if not len(places):
            return
        table = self.masks.flatten(1).T.contiguous()
        # The cells and weights of a two-dimensional window, flattened: those of its first row,
        # then those of the next.
        across = self.masks.shape[2]
        high, wide = self.rows.window, self.columns.window
        offsets = _runs(torch.arange(high, device=self.device) * across, wide).flatten()
        row_taps = self.rows.taps.repeat_interleave(wide, 1)
        column_taps = self.columns.taps.repeat(1, high)
        row_start = self.rows.start * across
        for batch in places.split(max(self._numbers // len(self.masks), 1)):
            y, x = batch // width, batch % width
            first = row_start.index_select(0, y) + self.columns.start.index_select(0, x)
            taps = row_taps.index_select(0, y) * column_taps.index_select(0, x)
            cells = first[:, None] + offsets
            yield batch, F.embedding_bag(cells, table, per_sample_weights=taps, mode="sum")

    def around(self, query: int) -> tuple[slice, slice, Tensor] | None:
        """The upsampled logits of a query where they can be positive.

        Returns:
            Rows and columns of a rectangle that holds every positive logit, and the logits there;
            None if no cell of the query is positive.
        """
        positive = self.masks[query] > 0
        spans = []
        for axis, along in ((self.rows, positive.any(1)), (self.columns, positive.any(0))):
            cells = along.nonzero()
            span = axis.reach(int(cells[0]), int(cells[-1])) if len(cells) else slice(0, 0)
            if span.start == span.stop:
                return None
            spans.append(span)
        rows, row_cells = self.rows.cut(spans[0])
        columns, column_cells = self.columns.cut(spans[1])
        across = columns.resize(self.masks[query, row_cells, column_cells].T.contiguous())
        return spans[0], spans[1], rows.resize(across.T.contiguous())


def _runs(start: Tensor, length: int) -> Tensor:
    """``(len(start), length)``: ``start``, ``start + 1``, ..."""
    return start[:, None] + torch.arange(length, device=start.device)


@contextlib.contextmanager
def reading(mask_set: MaskSet) -> Iterator[Grid]:
    """The setting in which readings are computed: no gradients, and float32 even in autocast."""
    with torch.no_grad(), torch.autocast(mask_set.mask_logits.device.type, enabled=False):
        yield Grid.of(mask_set)
