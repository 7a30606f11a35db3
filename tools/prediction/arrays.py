"""Depth of one view from arrays in memory, which are checked first: what is wrong is told in the caller's words."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from datasets.camera import Camera
from datasets.files import DataError
from datasets.sample import SIZE_STEP, View
from models.cascade import CascadeMVSNet
from tools.prediction.checks import check_array
from tools.prediction.predictor import predicted_view
from tools.prediction.settings import PredictionSettings

Pose = Camera | tuple[np.ndarray, np.ndarray]


def predict_arrays(
    model: CascadeMVSNet,
    images: Sequence[np.ndarray],
    cameras: Sequence[Pose],
    depth_range: tuple[float, float],
    settings: PredictionSettings,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """Depth and confidence, float32 [H, W] each, of the first image, by a network that is `prepared`.

    images: uint8 RGB [H, W, 3] of one size whose sides are multiples of 32. cameras: one each, a Camera or (K [3, 3],
    cam_T_world [4, 4]), with K in pixels of these images. depth_range: nearest and farthest depth of the first image.
    Raises DataError for anything else.
    """
    near, far = _checked_range(depth_range)
    if len(images) != len(cameras):
        raise DataError(f"{len(images)} images, but {len(cameras)} cameras; each image needs its own")
    if len(images) < 2:
        raise DataError(f"{len(images)} images: depth of the first one needs at least one other")
    line = (near, (far - near) / settings.numdepth, float(settings.numdepth), far)
    views = []
    for number, (image, given) in enumerate(zip(images, cameras, strict=True)):
        _check_image(number, image, images[0])
        camera = _checked_camera(number, given)
        if number == 0 or not camera.depth_line:
            camera = dataclasses.replace(camera, depth_line=line)
        views.append(View(image.astype(np.float32) / 255, camera))
    depth_values = views[0].camera.depth_values(settings.numdepth, settings.interval_scale, "depth_range")
    found = predicted_view(model, views, depth_values, device)
    return found.depth, found.confidence(settings.confidence)


def _checked_range(depth_range: tuple[float, float]) -> tuple[float, float]:
    try:
        near, far = map(float, depth_range)
    except (TypeError, ValueError):
        raise DataError("depth_range: must be two numbers, the nearest and the farthest depth") from None
    if not 0 < near < far < float("inf"):
        raise DataError(f"depth_range ({near:g}, {far:g}): must be positive, finite and increasing")
    return near, far


def _check_image(number: int, image: np.ndarray, first: np.ndarray) -> None:
    check_array(f"image {number}", image, np.uint8, (None, None, 3))
    height, width = image.shape[:2]
    if height % SIZE_STEP or width % SIZE_STEP:
        raise DataError(f"image {number}: is {width}x{height}; its sides must be multiples of {SIZE_STEP}")
    if image.shape != first.shape:
        raise DataError(f"image {number}: is {width}x{height}, image 0 is {first.shape[1]}x{first.shape[0]}")


def _checked_camera(number: int, given: Pose) -> Camera:
    try:
        K, cam_T_world = (given.K, given.cam_T_world) if isinstance(given, Camera) else given
        K, cam_T_world = (np.asarray(matrix, np.float64) for matrix in (K, cam_T_world))
    except (TypeError, ValueError):
        raise DataError(f"camera {number}: must be a Camera, or K [3, 3] and cam_T_world [4, 4]") from None
    check_array(f"K of camera {number}", K, np.float64, (3, 3))
    check_array(f"cam_T_world of camera {number}", cam_T_world, np.float64, (4, 4))
    for name, matrix in (("K", K), ("cam_T_world", cam_T_world)):
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
            raise DataError(f"{name} of camera {number}: must be finite and invertible")
    if not np.allclose(cam_T_world[3], (0, 0, 0, 1)):
        raise DataError(f"cam_T_world of camera {number}: its last row must be 0, 0, 0, 1; is it transposed?")
    return Camera(K, cam_T_world, given.depth_line if isinstance(given, Camera) else ())
