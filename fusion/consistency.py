"""Reproject and compare: which other views confirm a depth map. Labels and filters share it.

Source: docs/method.md, section 4.

Sampling is exact bilinear interpolation. `cv2.remap` of older OpenCV rounds positions to 1/32 pixel, which moves the
mean by 0.006 mm for the median pixel of the golden labels; exact sampling gives their masks and means, so it is what
made them.
"""

import dataclasses
from collections.abc import Iterable

import numba
import numpy as np

from datasets.camera import Camera, src_T_ref
from datasets.predictions import DepthView
from numba_cache import cached_njit

# NaN and infinity keep their meaning (they must fail every comparison); only fused multiply-adds are allowed.
FASTMATH = {"contract", "nsz"}


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
    standard deviation of the reference depth and the reprojected depths that agree at the loosest level. sources
    [H, W] uint16: how many these are.
    """

    passed: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray
    sources: np.ndarray


def check_view(reference: DepthView, sources: Iterable[DepthView], check: Check) -> Agreement:
    """Compare a reference depth map with those of its sources, which may have other sizes.

    A depth that is not positive and finite is never consistent, neither the reference's nor a source's.
    """
    height, width = reference.depth.shape
    thresholds = np.array([check.pixel_thresholds, check.depth_thresholds])
    counts = np.zeros((len(check.required), height, width), np.uint16)
    # Of the differences to the reference depth: their sum, and the sum of their squares.
    sums = np.zeros((2, height, width))
    for source in sources:
        maps = (src_T_ref(source.camera, reference.camera), src_T_ref(reference.camera, source.camera))
        _compare(reference.depth, source.depth, *maps, thresholds, counts, sums)
    required = np.clip(check.required, 0, np.iinfo(counts.dtype).max).astype(counts.dtype)
    passed = (counts >= required[:, None, None]).any(axis=0)
    total = counts[-1] + 1.0
    offset = sums[0] / total
    variance = np.maximum(sums[1] / total - offset**2, 0)
    mean, sigma = (reference.depth + offset).astype(np.float32), np.sqrt(variance).astype(np.float32)
    return Agreement(passed, mean, sigma, counts[-1])


def colour_difference(
    reference: DepthView, image: np.ndarray, source_camera: Camera, source_image: np.ndarray
) -> np.ndarray:
    """How far each reference pixel's colour is from the source's at the point where the depth puts it.

    image, source_image uint8 [H, W, 3] of the reference and the source, at the sizes that their cameras belong to.
    Returns float32 [H, W]: the absolute difference, mean over the channels, from 0 to 1. Outside the source its nearest
    border counts; where there is no depth, or it lies behind the source, the difference is 1.
    """
    difference = np.empty(reference.depth.shape, np.float32)
    _difference(reference.depth, image, source_image, src_T_ref(source_camera, reference.camera), difference)
    return difference


@cached_njit(parallel=True, fastmath=FASTMATH, error_model="numpy")
def _difference(ref_depth, image, source, src_T_ref, difference):
    """Fill the colour differences [H, W]; see colour_difference."""
    height, width = ref_depth.shape
    right, bottom = source.shape[1] - 1.0, source.shape[0] - 1.0
    for number in numba.prange(height):
        y = np.int64(number)
        u, v = np.empty(width), np.empty(width)
        project_row(y, ref_depth[y], src_T_ref, u, v)
        for x in range(width):
            seen = ref_depth[y, x] > 0 and not (u[x] == -1 and v[x] == -1)
            column, row = min(max(u[x], 0.0), right), min(max(v[x], 0.0), bottom)
            total = 0.0
            for c in range(3):
                total += abs(image[y, x, c] - _sample(source[:, :, c], column, row))
            difference[y, x] = total / (3 * 255.0) if seen else 1.0


@cached_njit(fastmath=FASTMATH, error_model="numpy")
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


@cached_njit(parallel=True, fastmath=FASTMATH, error_model="numpy")
def _compare(ref_depth, src_depth, src_T_ref, ref_T_src, thresholds, counts, sums):
    """Add one source's votes to counts [L, H, W] and its depth differences to sums [2, H, W].

    src_T_ref, ref_T_src [4, 4] map (u z, v z, z, 1) of one image to the other; thresholds [2, L] in pixels and relative
    depth. Each row in three loops: only the middle one, which samples, is not made of SIMD instructions.
    """
    height, width = ref_depth.shape
    for number in numba.prange(height):
        y = np.int64(number)
        u, v, sampled = np.empty(width), np.empty(width), np.empty(width)
        project_row(y, ref_depth[y], src_T_ref, u, v)
        _sample_row(src_depth, u, v, sampled)
        _vote_row(y, ref_depth[y], u, v, sampled, ref_T_src, thresholds, counts[:, y], sums[:, y])


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def project_row(y, ref_depth, src_T_ref, u, v):
    """Positions u, v [W] in the source; -1, which is outside, where there is no depth or it lies behind the source."""
    A = src_T_ref
    row0, row1, row2 = A[0, 1] * y + A[0, 2], A[1, 1] * y + A[1, 2], A[2, 1] * y + A[2, 2]
    for x in range(len(ref_depth)):
        depth = np.float64(ref_depth[x])
        z = (A[2, 0] * x + row2) * depth + A[2, 3]
        seen = (depth > 0) & (depth < np.inf) & (z > 0)
        u[x] = ((A[0, 0] * x + row0) * depth + A[0, 3]) / z if seen else -1.0
        v[x] = ((A[1, 0] * x + row1) * depth + A[1, 3]) / z if seen else -1.0


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _sample_row(src_depth, u, v, sampled):
    """Depths [W] of the source at the positions, 0 outside."""
    height, width = src_depth.shape
    flat = src_depth.reshape(-1)
    corner = np.empty(len(u), np.int32)  # where all four neighbours exist: the upper left one's index, else -1
    for x in range(len(u)):
        inside = (u[x] >= 0) & (u[x] < width - 1) & (v[x] >= 0) & (v[x] < height - 1)
        corner[x] = np.int32(v[x]) * np.int32(width) + np.int32(u[x]) if inside else np.int32(-1)
    beside, below = np.uint64(1), np.uint64(width)  # unsigned indices spare numba's check for negative ones
    for x in range(len(u)):
        if corner[x] >= 0:
            first = np.uint64(corner[x])
            right, down = u[x] - np.floor(u[x]), v[x] - np.floor(v[x])
            value = flat[first] * (1 - right) * (1 - down)
            value += flat[first + beside] * right * (1 - down)
            value += flat[first + below] * (1 - right) * down
            sampled[x] = value + flat[first + below + beside] * right * down
        elif -1 < u[x] < width and -1 < v[x] < height:
            sampled[x] = _sample(src_depth, u[x], v[x])
        else:
            sampled[x] = 0.0


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _vote_row(y, ref_depth, u, v, sampled, ref_T_src, thresholds, counts, sums):
    """Carry the samples back to the reference and add where they agree to counts [L, W] and sums [2, W]."""
    B = ref_T_src
    width, levels = len(ref_depth), thresholds.shape[1]
    # Squared reprojection error times squared depth, and the depth: comparing these takes no division or root.
    error, back = np.empty(width), np.empty(width)
    for x in range(width):
        z = (B[2, 0] * u[x] + B[2, 1] * v[x] + B[2, 2]) * sampled[x] + B[2, 3]
        error_x = (B[0, 0] * u[x] + B[0, 1] * v[x] + B[0, 2]) * sampled[x] + B[0, 3] - z * x
        error_y = (B[1, 0] * u[x] + B[1, 1] * v[x] + B[1, 2]) * sampled[x] + B[1, 3] - z * y
        valid = (sampled[x] > 0) & (sampled[x] < np.inf) & (z > 0)
        error[x] = error_x * error_x + error_y * error_y if valid else np.inf
        back[x] = z
    for level in range(levels):
        pixels, share = thresholds[0, level], thresholds[1, level]
        for x in range(width):
            depth = np.float64(ref_depth[x])
            near = abs(back[x] - depth) < share * depth
            counts[level, x] += (error[x] < (pixels * back[x]) ** 2) & near
    pixels, share = thresholds[0, levels - 1], thresholds[1, levels - 1]
    for x in range(width):
        depth = np.float64(ref_depth[x])
        near = abs(back[x] - depth) < share * depth
        agreed = back[x] - depth if (error[x] < (pixels * back[x]) ** 2) & near else 0.0
        sums[0, x] += agreed
        sums[1, x] += agreed * agreed
