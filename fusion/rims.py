"""Depth that reaches beyond the edge of what it belongs to, as a roof's into the sky.

A network's depth goes on a few pixels beyond the edge of a thing. Where something lies behind, the other views tell;
the sky has no depth that could. But the photo shows it: what has no depth and what has some look alike there, and the
edge in the photo lies further in. So from every large region without depth that reaches the photo's border, the region
grows inwards over colours that stay alike, up to an edge of the photo, and takes what it meets.
"""

import cv2
import numpy as np

from numba_cache import cached_njit

_MEDIAN = 3  # pixels: takes out a photo's noise, keeps its edges
_SOLID = 5  # pixels: thinner bands without depth are no region
_LEAST_REGION = 0.01  # of the photo
_ALIKE = 10  # levels of 255 between two neighbours
_SAME = 40  # levels between a pixel and where the region came in
_MIXED = 2  # pixels at the edge, whose colour is both sides'


def beyond_edges(kept: np.ndarray, image: np.ndarray, reach: int) -> np.ndarray:
    """Which of a view's pixels that have a point (`kept`, bool [H, W]) lie beyond an edge of the image (uint8
    [H, W, 3]), at most `reach` pixels deep; bool [H, W]."""
    region = _open_region(kept)
    if reach < 1 or not region.any():
        return np.zeros_like(kept)
    grown = np.where(region, 0, -1).astype(np.int32)
    smooth = cv2.medianBlur(image, _MEDIAN)
    _grow(smooth.astype(np.int32), np.flatnonzero(region).astype(np.int64), grown, reach)
    taken = (grown > 0) & kept
    around = cv2.dilate((grown > 0).astype(np.uint8), np.ones((2 * _MIXED + 1,) * 2, np.uint8)) > 0
    return taken | (around & kept)


def _open_region(kept: np.ndarray) -> np.ndarray:
    """The large regions without depth that reach the border, bool [H, W]."""
    kernel = np.ones((_SOLID, _SOLID), np.uint8)
    solid = cv2.morphologyEx(np.pad((~kept).astype(np.uint8), _SOLID, mode="edge"), cv2.MORPH_OPEN, kernel)
    solid = solid[_SOLID:-_SOLID, _SOLID:-_SOLID]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    height, width = kept.shape
    left, top, wide, high, area = stats.T
    at_border = (left == 0) | (top == 0) | (left + wide == width) | (top + high == height)
    large = at_border & (area >= _LEAST_REGION * kept.size)
    large[0] = False  # what is not solid
    return large[labels]


@cached_njit()
def _grow(image, seeds, grown, reach):
    """Set grown [H, W] to the steps from the region, whose pixels have 0, to each pixel that it takes; -1 elsewhere."""
    height, width = grown.shape
    queue = np.empty(grown.size, np.int64)
    origin = np.empty(grown.size, np.int64)  # where the region was left
    first, last = 0, len(seeds)
    queue[:last] = seeds
    origin[seeds] = seeds
    while first < last:
        pixel = queue[first]
        first += 1
        y, x = pixel // width, pixel % width
        if grown[y, x] >= reach:
            continue
        oy, ox = origin[pixel] // width, origin[pixel] % width
        for step in range(4):
            v, u = y + (step == 0) - (step == 1), x + (step == 2) - (step == 3)
            if not (0 <= v < height and 0 <= u < width) or grown[v, u] >= 0:
                continue
            near, far = 0, 0
            for c in range(3):
                near = max(near, abs(image[v, u, c] - image[y, x, c]))
                far = max(far, abs(image[v, u, c] - image[oy, ox, c]))
            if near <= _ALIKE and far <= _SAME:
                grown[v, u] = grown[y, x] + 1
                origin[v * width + u] = origin[pixel]
                queue[last] = v * width + u
                last += 1
