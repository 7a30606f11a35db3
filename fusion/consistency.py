"""Reproject and compare: which other views confirm a depth map (specs: kdmvs, section 4). Labels and filters share it.

Sampling is exact bilinear interpolation. `cv2.remap` of older OpenCV rounds positions to 1/32 pixel, which moves the
mean by 0.006 mm for the median pixel of the golden labels; exact sampling gives their masks and means, so it is what
made them.
"""

import dataclasses
from collections.abc import Iterable

import numba
import numpy as np

from fusion.predictions import DepthView

# NaN and infinity keep their meaning (they must fail every comparison); only fused multiply-adds are allowed.
_FASTMATH = {"contract", "nsz"}


@dataclasses.dataclass(frozen=True)
class Check:
    """Levels of agreement, from strict to loose: both thresholds [L] must not decrease from level to level.

    A source is consistent at a level when the reprojection error in pixels and the relative depth difference lie
    strictly below the level's thresholds. A pixel passes when at some level at least `required` sources are consistent.
    """

    pixel_thresholds: tuple[float, ...]
    depth_thresholds: tuple[float, ...]
    required: tuple[int, ...]

    def __post_init__(self) -> None:
        levels = (self.pixel_thresholds, self.depth_thresholds)
        if len({len(self.required), *map(len, levels)}) != 1 or any(sorted(level) != list(level) for level in levels):
            raise ValueError("a check needs thresholds of equal number that do not decrease from level to level")


def normal_check(reproject_dist: float = 1.0, depth_diff: float = 0.005, thres_view: int = 5) -> Check:
    """One level: `reproject_dist` pixels, relative `depth_diff`, at least `thres_view` sources."""
    return Check((reproject_dist,), (depth_diff,), (thres_view,))


def dynamic_check() -> Check:
    """D2HC-RMVSNet's levels i = 2..10: at least i sources within i/4 pixels and i/1300 relative depth."""
    levels = range(2, 11)
    return Check(tuple(i / 4 for i in levels), tuple(i / 1300 for i in levels), tuple(levels))


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What the sources say about a reference depth map.

    passed [H, W] bool: confirmed by enough sources. mean, sigma [H, W] float32, depth units: mean and population
    standard deviation of the reference depth and the reprojected depths that agree at the loosest level.
    """

    passed: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray


def check_view(reference: DepthView, sources: Iterable[DepthView], check: Check) -> Agreement:
    """Compare a reference depth map with those of its sources, which may have other sizes.

    A depth that is not positive and finite is never consistent, neither the reference's nor a source's.
    """
    height, width = reference.depth.shape
    pixel_thresholds, depth_thresholds = np.array(check.pixel_thresholds), np.array(check.depth_thresholds)
    counts = np.zeros((height, width, len(check.required)), np.uint16)
    # Of the differences to the reference depth: [..., 0] their sum and [..., 1] the sum of their squares.
    sums = np.zeros((height, width, 2))
    for source in sources:
        src_T_ref = source.camera.projection() @ np.linalg.inv(reference.camera.projection())
        ref_T_src = np.linalg.inv(src_T_ref)
        _compare(reference.depth, source.depth, src_T_ref, ref_T_src, pixel_thresholds, depth_thresholds, counts, sums)
    passed = (counts >= np.array(check.required)).any(axis=-1)
    total = counts[..., -1] + 1.0
    offset = sums[..., 0] / total
    variance = np.maximum(sums[..., 1] / total - offset**2, 0)
    return Agreement(passed, (reference.depth + offset).astype(np.float32), np.sqrt(variance).astype(np.float32))


@numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy")
def _sample(image, u, v):
    """Bilinear value of image [H, W] at (u, v), zero outside; (u, v) must lie in (-1, W) x (-1, H)."""
    height, width = image.shape
    column, row = int(np.floor(u)), int(np.floor(v))
    right, down = u - column, v - row
    value = 0.0
    if row >= 0:
        if column >= 0:
            value += image[row, column] * (1 - right) * (1 - down)
        if column + 1 < width:
            value += image[row, column + 1] * right * (1 - down)
    if row + 1 < height:
        if column >= 0:
            value += image[row + 1, column] * (1 - right) * down
        if column + 1 < width:
            value += image[row + 1, column + 1] * right * down
    return value


@numba.njit(cache=True, parallel=True, fastmath=_FASTMATH, error_model="numpy")
def _compare(ref_depth, src_depth, src_T_ref, ref_T_src, pixel_thresholds, depth_thresholds, counts, sums):
    """Add one source's votes to counts [H, W, L] and its depth differences to sums [H, W, 2].

    src_T_ref, ref_T_src [4, 4] map (u z, v z, z, 1) of one image to the other.
    """
    A, B = src_T_ref, ref_T_src
    height, width = ref_depth.shape
    src_height, src_width = src_depth.shape
    levels = len(pixel_thresholds)
    for y in numba.prange(height):
        for x in range(width):
            depth = np.float64(ref_depth[y, x])
            if not (0 < depth < np.inf):
                continue
            z = (A[2, 0] * x + A[2, 1] * y + A[2, 2]) * depth + A[2, 3]
            if not z > 0:
                continue
            u = ((A[0, 0] * x + A[0, 1] * y + A[0, 2]) * depth + A[0, 3]) / z
            v = ((A[1, 0] * x + A[1, 1] * y + A[1, 2]) * depth + A[1, 3]) / z
            if not (-1 < u < src_width and -1 < v < src_height):
                continue
            sampled = _sample(src_depth, u, v)
            if not (0 < sampled < np.inf):
                continue
            back = (B[2, 0] * u + B[2, 1] * v + B[2, 2]) * sampled + B[2, 3]
            if not back > 0:
                continue
            error_x = ((B[0, 0] * u + B[0, 1] * v + B[0, 2]) * sampled + B[0, 3]) / back - x
            error_y = ((B[1, 0] * u + B[1, 1] * v + B[1, 2]) * sampled + B[1, 3]) / back - y
            pixel_error = np.sqrt(error_x * error_x + error_y * error_y)
            difference = back - depth
            depth_error = abs(difference) / depth
            level = levels
            while level > 0 and pixel_error < pixel_thresholds[level - 1] and depth_error < depth_thresholds[level - 1]:
                level -= 1
                counts[y, x, level] += 1
            if level < levels:
                sums[y, x, 0] += difference
                sums[y, x, 1] += difference * difference
