"""Depth maps as smooth as their noise allows, before a mesh is made of them."""

import dataclasses
from collections.abc import Iterator

import numba
import numpy as np

from fusion.mesh.maps import KeptView
from numba_cache import cached_njit

_RADIUS = 6  # pixels
_SPREAD = 3.0  # standard deviation of what neighbours count, pixels


def smoothed_views(views: Iterator[KeptView], pixels: float) -> Iterator[KeptView]:
    """The views with smooth depth: what differs by less than so many pixels of disparity may be noise.

    The disparity is that between the view and those it was checked against. With 0 pixels they stay as they are, as do
    views that were checked from where they stand, which have no disparity.
    """
    for view in views:
        if pixels == 0 or view.baseline == 0:
            yield view
            continue
        tolerance = pixels / (view.camera.shorter_focal * view.baseline)
        yield dataclasses.replace(view, depth=smoothed(view.depth, tolerance))


def smoothed(depth: np.ndarray, tolerance: float) -> np.ndarray:
    """A depth map [H, W] float32, 0 where there is none, as means of the inverse depth around each pixel.

    Neighbours count in pairs on opposite sides, by how near they are, and only where both are within the tolerance (of
    inverse depth): so planes stay as they are however slanted, and edges, too.
    """
    inverse = np.where(depth > 0, 1 / np.where(depth > 0, depth, 1), 0)
    result = np.zeros(depth.shape, np.float32)
    steps = np.arange(_RADIUS + 1)
    _smooth(inverse, float(tolerance), np.exp(-0.5 * (steps / _SPREAD) ** 2), result)
    return result


@cached_njit(parallel=True, error_model="numpy")
def _smooth(inverse, tolerance, along, result):
    """Fill result [H, W]; inverse depth [H, W] float64; along [R + 1]: what a neighbour counts by its distance."""
    height, width = inverse.shape
    radius = len(along) - 1
    for y in numba.prange(height):
        for x in range(width):
            middle = inverse[y, x]
            if middle == 0:
                continue
            total, weights = middle, 1.0
            for down in range(radius + 1):
                if y - down < 0 or y + down >= height:
                    break
                # Half of the neighbours: the others are those opposite.
                for right in range(1 if down == 0 else -radius, radius + 1):
                    if not (0 <= x - right < width and 0 <= x + right < width):
                        continue
                    one, other = inverse[y + down, x + right], inverse[y - down, x - right]
                    if one == 0 or other == 0 or abs(one - middle) > tolerance or abs(other - middle) > tolerance:
                        continue
                    weight = along[down] * along[abs(right)]
                    total += weight * (one + other)
                    weights += 2 * weight
            result[y, x] = weights / total
