"""Depth that reaches beyond the edge of what it belongs to, as a roof's into the sky.

A network's depth goes on beyond the edge of a thing into what is smooth around it. Where something lies behind, the
other views tell; the sky, or a plain wall far behind, has no depth that could. But the photo shows it: where the depth
ends nothing is to be seen, and the edge in the photo lies further in. So what is smooth at the photo's border, in a
large region without depth, grows inwards over colours that stay alike, up to an edge of the photo, and takes what it
meets. Where the region is textured, as ground that no other view saw, nothing grows.
"""

import cv2
import numpy as np

from numba_cache import cached_njit

_MEDIAN = 3  # pixels: takes out a photo's noise, keeps its edges
_SOLID = 5  # pixels: thinner bands without depth are no region
_LEAST_REGION = 0.05  # of the photo
_SMOOTH = 6  # levels of 255 between the pixels around one, at most, where nothing is to be seen
_ALIKE = 6  # levels between two neighbours
_SAME, _ANY = 48, 255  # levels between a pixel and where the region was left; inside it, any
_MIXED = 2  # pixels at the edge, whose colour is both sides'; one more is not smooth, as the edge is beside it


def beyond_edges(kept: np.ndarray, image: np.ndarray, reach: int) -> np.ndarray:
    """Which of a view's pixels that have a point (`kept`, bool [H, W]) lie beyond an edge of the image (uint8
    [H, W, 3]), at most `reach` pixels deep; bool [H, W]."""
    blurred = cv2.medianBlur(image, _MEDIAN)
    smooth = _is_smooth(blurred)
    region = _solid_gaps(kept) & smooth
    region = _large(_grown(blurred, region, _at_border(region), region.size, _ANY) >= 0)
    if reach < 1 or not region.any():
        return np.zeros_like(kept)
    taken = (_grown(blurred, smooth, region, reach, _SAME) > 0) & kept
    side = 2 * (_MIXED + 1) + 1
    return kept & (cv2.dilate(taken.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def _at_border(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask at the photo's border."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = True
    return mask & ~inner


def _grown(image: np.ndarray, allowed: np.ndarray, seeds: np.ndarray, reach: int, same: int) -> np.ndarray:
    """The steps int32 [H, W] from the seeds to each pixel that is reached; -1 elsewhere. See `_grow`."""
    grown = np.where(seeds, 0, -1).astype(np.int32)
    _grow(image.astype(np.int32), allowed, np.flatnonzero(seeds).astype(np.int64), grown, reach, same)
    return grown


def _is_smooth(image: np.ndarray) -> np.ndarray:
    """Where the pixels around one are alike, bool [H, W]."""
    kernel = np.ones((3, 3), np.uint8)
    return (cv2.dilate(image, kernel) - cv2.erode(image, kernel)).max(axis=2) <= _SMOOTH


def _solid_gaps(kept: np.ndarray) -> np.ndarray:
    """Where there is no depth over more than a few pixels, bool [H, W]."""
    kernel = np.ones((_SOLID, _SOLID), np.uint8)
    padded = np.pad((~kept).astype(np.uint8), _SOLID, mode="edge")
    return cv2.morphologyEx(padded, cv2.MORPH_OPEN, kernel)[_SOLID:-_SOLID, _SOLID:-_SOLID] > 0


def _large(mask: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that cover much of the photo."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= _LEAST_REGION * mask.size
    large[0] = False  # what is outside
    return large[labels]


@cached_njit()
def _grow(image, allowed, seeds, grown, reach, same):
    """Set grown [H, W] to the steps to each allowed pixel that is reached from the seeds, whose pixels have 0 there, in
    at most `reach` steps over colours that stay alike, and within `same` levels of the seed's."""
    height, width = grown.shape
    queue = np.empty(grown.size, np.int64)
    origin = np.empty(grown.size, np.int64)  # the seed
    first, last = 0, len(seeds)
    for n in range(last):
        queue[n], origin[seeds[n]] = seeds[n], seeds[n]
    while first < last:
        pixel = queue[first]
        first += 1
        y, x = pixel // width, pixel % width
        if grown[y, x] >= reach:
            continue
        oy, ox = origin[pixel] // width, origin[pixel] % width
        for step in range(4):
            v, u = y + (step == 0) - (step == 1), x + (step == 2) - (step == 3)
            if not (0 <= v < height and 0 <= u < width) or grown[v, u] >= 0 or not allowed[v, u]:
                continue
            near, far = 0, 0
            for c in range(3):
                near = max(near, abs(image[v, u, c] - image[y, x, c]))
                far = max(far, abs(image[v, u, c] - image[oy, ox, c]))
            if near <= _ALIKE and far <= same:
                grown[v, u] = grown[y, x] + 1
                origin[v * width + u] = origin[pixel]
                queue[last] = v * width + u
                last += 1
