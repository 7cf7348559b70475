"""From the coarse grid to image pixels, only where it matters.

The reference meaning of a reading upsamples the mask logits to the network input, crops the
padding and resizes to the image. Both resizes are linear and treat rows and columns separately,
so together they make every pixel a weighted mean of a few coarse cells; it never leaves their
range. Readings use this tile by tile: the least and the largest of a tile's cells bound a query
on all of its pixels. Most tiles lie inside one object and are settled by that. In each of the
others few queries matter, and only those are computed at its pixels, by two small products.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.image.geometry import Geometry
from triptych.readings.axis import Axis, Blocks
from triptych.readings.masks import Masks

STRIP_NUMBERS = 1 << 18
"""Pixel values worked on at a time on the CPU: 1 MiB stays in its cache."""

STRIP_NUMBERS_ACCELERATOR = 1 << 26
"""The same on an accelerator, where only memory bounds it."""

SMALL = 1 << 17
"""Up to so many values, queries times pixels, bounds cost more than they save."""

BOUNDS_NUMBERS = 4
"""Coarse numbers or bounds worked on at a time, for each of those pixel values."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some tiles, and the queries that matter on each of them."""

    index: Tensor
    """``(t,)`` int64: their places in the list of tiles that was asked for."""
    tiles: Tensor
    """``(t,)`` int64."""
    queries: Tensor
    """``(t, M)`` int64, ascending; those of a tile that has fewer end with zeros."""
    present: Tensor
    """``(t, M)`` bool: False for these zeros."""
    logits: Tensor
    """``(t, M, p * q)``, at the pixels of each tile."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Logits of ``A`` queries on coarse cells, and the image pixels above them.

    The image is cut into ``ty`` by ``tx`` tiles of ``p`` by ``q`` pixels, which are numbered
    row by row, ``T`` in all; the last ones may reach beyond it.
    """

    masks: Tensor
    """``(A, h, w)`` float32."""
    rows: Axis
    columns: Axis
    geometry: Geometry
    parent: tuple[Grid, Tensor] | None = None
    """A grid of more queries over the same pixels, and which of them these are."""

    @classmethod
    def of(cls, mask_set: Masks) -> Grid:
        """All queries over the whole image; made once for a mask set that is read three times."""
        known = _GRIDS.get(mask_set)
        if known is None:
            # Contiguous: cells are gathered by their place in memory.
            masks, geometry = mask_set.mask_logits.float().contiguous(), mask_set.geometry
            sizes = zip(
                masks.shape[1:],
                geometry.input_size,
                geometry.valid_size,
                geometry.image_size,
                strict=True,
            )
            rows, columns = (Axis.of(*size, device=masks.device) for size in sizes)
            known = _GRIDS[mask_set] = cls(masks, rows, columns, geometry)
        return known

    @property
    def size(self) -> tuple[int, int]:
        """Pixels, ``(H, W)``."""
        return len(self.rows), len(self.columns)

    @property
    def device(self) -> torch.device:
        """Where the logits are."""
        return self.masks.device

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(ty, tx, p, q)``."""
        (down, high, _), (across, wide, _) = (
            axis.blocks.taps.shape for axis in (self.rows, self.columns)
        )
        return down, across, high, wide

    @functools.cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The least and the largest logit on each tile of each query, both ``(T, A)``.

        Infinite where finding them would cost more than computing all pixels.

        Raises:
            TriptychError: a logit that is read is not finite.
        """
        if self.parent is not None:
            grid, queries = self.parent
            if "bounds" in vars(grid):
                return grid.bounds_of(queries)
        if self.small:
            self.check_finite()
            down, across, _, _ = self.shape
            unknown = self.masks.new_full((down * across, len(self.masks)), math.inf)
            return -unknown, unknown
        low, high = _bounds(self.masks, self.rows.blocks, self.columns.blocks)
        _check_finite(low, high)
        return low, high

    def bounds_of(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The bounds of some queries, ascending."""
        if "bounds" not in vars(self):
            return self.only(queries).bounds
        low, high = self.bounds
        return low[:, queries], high[:, queries]

    def check_finite(self) -> None:
        """Refuse what :attr:`bounds` would, where they are not needed."""
        if self.masks.numel():
            _check_finite(*self.masks.aminmax())

    @property
    def small(self) -> bool:
        """Whether computing all pixels costs less than finding bounds."""
        return len(self.masks) * len(self.rows) * len(self.columns) <= SMALL

    def only(self, queries: Tensor) -> Grid:
        """The same pixels with some of the queries, ascending."""
        if len(queries) == len(self.masks):
            return self
        return Grid(self.masks[queries], self.rows, self.columns, self.geometry, (self, queries))

    def areas(self) -> Tensor:
        """Pixels of each tile that lie in the image, ``(T,)`` int64."""
        rows, columns = (axis.blocks.valid.sum(1) for axis in (self.rows, self.columns))
        return (rows[:, None] * columns).flatten()

    def valid(self, tiles: Tensor) -> Tensor:
        """``(t, p * q)`` bool: which pixels of some tiles lie in the image."""
        y, x = self.places(tiles)
        rows, columns = self.rows.blocks.valid[y], self.columns.blocks.valid[x]
        return (rows[:, :, None] & columns[:, None]).flatten(1)

    def bands(self, columns: int, among: Tensor | None = None) -> list[Tensor]:
        """Cut the tiles, or those ``among`` them, so that ``columns`` numbers of each are few."""
        if among is None:
            count = self.shape[0] * self.shape[1]
            among = torch.arange(count, dtype=torch.long, device=self.device)
        bands = among.split(max(BOUNDS_NUMBERS * self._numbers // columns, 1))
        return [band for band in bands if len(band)]

    def parts(self, tiles: Tensor, matters: Tensor, others: Tensor | None = None) -> Iterator[Part]:
        """Compute the pixels of some tiles.

        Args:
            tiles: ``(t,)``.
            matters: ``(t, A)`` bool, the queries to compute on each.
            others: ``(t,)``, values a pixel that the caller is going to make of them.
        """
        queries = matters.sum(1)
        needed, order = (queries if others is None else queries + others).sort()
        needs, pixels, start = needed.tolist(), self.shape[2] * self.shape[3], 0
        while start < len(needs):
            # Tiles that need about as much go together.
            most = max(needs[start] + needs[start] // 3, 1)
            room = max(self._numbers // (most * pixels), 1)
            stop = min(bisect.bisect_right(needs, most), start + room)
            chosen = order[start:stop]
            numbers, present = first_true(matters[chosen], max(int(queries[chosen].max()), 1))
            logits = self.upsample(tiles[chosen], numbers)
            yield Part(chosen, tiles[chosen], numbers, present, logits)
            start = stop

    def upsample(self, tiles: Tensor, queries: Tensor) -> Tensor:
        """``(t, M, p * q)``: logits of ``queries (t, M)`` at the pixels of each tile."""
        _, height, width = self.masks.shape
        y, x = self.places(tiles)
        rows, columns = self.rows.blocks, self.columns.blocks
        inside = (rows.cells()[y] * width)[:, :, None] + columns.cells()[x][:, None]
        cells = self.masks.take((queries * height * width)[:, :, None, None] + inside[:, None])
        (count, most, high, wide) = cells.shape
        across = cells.view(count, most * high, wide) @ columns.taps[x].transpose(1, 2)
        return (
            rows.taps[y][:, None] @ across.view(count, most, high, columns.taps.shape[1])
        ).flatten(2)

    def pixels(self, tiles: Tensor, chosen: Tensor) -> Tensor:
        """Places in the flattened image of the pixels ``chosen (t, p * q)`` of some tiles."""
        _, _, high, wide = self.shape
        tile, within = (chosen & self.valid(tiles)).nonzero(as_tuple=True)
        y, x = self.places(tiles[tile])
        down = y * high + within.div(wide, rounding_mode="floor")
        return down * len(self.columns) + x * wide + within % wide

    def places(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of some tiles, both ``(t,)``."""
        across = self.shape[1]
        return tiles.div(across, rounding_mode="floor"), tiles % across

    @property
    def tiles_at_once(self) -> int:
        """How many tiles of one query to upsample in one go."""
        return max(self._numbers // (self.shape[2] * self.shape[3]), 1)

    def at(self, pixels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Compute all queries at single pixels.

        Args:
            pixels: ``(U,)`` int64, places in the flattened image.

        Yields:
            Some of the pixels, ``(u,)``, and the logits there, ``(A, u)``.
        """
        table, wide = self.masks.flatten(1), self.masks.shape[2]
        taps = self.rows.taps.shape[1] * self.columns.taps.shape[1]
        for batch in pixels.split(max(self._numbers // (len(table) * taps), 1)):
            y, x = batch.div(len(self.columns), rounding_mode="floor"), batch % len(self.columns)
            cells = (self.rows.cells()[y] * wide)[:, :, None] + self.columns.cells()[x][:, None]
            weights = self.rows.taps[y][:, :, None] * self.columns.taps[x][:, None]
            values = table.index_select(1, cells.flatten()).view(len(table), len(batch), taps)
            yield batch, (values * weights.flatten(1)).sum(2)

    @property
    def _numbers(self) -> int:
        return _numbers(self.device)


class Canvas:
    """An image that is made of tiles."""

    def __init__(self, grid: Grid, dtype: torch.dtype) -> None:
        down, across, high, wide = grid.shape
        self._grid = grid
        self._whole = blank((down * high, across * wide), dtype, grid.device)
        self._tiles = self._whole.view(down, high, across, wide).transpose(1, 2)

    def fill(self, values: Tensor) -> None:
        """Give each tile its one value of ``values (T,)``."""
        self._tiles.copy_(values.view(*self._tiles.shape[:2], 1, 1))

    def put(self, tiles: Tensor, values: Tensor) -> None:
        """Give the pixels of ``tiles (t,)`` theirs, ``values (t, p * q)``."""
        self.put_at(self._grid.places(tiles), values)

    def put_at(self, places: tuple[Tensor, Tensor], values: Tensor) -> None:
        """The same for tiles in the rows and columns ``places``, or one value for all pixels."""
        if values.dim():
            values = values.view(-1, *self._tiles.shape[2:])
        self._tiles[places] = values.to(self._tiles.dtype)

    def image(self) -> Tensor:
        """``(H, W)``."""
        height, width = self._grid.size
        return self._whole[:height, :width].contiguous()


def blank(size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that take memory, on the CPU, only where something is written."""
    if device.type != "cpu":
        return torch.zeros(size, dtype=dtype, device=device)
    # Fresh pages come zeroed from the system: numpy knows, torch writes them all.
    return torch.from_numpy(
        np.zeros(size, torch.empty(0, dtype=dtype, device=device).numpy().dtype)
    )


def first_true(table: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The columns that are True in each row of a bool ``(n, A)``, at most ``width`` of them.

    Returns:
        Their numbers, ``(n, width)`` int64, ascending, then zeros; and which are none of these
        zeros, ``(n, width)`` bool.
    """
    places = (table.cumsum(1) - 1).masked_fill_(~table, width)
    numbers = torch.arange(table.shape[1], dtype=torch.long, device=table.device)
    found = places.new_zeros(len(table), width + 1)
    found = found.scatter_(1, places, numbers.expand_as(places))[:, :width]
    count = table.sum(1, keepdim=True)
    return found, torch.arange(width, dtype=torch.long, device=table.device) < count


def _check_finite(low: Tensor, high: Tensor) -> None:
    # NaN among the cells of a tile is NaN in both of its bounds.
    if not (low.isfinite().all() and high.isfinite().all()):
        raise TriptychError(
            "mask_logits hold NaN or infinity; the network or its weights are broken"
        )


def _bounds(masks: Tensor, rows: Blocks, columns: Blocks) -> tuple[Tensor, Tensor]:
    """See :attr:`Grid.bounds`."""
    found = []
    for pick in (torch.amin, torch.amax):
        down = _over(masks.transpose(0, 1), rows, pick)
        # The columns in front, so that whole rows of numbers are compared with each other.
        across = _over(down.flatten(0, 1).T.contiguous(), columns, pick)
        found.append(across.unflatten(1, down.shape[:2]).transpose(0, 1).flatten(0, 1))
    return found[0], found[1]


def _over(values: Tensor, blocks: Blocks, pick: Callable[..., Tensor]) -> Tensor:
    """``pick`` among the cells of each block: ``(cells, ...)`` to ``(t, ...)``."""
    width = blocks.taps.shape[2]
    return torch.stack([pick(values[at : at + width], 0) for at in blocks.start.tolist()])


def _numbers(device: torch.device) -> int:
    return STRIP_NUMBERS if device.type == "cpu" else STRIP_NUMBERS_ACCELERATOR


_GRIDS: weakref.WeakKeyDictionary[Masks, Grid] = weakref.WeakKeyDictionary()
"""Of the mask sets that are still in use and were read."""


@contextlib.contextmanager
def reading(mask_set: Masks) -> Iterator[Grid]:
    """The setting in which readings are computed: no gradients, and float32 even in autocast."""
    with torch.no_grad(), torch.autocast(mask_set.mask_logits.device.type, enabled=False):
        yield Grid.of(mask_set)
