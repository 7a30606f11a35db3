"""Even thinning: of every voxel one point, so that few points show how good a cloud is, and where it is thin."""

from typing import NamedTuple

import numpy as np

_ROUNDS = 12
_ENOUGH = 0.92  # of the points that may stay
_CELL_BITS, _DISTANCE_BITS = 18, 8  # of a point's key: three cells and a distance in 62 bits
_SMALLEST = float(np.finfo(np.float32).tiny)


class Thinned(NamedTuple):
    """Which points stay, in the order of their voxels, and the voxels' side in the points' unit; 0 where all stay."""

    indices: np.ndarray
    size: float


def voxel_thinned(xyz: np.ndarray, most: int) -> Thinned:
    """At most so many of the points [N, 3]: of each voxel the one next to its middle, of voxels as small as can be."""
    if len(xyz) <= most:
        return Thinned(np.arange(len(xyz)), 0.0)
    low = xyz.min(axis=0)
    extent = max(float((xyz.max(axis=0) - low).max()), _SMALLEST)
    smallest = extent / ((1 << _CELL_BITS) - 1)
    size, best = max(smallest, extent / np.sqrt(most)), None
    too_small = 0.0
    for _ in range(_ROUNDS):
        count = _count(xyz, low, size)
        if count <= most and (best is None or size < best):
            best = size
        elif count > most:
            too_small = max(too_small, size)
        if _ENOUGH * most <= count <= most or size == smallest >= (best or np.inf):
            break
        size = _next_size(size * np.sqrt(count / most / np.sqrt(_ENOUGH)), too_small, best, smallest)
    best = 2 * extent if best is None else best
    return Thinned(_nearest_to_middles(xyz, low, best), best)


def _next_size(guess: float, too_small: float, enough: float | None, smallest: float) -> float:
    """The guess, which supposes points on surfaces, held between sizes known to be too small and to be enough."""
    if enough is not None and not too_small < guess < enough:
        guess = np.sqrt(too_small * enough) if too_small else enough / 2
    return max(guess, smallest)


def _cells(xyz: np.ndarray, low: np.ndarray, size: float) -> np.ndarray:
    """Positions [N, 3] in voxels."""
    return (xyz - low) / np.float64(size)


def _keys(cells: np.ndarray) -> np.ndarray:
    """One whole number for the voxel of each position."""
    x, y, z = np.minimum(cells, (1 << _CELL_BITS) - 1).astype(np.int64).T
    return (x << 2 * _CELL_BITS) | (y << _CELL_BITS) | z


def _count(xyz: np.ndarray, low: np.ndarray, size: float) -> int:
    """How many voxels hold points."""
    return len(np.unique(_keys(_cells(xyz, low, size))))


def _nearest_to_middles(xyz: np.ndarray, low: np.ndarray, size: float) -> np.ndarray:
    """Of every voxel the point next to its middle, but for the rounding of the distance to eight bits."""
    cells = _cells(xyz, low, size)
    distance = np.square(cells - np.floor(cells) - 0.5).sum(axis=1) / 0.75  # 0 in the middle, 1 at a corner
    keys = _keys(cells)
    steps = (distance * ((1 << _DISTANCE_BITS) - 1)).clip(0, (1 << _DISTANCE_BITS) - 1).astype(np.int64)
    order = np.argsort((keys << _DISTANCE_BITS) | steps, kind="stable")
    ordered = keys[order]
    return order[np.append(True, ordered[1:] != ordered[:-1])]
