"""The built-in fuser: what the CUDA program fusibile computes, without CUDA (specs: fusibile)."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from datasets.camera import Camera
from datasets.files import PathLike
from datasets.results import Predictions
from fusion.builtin_numba import numba_fuser
from fusion.builtin_torch import torch_fuser
from fusion.clouds import CloudOptions, Points, write_cloud
from fusion.normals import depth_normals

# Added to positions in pixels before they are rounded down: far below float32's resolution of a position, far above
# float64's. So a position that is whole by construction (rectified cameras) does not depend on rounding errors.
_TIE_SHIFT = 1e-6


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
    device: torch.device | None = None,
) -> Iterator[FusedView]:
    """Fuse depths [N, H, W] float32 with images [N, H, W, 3] uint8; yields one FusedView per view, in order.

    As in fusibile, all cameras take the first one's K. Another view agrees where the disparities of its depth and of
    the projected depth differ by less than `disp_threshold` pixels; a pixel needs `int(num_consistent)` such views.
    A depth that is not finite never agrees and gives no point. Coinciding centres have disparity 0: any depth agrees.
    `gpu_fractions` samples with fractions of 8 bits as a GPU's texture unit does, for comparison with the program.
    Without a `device` numba computes, on the CPU; with one, torch. Memory holds all depths and images, and one view's
    points. Raises DataError when the device has too little.

    The kernels take geometry: src_T_ref [N, 4, 4], from (x d, y d, d, 1) of the reference to each view's
    (u z, v z, z, 1); world_T_img [N, 4, 4], from such a vector to the world; disparity_scale [N], focal length times
    baseline. And settings: steps of a fraction of a pixel (0: exact), disparity threshold, number of views to agree.
    """
    cam_T_world = np.stack([camera.cam_T_world for camera in cameras])
    K = np.eye(4)
    K[:3, :3] = cameras[0].K
    img_T_world = K @ cam_T_world
    world_T_img = np.linalg.inv(img_T_world)
    centers = np.linalg.inv(cam_T_world)[:, :3, 3]
    shift = np.eye(4)
    shift[:2, 2] = _TIE_SHIFT
    needed = min(int(num_consistent), len(cameras))  # more than there are: the kernels' integers are small
    settings = (256.0 if gpu_fractions else 0.0, float(disp_threshold), needed)
    fuse_view = numba_fuser(depths, images) if device is None else torch_fuser(depths, images, device)
    for reference in range(len(cameras)):
        src_T_ref = shift @ img_T_world @ world_T_img[reference]
        disparity_scale = K[0, 0] * np.linalg.norm(centers - centers[reference], axis=1)
        yield FusedView(*fuse_view(reference, (src_T_ref, world_T_img, disparity_scale), settings))


def fuse_scan(
    scan_dir: PathLike | Predictions,
    views: Sequence[int],
    ply_path: PathLike,
    prob_threshold: float,
    disp_threshold: float,
    num_consistent: float,
    device: torch.device | None = None,
    options: CloudOptions = CloudOptions(),
) -> int:
    """Fuse the views of a scan folder in the output layout (specs: formats) into a PLY; returns the number of points.

    Depths of confidence below `prob_threshold` count as 0; NaN confidence keeps the depth. The cloud may be empty.
    With a `device` torch computes there, otherwise numba. Raises DataError when there is no view, a file is missing or
    damaged, sizes differ, or the device has too little memory.
    """
    depths, images, cameras = read_views(Predictions.of(scan_dir), views, prob_threshold)
    fused_views = fuse_views(depths, images, cameras, disp_threshold, num_consistent, device=device)
    return write_cloud(ply_path, _with_normals(fused_views, depths, cameras, options.normals), options)


def _with_normals(
    fused_views: Iterable[FusedView], depths: np.ndarray, cameras: Sequence[Camera], normals: bool
) -> Iterator[Points]:
    """The fused views' points, with normals from their own depth maps where wanted."""
    for fused, depth, camera in zip(fused_views, depths, cameras, strict=True):
        camera = dataclasses.replace(camera, K=cameras[0].K)  # as all cameras are rebuilt
        found = depth_normals(depth, camera).reshape(-1, 3)[fused.pix] if normals else None
        yield Points(fused.points, fused.colors, found)


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
