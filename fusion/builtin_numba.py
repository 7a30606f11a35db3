"""The built-in fuser's kernels on the CPU, in numba (docs/method.md, "Fusion")."""

from collections.abc import Callable, Sequence

import numba
import numpy as np

from numba_cache import cached_njit

# NaN and infinity keep their meaning (they must fail every comparison); only fused multiply-adds are allowed.
_FASTMATH = {"contract", "nsz"}


def numba_fuser(
    depths: Sequence[np.ndarray], images: Sequence[np.ndarray], precision: type[np.floating]
) -> Callable[..., tuple[np.ndarray, ...]]:
    """A function that fuses one reference view of N depths [H, W] float32 and images [H, W, 3] uint8.

    It takes (reference, others, geometry, settings) as `fuse_views` makes them and returns a FusedView's arrays, points
    of the `precision`.
    """
    sizes = np.array([depth.shape for depth in depths])
    depths, images = _stacked(depths), _stacked(images)

    def fuse_view(
        reference: int, others: np.ndarray, geometry: tuple[np.ndarray, ...], settings: tuple
    ) -> tuple[np.ndarray, ...]:
        height, width = sizes[reference]
        points = np.empty((height, width, 3), precision)
        colors = np.empty((height, width, 3), np.uint8)
        ncons = np.empty((height, width), np.int16)
        _fuse_view(reference, others, depths, images, sizes, geometry, settings, points, colors, ncons)
        pix = np.flatnonzero(ncons >= 0)
        return points.reshape(-1, 3)[pix], colors.reshape(-1, 3)[pix], ncons.ravel()[pix], pix

    return fuse_view


def _stacked(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Maps [H, W, ...] as one array; beyond a smaller one's borders it is not read."""
    if isinstance(maps, np.ndarray):
        return maps
    height, width = np.max([each.shape[:2] for each in maps], axis=0)
    stacked = np.zeros((len(maps), height, width, *maps[0].shape[2:]), maps[0].dtype)
    for target, each in zip(stacked, maps, strict=True):
        target[: each.shape[0], : each.shape[1]] = each
    return stacked


@cached_njit(fastmath=_FASTMATH, error_model="numpy", inline="always")
def _lerp(a, b, fraction):
    """Linear interpolation that keeps a constant exactly constant."""
    return a + fraction * (b - a)


@cached_njit(parallel=True, fastmath=_FASTMATH, error_model="numpy")
def _fuse_view(reference, others, depths, images, sizes, geometry, settings, points, colors, ncons):
    """Fill points, colors and ncons [H, W] of one reference view; ncons is -1 where no point is emitted.

    It is compared with the views `others` [n].

    View i is the first sizes[i] rows and columns of depths [N, h, w] and images [N, h, w, 3].
    Rows are independent; within a row the views come one after the other, so that their matrices stay in registers
    and only a narrow band of each view is read.
    """
    src_T_ref, world_T_img, disparity_scale, coarseness = geometry
    num_consistent = settings[2]
    height, width = ncons.shape
    for number in numba.prange(height):
        y = np.int64(number)
        sums = np.empty((width, 6))
        agreeing = np.zeros(width, np.int16)
        u, v, z = np.empty(width), np.empty(width), np.empty(width)
        ref_depth = depths[reference, y, :width]
        for x in range(width):
            _start(x, y, np.float64(ref_depth[x]), images[reference, y, x], world_T_img[reference], sums[x])
        for source in others:
            _project_row(y, ref_depth, src_T_ref[source], u, v, z)
            _add_agreeing(
                u, v, z, depths[source], images[source], sizes[source], world_T_img[source],
                disparity_scale[source], coarseness[source], settings, sums, agreeing,
            )  # fmt: skip
        for x in range(width):
            emitted = agreeing[x] >= num_consistent
            for k in range(3):
                points[y, x, k] = sums[x, k] / (agreeing[x] + 1)
                value = points[y, x, k]
                colors[y, x, k] = np.uint8(sums[x, 3 + k] / (agreeing[x] + 1))
                emitted = emitted and value != 0 and np.isfinite(value)
            ncons[y, x] = agreeing[x] if emitted else -1


@cached_njit(fastmath=_FASTMATH, error_model="numpy")
def _start(x, y, depth, color, world_T_ref, sums):
    """Set sums [6] to the world point and the colour of the reference pixel itself."""
    for k in range(3):
        row = world_T_ref[k]
        sums[k] = (row[0] * x + row[1] * y + row[2]) * depth + row[3]
        sums[3 + k] = color[k]


@cached_njit(fastmath=_FASTMATH, error_model="numpy")
def _project_row(y, ref_depth, src_T_ref, u, v, z):
    """Positions u, v [W] in another image and depths z [W] there of row y; a loop of its own, for SIMD instructions."""
    A = src_T_ref
    row0, row1, row2 = A[0, 1] * y + A[0, 2], A[1, 1] * y + A[1, 2], A[2, 1] * y + A[2, 2]
    step0, step1, step2 = A[0, 0], A[1, 0], A[2, 0]
    shift0, shift1, shift2 = A[0, 3], A[1, 3], A[2, 3]
    for x in range(len(ref_depth)):
        depth = np.float64(ref_depth[x])
        z[x] = (step2 * x + row2) * depth + shift2
        u[x] = ((step0 * x + row0) * depth + shift0) / z[x]
        v[x] = ((step1 * x + row1) * depth + shift1) / z[x]


@cached_njit(fastmath=_FASTMATH, error_model="numpy")
def _add_agreeing(us, vs, zs, depth, image, size, world_T_src, disparity_scale, coarseness, settings, sums, agreeing):
    """Add where another view agrees with a projected row: point and colour to sums [W, 6], one to agreeing [W]."""
    B = world_T_src
    fraction_steps, disp_threshold, _ = settings
    height, width = size[0], size[1]
    for x in range(len(us)):
        u, v, z = us[x], vs[x], zs[x]
        if not (0 <= u < width and 0 <= v < height):
            continue
        left, top = int(u), int(v)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        fu, fv = u - left, v - top
        if fraction_steps > 0:
            fu, fv = np.rint(fu * fraction_steps) / fraction_steps, np.rint(fv * fraction_steps) / fraction_steps
        upper = _lerp(np.float64(depth[top, left]), np.float64(depth[top, right]), fu)
        lower = _lerp(np.float64(depth[bottom, left]), np.float64(depth[bottom, right]), fu)
        sampled = _lerp(upper, lower, fv)
        # |s/z - s/d| < T without its divisions; false for d = 0, NaN and infinity, as there.
        most = max(disp_threshold * abs(z * sampled), coarseness * abs(z))
        if not disparity_scale * abs(sampled - z) < most:
            continue
        agreeing[x] += 1
        for k in range(3):
            sums[x, k] += (B[k, 0] * left + B[k, 1] * top + B[k, 2]) * sampled + B[k, 3]
            upper = _lerp(np.float64(image[top, left, k]), np.float64(image[top, right, k]), fu)
            lower = _lerp(np.float64(image[bottom, left, k]), np.float64(image[bottom, right, k]), fu)
            sums[x, 3 + k] += _lerp(upper, lower, fv)
