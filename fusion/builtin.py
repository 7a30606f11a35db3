"""The built-in fuser: what the CUDA program fusibile computes, without CUDA (specs: fusibile)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numba
import numpy as np

from datasets.files import PathLike
from datasets.io import Camera, ply_writer
from fusion.predictions import Predictions

# Added to positions in pixels before they are rounded down: far below float32's resolution of a position, far above
# float64's. So a position that is whole by construction (rectified cameras) does not depend on rounding errors.
_TIE_SHIFT = 1e-6

# NaN and infinity keep their meaning (they must fail every comparison); only fused multiply-adds are allowed.
_FASTMATH = {"contract", "nsz"}


class FusedView(NamedTuple):
    """The points that one reference view emits, row by row.

    points [M, 3] float32 world units, colors [M, 3] uint8 RGB, ncons [M] int16 number of agreeing views,
    pix [M] index y * W + x of the pixel.
    """

    points: np.ndarray
    colors: np.ndarray
    ncons: np.ndarray
    pix: np.ndarray


def fuse_views(
    depths: np.ndarray,
    images: np.ndarray,
    cameras: Sequence[Camera],
    disp_threshold: float,
    num_consistent: float,
    gpu_fractions: bool = False,
) -> Iterator[FusedView]:
    """Fuse depths [N, H, W] float32 with images [N, H, W, 3] uint8; yields one FusedView per view, in order.

    As in fusibile, all cameras take the first one's K. Another view agrees where the disparities of its depth and of
    the projected depth differ by less than `disp_threshold` pixels; a pixel needs `int(num_consistent)` such views.
    A depth that is not finite never agrees and gives no point. Coinciding centres have disparity 0: any depth agrees.
    `gpu_fractions` samples with fractions of 8 bits as a GPU's texture unit does, for comparison with the program.
    """
    cam_T_world = np.stack([camera.cam_T_world for camera in cameras])
    K = np.eye(4)
    K[:3, :3] = cameras[0].K
    img_T_world = K @ cam_T_world
    world_T_img = np.linalg.inv(img_T_world)
    centers = np.linalg.inv(cam_T_world)[:, :3, 3]
    _, height, width, _ = images.shape
    settings = (256.0 if gpu_fractions else 0.0, float(disp_threshold), int(num_consistent))
    for reference in range(len(cameras)):
        src_T_ref = img_T_world @ world_T_img[reference]
        disparity_scale = K[0, 0] * np.linalg.norm(centers - centers[reference], axis=1)
        geometry = (src_T_ref, world_T_img, disparity_scale)
        points = np.empty((height, width, 3), np.float32)
        colors = np.empty((height, width, 3), np.uint8)
        ncons = np.empty((height, width), np.int16)
        _fuse_view(reference, depths, images, geometry, settings, points, colors, ncons)
        pix = np.flatnonzero(ncons >= 0)
        yield FusedView(points.reshape(-1, 3)[pix], colors.reshape(-1, 3)[pix], ncons.ravel()[pix], pix)


def fuse_scan(
    scan_dir: PathLike,
    views: Sequence[int],
    ply_path: PathLike,
    prob_threshold: float,
    disp_threshold: float,
    num_consistent: float,
    gpu_fractions: bool = False,
) -> int:
    """Fuse the views of a scan folder in the output layout (specs: formats) into a PLY; returns the number of points.

    Depths of confidence below `prob_threshold` count as 0; NaN confidence keeps the depth. The cloud may be empty.
    Raises DataError when there is no view, a file is missing or damaged, or sizes differ.
    """
    depths, images, cameras = read_views(Predictions(scan_dir), views, prob_threshold)
    with ply_writer(ply_path) as writer:
        for fused in fuse_views(depths, images, cameras, disp_threshold, num_consistent, gpu_fractions):
            writer.append(fused.points, fused.colors)
    return writer.count


def read_views(
    predictions: Predictions, views: Sequence[int], prob_threshold: float
) -> tuple[np.ndarray, np.ndarray, list[Camera]]:
    """Thresholded depths [N, H, W] float32, images [N, H, W, 3] uint8 and cameras [N], sorted by view."""
    views = sorted(set(views))
    height, width = predictions.check_one_size(views)
    depths = np.empty((len(views), height, width), np.float32)
    images = np.empty((len(views), height, width, 3), np.uint8)
    for index, view in enumerate(views):
        depths[index] = predictions.thresholded_depth(view, prob_threshold)
        images[index] = predictions.image(view)
    return depths, images, [predictions.view(view).camera for view in views]


@numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy", inline="always")
def _lerp(a, b, fraction):
    """Linear interpolation that keeps a constant exactly constant."""
    return a + fraction * (b - a)


@numba.njit(cache=True, parallel=True, fastmath=_FASTMATH, error_model="numpy")
def _fuse_view(reference, depths, images, geometry, settings, points, colors, ncons):
    """Fill points, colors and ncons [H, W] of one reference view; ncons is -1 where no point is emitted.

    geometry: src_T_ref [N, 4, 4], (x d, y d, d, 1) of the reference to each view's (u z, v z, z, 1); world_T_img
    [N, 4, 4], such a vector to the world; disparity_scale [N], focal length times baseline. Rows are independent;
    within a row the views come one after the other, so that their matrices stay in registers and only a narrow band
    of each view is read.
    """
    src_T_ref, world_T_img, disparity_scale = geometry
    num_consistent = settings[2]
    views, height, width = depths.shape
    for y in numba.prange(height):
        sums = np.empty((width, 6))
        agreeing = np.zeros(width, np.int16)
        u, v, z = np.empty(width), np.empty(width), np.empty(width)
        ref_depth = depths[reference, y]
        for x in range(width):
            _start(x, y, np.float64(ref_depth[x]), images[reference, y, x], world_T_img[reference], sums[x])
        for source in range(views):
            if source != reference:
                _project_row(y, ref_depth, src_T_ref[source], u, v, z)
                _add_agreeing(
                    u, v, z, depths[source], images[source], world_T_img[source], disparity_scale[source], settings,
                    sums, agreeing,
                )  # fmt: skip
        for x in range(width):
            emitted = agreeing[x] >= num_consistent
            for k in range(3):
                value = np.float32(sums[x, k] / (agreeing[x] + 1))
                points[y, x, k] = value
                colors[y, x, k] = np.uint8(sums[x, 3 + k] / (agreeing[x] + 1))
                emitted = emitted and value != 0 and np.isfinite(value)
            ncons[y, x] = agreeing[x] if emitted else -1


@numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy")
def _start(x, y, depth, color, world_T_ref, sums):
    """Set sums [6] to the world point and the colour of the reference pixel itself."""
    for k in range(3):
        row = world_T_ref[k]
        sums[k] = (row[0] * x + row[1] * y + row[2]) * depth + row[3]
        sums[3 + k] = color[k]


@numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy")
def _project_row(y, ref_depth, src_T_ref, u, v, z):
    """Positions u, v [W] in another image and depths z [W] there of row y; a loop of its own, for SIMD instructions."""
    A = src_T_ref
    row0, row1, row2 = A[0, 1] * y + A[0, 2], A[1, 1] * y + A[1, 2], A[2, 1] * y + A[2, 2]
    step0, step1, step2 = A[0, 0], A[1, 0], A[2, 0]
    shift0, shift1, shift2 = A[0, 3], A[1, 3], A[2, 3]
    for x in range(len(ref_depth)):
        depth = np.float64(ref_depth[x])
        z[x] = (step2 * x + row2) * depth + shift2
        u[x] = ((step0 * x + row0) * depth + shift0) / z[x] + _TIE_SHIFT
        v[x] = ((step1 * x + row1) * depth + shift1) / z[x] + _TIE_SHIFT


@numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy")
def _add_agreeing(us, vs, zs, depth, image, world_T_src, disparity_scale, settings, sums, agreeing):
    """Add where another view agrees with a projected row: point and colour to sums [W, 6], one to agreeing [W]."""
    B = world_T_src
    fraction_steps, disp_threshold, _ = settings
    height, width = depth.shape
    for x in range(width):
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
        if not disparity_scale * abs(sampled - z) < disp_threshold * abs(z * sampled):
            continue
        agreeing[x] += 1
        for k in range(3):
            sums[x, k] += (B[k, 0] * left + B[k, 1] * top + B[k, 2]) * sampled + B[k, 3]
            upper = _lerp(np.float64(image[top, left, k]), np.float64(image[top, right, k]), fu)
            lower = _lerp(np.float64(image[bottom, left, k]), np.float64(image[bottom, right, k]), fu)
            sums[x, 3 + k] += _lerp(upper, lower, fv)
