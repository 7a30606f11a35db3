"""The built-in fuser: what the CUDA program fusibile computes, without CUDA (docs/method.md, "Fusion")."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from datasets.camera import Camera, fits_float32, local_origin
from datasets.files import DataError, PathLike
from datasets.predictions import Predictions
from fusion.builtin_numba import numba_fuser
from fusion.builtin_torch import torch_fuser
from fusion.clouds import Points, ViewPoints, agreeing_views, shares, write_cloud
from fusion.normals import depth_normals
from fusion.options import CloudOptions
from fusion.others import other_views

# Added to positions in pixels before they are rounded down: far below float32's resolution of a position, far above
# float64's. So a position that is whole by construction (rectified cameras) does not depend on rounding errors.
_TIE_SHIFT = 1e-6


class FusedView(NamedTuple):
    """The points that one reference view emits, row by row.

    points [M, 3] world units, float32, or float64 where that is too coarse (datasets.camera); colors [M, 3] uint8 RGB;
    ncons [M] int16 number of agreeing views; pix [M] index y * W + x of the pixel.
    """

    points: np.ndarray
    colors: np.ndarray
    ncons: np.ndarray
    pix: np.ndarray


def fuse_views(
    depths: Sequence[np.ndarray],
    images: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    disp_threshold: float,
    num_consistent: float,
    gpu_fractions: bool = False,
    device: torch.device | None = None,
    others: Sequence[np.ndarray] | None = None,
    agree_widths: float = 0.0,
) -> Iterator[FusedView]:
    """Fuse N depths [H, W] float32 with images [H, W, 3] uint8; yields one FusedView per view, in order.

    As in fusibile, all cameras take the first one's K, where all views have one size (`rebuilt`). Another view agrees
    where the disparities of its depth and of the projected depth differ by less than `disp_threshold` pixels, or the
    depths by less than `agree_widths` times what a pixel covers there, which is more where cameras are far apart; a
    pixel needs `int(num_consistent)` such views. A depth that is not finite never agrees and gives no point. Coinciding
    centres have disparity 0: any depth agrees.
    `gpu_fractions` samples with fractions of 8 bits as a GPU's texture unit does, for comparison with the program.
    `others` says with which others each view is compared (fusion.others); without, with all, as in fusibile.
    Without a `device` numba computes, on the CPU; with one, torch. Memory holds all depths and images, and one view's
    points. Raises DataError when the device has too little.

    The kernels take geometry: src_T_ref [N, 4, 4], from (x d, y d, d, 1) of the reference to each view's
    (u z, v z, z, 1); world_T_img [N, 4, 4], from such a vector to the world; disparity_scale [N], focal length times
    baseline; coarseness [N], `agree_widths` times baseline. And settings: steps of a fraction of a pixel (0: exact),
    disparity threshold, number of views to agree. They give points of the precision that they are made with.
    """
    cameras = rebuilt(cameras, depths)
    precision = np.float32 if fits_float32(cameras) else np.float64
    origin = local_origin(cameras)
    local = [camera.around(origin) for camera in cameras]
    img_T_world, centres = (np.stack(parts) for parts in zip(*((c.projection(), c.centre) for c in local), strict=True))
    world_T_img = np.stack([camera.world_T_img() for camera in cameras])
    focals = np.array([camera.K[0, 0] for camera in cameras])
    shift = np.eye(4)
    shift[:2, 2] = _TIE_SHIFT
    needed = max(0, min(int(num_consistent), len(cameras)))  # the kernels' integers are small
    settings = (256.0 if gpu_fractions else 0.0, float(disp_threshold), needed)
    if device is None:
        fuse_view = numba_fuser(depths, images, precision)
    else:
        fuse_view = torch_fuser(depths, images, precision, device)
    for reference, compared in enumerate(others or other_views(depths, cameras, 0)):
        src_T_ref = shift @ img_T_world @ local[reference].world_T_img()
        baselines = np.linalg.norm(centres - centres[reference], axis=1)
        geometry = (src_T_ref, world_T_img, focals * baselines, agree_widths * baselines)
        yield FusedView(*fuse_view(reference, compared, geometry, settings))


def rebuilt(cameras: Sequence[Camera], depths: Sequence[np.ndarray]) -> list[Camera]:
    """The cameras that views with these depths are fused with.

    With the first one's K, as in fusibile, where all depths have one size; with their own, which it cannot do, where
    sizes differ.
    """
    if len({depth.shape for depth in depths}) > 1:
        return list(cameras)
    return [dataclasses.replace(camera, K=cameras[0].K) for camera in cameras]


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
    """Fuse the views of a scan folder in the result layout (docs/formats.md) into a PLY; returns the number of points.

    Depths of confidence below `prob_threshold` count as 0; NaN confidence keeps the depth. The cloud may be empty.
    With a `device` torch computes there, otherwise numba. Raises DataError when there is no view, a file is missing or
    damaged, sizes of one view differ, or the device has too little memory.
    """
    thresholds = (prob_threshold, disp_threshold, num_consistent)
    fused = scan_points(Predictions.of(scan_dir), views, *thresholds, device, options)
    return write_cloud(ply_path, (view.points for view in fused), options)


def scan_points(
    predictions: Predictions,
    views: Sequence[int],
    prob_threshold: float,
    disp_threshold: float,
    num_consistent: float,
    device: torch.device | None = None,
    options: CloudOptions = CloudOptions(),
    sources: int = 0,
    agree_widths: float = 0.0,
) -> Iterator[ViewPoints]:
    """What `fuse_scan` writes, view by view, with the columns that the options ask for; the files are read at once.

    Each view is compared with at most so many `sources` (fusion.others), with 0 with all others; agree_widths: as for
    `fuse_views`.
    """
    depths, images, cameras = read_views(predictions, views, prob_threshold)
    others = other_views(depths, cameras, sources)
    fused_views = fuse_views(
        depths, images, cameras, disp_threshold, num_consistent, device=device, others=others, agree_widths=agree_widths
    )
    read = zip(sorted(set(views)), depths, images, rebuilt(cameras, depths), others, strict=True)
    for fused, (view, depth, image, camera, compared) in zip(fused_views, read, strict=True):
        found = depth_normals(depth, camera).reshape(-1, 3)[fused.pix] if options.normals else None
        agreement = (None, None)
        if options.agreement:
            agreement = agreeing_views(fused.ncons), shares(predictions.confidence(view).ravel()[fused.pix])
        points = Points(fused.points, fused.colors, found, *agreement)
        yield ViewPoints(points, fused.pix, depth, image, camera, compared)


def read_views(
    predictions: Predictions, views: Sequence[int], prob_threshold: float
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray], list[Camera]]:
    """Thresholded depths [H, W] float32, images [H, W, 3] uint8 and cameras of N views, sorted by view."""
    views = sorted(set(views))
    if not views:
        raise DataError(f"{predictions.folder}: there is no view to fuse")
    shapes = [predictions.view(view).depth.shape for view in views]
    if len(set(shapes)) == 1:  # arrays, which the kernels take without a copy
        depths, images = np.empty((len(views), *shapes[0]), np.float32), np.empty((len(views), *shapes[0], 3), np.uint8)
    else:
        depths, images = [None] * len(views), [None] * len(views)
    for index, view in enumerate(views):
        depths[index] = predictions.thresholded_depth(view, prob_threshold)
        images[index] = predictions.image(view)
    return depths, images, [predictions.view(view).camera for view in views]
