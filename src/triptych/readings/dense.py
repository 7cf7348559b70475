"""All queries at all pixels of a tile: the plain reading, in chunks that fit into the cache.

Where masks are unsure (an untrained network, noise, many that overlap), the bounds of a tile
settle nothing and most queries matter. Then it is quickest to compute everything. The numbers of
all queries, or classes, at one pixel lie side by side: copies are of whole rows, the sums over
queries are one matrix product, and the largest of a row is found by vector instructions.
"""

from __future__ import annotations

import functools
import weakref

import torch
from torch import Tensor

from triptych.readings.axis import Axis, Blocks
from triptych.readings.grid import STRIP_NUMBERS_ACCELERATOR, Grid

DENSE_NUMBERS = 1 << 20
"""Numbers worked on at a time on the CPU: 4 MiB."""

DENSE_GAIN = 2
"""A number costs this many times as much where each tile has a list of queries of its own
(:meth:`triptych.readings.grid.Grid.parts`)."""


def tile_chunks(grid: Grid, tiles: Tensor, columns: int) -> list[Tensor]:
    """Cut ``tiles (t,)`` so that ``columns`` numbers at each of their pixels are few."""
    room = DENSE_NUMBERS if grid.device.type == "cpu" else STRIP_NUMBERS_ACCELERATOR
    size = max(room // (columns * grid.shape[2] * grid.shape[3]), 1)
    return list(tiles.split(size)) if len(tiles) else []


def upsample(grid: Grid, tiles: Tensor) -> Tensor:
    """``(t, p * q, A)``: logits of all queries at the pixels of each tile."""
    return _upsample(grid, tiles, grid.rows.blocks, grid.columns.blocks)


def class_scores(grid: Grid, tiles: Tensor, scores: Tensor) -> Tensor:
    """``(t, p * q, K)``: sums over queries of ``scores (A, K) * sigmoid(m)``, masks resized."""
    return upsample(grid, tiles).sigmoid_() @ scores


def resized_class_scores(grid: Grid, tiles: Tensor, scores: Tensor) -> Tensor:
    """The same, computed at the size of the network's input, and resized to the image."""
    (first_rows, rows), (first_columns, columns) = _two_steps(grid)
    values = _upsample(grid, tiles, first_rows, first_columns).sigmoid_() @ scores
    y, x = grid.places(tiles)
    values = values.view(len(tiles), rows.taps.shape[2], columns.taps.shape[2], scores.shape[1])
    across = columns.taps[x][:, None] @ values
    return (rows.taps[y] @ across.flatten(2)).view(len(tiles), -1, scores.shape[1])


def argmax(values: Tensor) -> Tensor:
    """The first place of the largest value along the last dimension, int64."""
    if values.device.type != "cpu":
        return values.argmax(-1)
    # numpy compares many numbers at a time, torch one: it takes six times as long.
    return torch.from_numpy(values.numpy().argmax(-1))


def _upsample(grid: Grid, tiles: Tensor, rows: Blocks, columns: Blocks) -> Tensor:
    y, x = grid.places(tiles)
    inside = (rows.cells()[y] * grid.masks.shape[2])[:, :, None] + columns.cells()[x][:, None]
    (count, high, wide), queries = inside.shape, len(grid.masks)
    cells = _cells(grid).index_select(0, inside.flatten()).view(count, high, wide, queries)
    across = columns.taps[x][:, None] @ cells
    return (rows.taps[y] @ across.flatten(2)).view(count, -1, queries)


def _cells(grid: Grid) -> Tensor:
    """``(h * w, A)``: the logits of all queries at a cell side by side."""
    known = _CELLS.get(grid)
    if known is None:
        known = _CELLS[grid] = grid.masks.flatten(1).T.contiguous()
    return known


_CELLS: weakref.WeakKeyDictionary[Grid, Tensor] = weakref.WeakKeyDictionary()


def _two_steps(grid: Grid) -> tuple[tuple[Blocks, Blocks], tuple[Blocks, Blocks]]:
    """For rows and columns: from cells to pixels of the input, and from those to the image's."""
    geometry, (_, _, high, wide) = grid.geometry, grid.shape
    sizes = zip(
        grid.masks.shape[1:],
        geometry.input_size,
        geometry.valid_size,
        geometry.image_size,
        (high, wide),
        strict=True,
    )
    rows, columns = (_steps(*size, device=grid.device) for size in sizes)
    return rows, columns


@functools.lru_cache(maxsize=32)
def _steps(
    cells: int, padded: int, valid: int, pixels: int, edge: int, device: torch.device
) -> tuple[Blocks, Blocks]:
    second = Axis.of(valid, valid, valid, pixels, device).cut(edge)
    return Axis.of(cells, padded, valid, valid, device).under(second), second
