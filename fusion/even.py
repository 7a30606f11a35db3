"""Thinning that leaves points of even spacing: one mean point for each cell of a size that gives the wanted number."""

import math
from collections.abc import Callable, Iterable

import numpy as np

from fusion.cells import CellTable, Grid, coarser_keys
from fusion.clouds import Points, unit_vectors
from numba_cache import cached_njit

_TRIES, _FINER = 4, 8
_FULL = 0.93  # of the wanted number is near enough
_AIM = 0.97
_COLUMNS = 10  # place, colour, normal, and confidence

Blocks = Callable[[], Iterable[Points]]


def evenly_thinned(blocks: Blocks, grid: Grid, most: int, cells: np.ndarray | None = None) -> Points:
    """At most `most` points of even spacing, each the mean of the points in a cell, from as many blocks as there are.

    `blocks` gives the cloud again at every call; `grid` is where the search for the cells' size starts, `cells` the
    keys of its cells that hold points, where they are known. A point has the mean place, colour and confidence, the
    mean normal's direction, and the largest number of views of its cell. Memory grows with `most`, and with the cells
    of the grid, not with the cloud.
    """
    return _means(blocks, Grid(grid.origin, _size(blocks, grid, most, cells)))


def _size(blocks: Blocks, grid: Grid, most: int, cells: np.ndarray | None) -> float:
    """The side of cells of which nearly `most`, and no more, hold points."""
    size = grid.size
    cells = _table(blocks, grid).keys if cells is None else cells
    for _ in range(_FINER):
        if len(cells) > most:
            break
        size /= 4
        cells = _table(blocks, Grid(grid.origin, size)).keys
    else:
        return size  # so few places are there at all
    counts = _counts_by_level(cells, most)
    level = len(counts) - 1
    steepness = math.log2(counts[level - 1] / counts[level])
    best = (counts[level], size * 2.0**level)
    size *= 2.0 ** (level - 1) * (counts[level - 1] / (_AIM * most)) ** (1 / steepness)
    for _ in range(_TRIES):
        size = min(size, best[1])
        count = len(_table(blocks, Grid(grid.origin, size)))
        if best[0] < count <= most:
            best = count, size
        if _FULL * most <= count <= most:
            break
        size *= (count / (_AIM * most)) ** (1 / steepness)
    return best[1]


def _counts_by_level(cells: np.ndarray, most: int) -> list[int]:
    """How many cells there are, of twice their size, and so on, until they are no more than `most`."""
    counts = [len(cells)]
    while counts[-1] > most:
        cells = np.unique(coarser_keys(cells))
        counts.append(len(cells))
    return counts


def _table(blocks: Blocks, grid: Grid) -> CellTable:
    table = CellTable()
    for block in blocks():
        table.add(grid.keys(block.xyz))
    return table


def _means(blocks: Blocks, grid: Grid) -> Points:
    table, like = CellTable(), None
    sums, views = np.zeros((0, _COLUMNS)), np.zeros(0, np.uint8)
    for block in blocks():
        like = block if like is None else like
        places = table.add(grid.keys(block.xyz))
        if len(table) > len(sums):
            more = max(len(table) - len(sums), len(sums) // 2)
            sums = np.concatenate([sums, np.zeros((more, _COLUMNS))])
            views = np.concatenate([views, np.zeros(more, np.uint8)])
        _add(places, block.xyz, grid.origin, _columns(block), sums)
        if block.views is not None:
            _largest(places, block.views, views)
    count = len(table)
    means = sums[:count] / np.maximum(table.counts[:, None], 1)
    return Points(
        (means[:, :3] + grid.origin).astype(like.xyz.dtype),
        np.rint(means[:, 3:6]).astype(np.uint8),
        None if like.normals is None else unit_vectors(means[:, 6:9]),
        None if like.views is None else views[:count],
        None if like.confidence is None else means[:, 9].astype(np.float32),
    )


def _columns(block: Points) -> np.ndarray:
    """Colour, normal and confidence of each point, float32 [N, 7], 0 where there is none."""
    columns = np.zeros((len(block), _COLUMNS - 3), np.float32)
    columns[:, :3] = block.colors
    if block.normals is not None:
        columns[:, 3:6] = block.normals
    if block.confidence is not None:
        columns[:, 6] = block.confidence
    return columns


@cached_njit(nogil=True)
def _add(places, xyz, origin, columns, sums):
    for i in range(len(places)):
        if places[i] >= 0:
            for axis in range(3):
                sums[places[i], axis] += np.float64(xyz[i, axis]) - origin[axis]
            for c in range(columns.shape[1]):
                sums[places[i], 3 + c] += columns[i, c]


@cached_njit(nogil=True)
def _largest(places, values, largest):
    for i in range(len(places)):
        if places[i] >= 0:
            largest[places[i]] = max(largest[places[i]], values[i])
