"""One sample: the reference view with its source views, cameras and depth range, as the networks take it.

A sample is a dict that torch's default collation batches:
"imgs" [N, 3, H, W] float32 in 0..1, view 0 the reference; "proj_matrices" {"stage1": [N, 2, 4, 4], ...} (slot 0 the
extrinsic cam_T_world, slot 1 the intrinsic K at that stage's resolution); "depth_values" [K]; "scan", "view";
with ground truth also "depth" and "depth_mask", with pseudo-labels "mu", "sigma" and "label_mask", each a dict of
stages [h, w]. Depths in the unit of the camera files.
"""

import dataclasses
from typing import Any

import cv2
import numpy as np

from datasets.camera import Camera, local_origin
from datasets.files import DataError, PathLike
from datasets.formats.images import read_image

SIZE_STEP = 32
STAGE_SCALES = {"stage1": 4, "stage2": 2, "stage3": 1}


@dataclasses.dataclass(frozen=True)
class View:
    """An image [H, W, 3] float32 RGB in 0..1 with the camera that belongs to its size."""

    image: np.ndarray
    camera: Camera

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)"""
        return self.image.shape[1], self.image.shape[0]

    def pixels(self) -> np.ndarray:
        """The image as results keep it, uint8 [H, W, 3]: truncated, not rounded, like the official programs' files."""
        return (self.image * 255).astype(np.uint8)


def load_view(path: PathLike, camera: Camera, size: tuple[int, int], resize: bool) -> View:
    """Read an image whose `camera` belongs to its full size, and fit both to `size` (width, height).

    The networks want sides that are multiples of 32. Raises DataError for others, and for an image of another size
    unless `resize` allows to scale it.
    """
    image = read_image(path).astype(np.float32) / 255
    height, width = image.shape[:2]
    if any(side % SIZE_STEP or side < SIZE_STEP for side in (size if resize else (width, height))):
        raise DataError(f"{path}: is {width}x{height}; its sides must be multiples of {SIZE_STEP}: resize the images")
    if size != (width, height):
        if not resize:
            raise DataError(f"{path}: is {width}x{height}, its reference view {size[0]}x{size[1]}")
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return View(image, camera.scaled(size[0] / width, size[1] / height))


def turned_size(width: int, height: int, max_size: tuple[int, int]) -> tuple[int, int]:
    """max_size (width, height), turned where the image is upright and it is not."""
    return max_size[::-1] if height > width and max_size[0] > max_size[1] else max_size


def fitted_size(width: int, height: int, max_size: tuple[int, int]) -> tuple[int, int]:
    """The image's size scaled down to fit max_size (width, height), its sides rounded down to multiples of 32.

    For an upright image a `max_size` that is wider than high is turned: photos lose no pixels for being taken so.
    """
    max_w, max_h = turned_size(width, height, max_size)
    scale = min(1.0, max_w / width, max_h / height)
    return tuple(int(scale * side + 1e-6) // SIZE_STEP * SIZE_STEP for side in (width, height))


def stage_projections(cameras: list[Camera]) -> dict[str, np.ndarray]:
    """The networks' `proj_matrices` of cameras at full image size: per stage float32 [N, 2, 4, 4].

    World coordinates that are too large for float32 are taken around the cameras' `local_origin`.
    """
    origin, result = local_origin(cameras), {}
    for stage, scale in STAGE_SCALES.items():
        matrices = np.zeros((len(cameras), 2, 4, 4), np.float32)
        for i, camera in enumerate(cameras):
            matrices[i, 0] = camera.around(origin).cam_T_world
            matrices[i, 1, :3, :3] = camera.scaled(1 / scale, 1 / scale).K
        result[stage] = matrices
    return result


def stage_maps(full: np.ndarray) -> dict[str, np.ndarray]:
    """A full-size map [H, W] resampled to every stage by nearest neighbour (the pixel at k x, k y)."""
    return {stage: np.ascontiguousarray(full[::scale, ::scale]) for stage, scale in STAGE_SCALES.items()}


def make_sample(views: list[View], depth_values: np.ndarray, scan: str, view: int) -> dict[str, Any]:
    """A sample without depth maps from views of equal size, the reference first."""
    imgs = np.stack([item.image for item in views]).transpose(0, 3, 1, 2)
    return {
        "imgs": np.ascontiguousarray(imgs),
        "proj_matrices": stage_projections([item.camera for item in views]),
        "depth_values": depth_values,
        "scan": scan,
        "view": view,
    }
