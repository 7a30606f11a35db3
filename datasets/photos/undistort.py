"""Straightening the images of distorted lenses: with OpenCV where it has the model, else with our own formulas."""

import cv2
import numpy as np

from datasets.files import DataError, PathLike
from datasets.photos.distortion import OPENCV_MODELS, bend, unbend
from datasets.photos.posed import Lens

_BORDER_POINTS = 200  # along each side
_LARGEST_SCALE = 2.0  # of a straightened image's sides: towards the edges of wide lenses it stretches without end
_ROWS = 256  # of a map that are computed at a time
_PRECISE = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)


def straight_lens(lens: Lens, source: PathLike) -> Lens:
    """The pinhole lens of the same focal length whose image is the largest that the distorted image fills.

    Raises DataError, which names `source`, where the distortion cannot be undone.
    """
    if not lens.distortion:
        return lens
    focal = lens.K[[0, 1], [0, 1]]
    farthest = _LARGEST_SCALE * np.array(lens.size) / 2 / focal
    left, top, right, bottom = (np.clip(side, -farthest, farthest) for side in _border_rays(lens))
    start = np.array([left[:, 0].max(), top[:, 1].max()])
    stop = np.array([right[:, 0].min(), bottom[:, 1].min()])
    width, height = np.floor(np.nan_to_num((stop - start) * focal) + 1e-6).astype(int).tolist()
    K = np.array([[focal[0], 0, -start[0] * focal[0]], [0, focal[1], -start[1] * focal[1]], [0, 0, 1]])
    straight = Lens((width, height), K)
    if min(width, height) < 1 or not _shows(lens, straight):
        raise DataError(f"{source}: holds a lens whose distortion cannot be undone; was it estimated from few photos?")
    return straight


def _shows(lens: Lens, straight: Lens) -> bool:
    """Whether a distorted image shows all that the border of a straight one looks at: lenses that fold do not."""
    rays = np.concatenate(_border_rays(straight))
    if lens.model in OPENCV_MODELS:
        project = cv2.fisheye.projectPoints if lens.model == "fisheye" else cv2.projectPoints
        zero = np.zeros(3)
        rays = np.pad(rays, ((0, 0), (0, 1)), constant_values=1)
        pixels = project(rays[:, None], zero, zero, lens.pixel_K(), np.array(lens.distortion))[0][:, 0]
    else:
        pixels = _places(lens, rays)
    return bool((pixels > -1.5).all() and (pixels < np.array(lens.size) + 0.5).all())


def _places(lens: Lens, rays: np.ndarray) -> np.ndarray:
    """The pixels [..., 2] (centres at integers) of rays [..., 2] (x, y, 1), by our own formulas."""
    K = lens.pixel_K()
    return bend(lens.model, lens.distortion, rays) * K[[0, 1], [0, 1]] + K[:2, 2]


def _border_rays(lens: Lens) -> list[np.ndarray]:
    """Rays (x, y, 1) as x, y [n, 2] of the image's left, upper, right and lower border."""
    xs, ys = (np.linspace(-0.5, side - 0.5, _BORDER_POINTS) for side in lens.size)
    sides = [(np.full_like(ys, xs[0]), ys), (xs, np.full_like(xs, ys[0]))]
    sides += [(np.full_like(ys, xs[-1]), ys), (xs, np.full_like(xs, ys[-1]))]
    K, distortion = lens.pixel_K(), np.array(lens.distortion or (0.0,) * 4)
    if lens.model not in OPENCV_MODELS:
        places = [(np.stack(side, axis=1) - K[:2, 2]) / K[[0, 1], [0, 1]] for side in sides]
        return [unbend(lens.model, lens.distortion, side) for side in places]
    undistort = cv2.fisheye.undistortPoints if lens.model == "fisheye" else cv2.undistortPoints
    return [undistort(np.stack(side, axis=1)[:, None], K, distortion, criteria=_PRECISE)[:, 0] for side in sides]


def straighten(image: np.ndarray, lens: Lens, straight: Lens) -> np.ndarray:
    """The image [H, W, 3] of a lens as the pinhole lens `straight` (of `straight_lens`) would have taken it."""
    if lens is straight:
        return image
    if lens.model in OPENCV_MODELS:
        make_maps = cv2.fisheye.initUndistortRectifyMap if lens.model == "fisheye" else cv2.initUndistortRectifyMap
        distortion = np.array(lens.distortion)
        maps = make_maps(lens.pixel_K(), distortion, np.eye(3), straight.pixel_K(), straight.size, cv2.CV_32FC1)
    else:
        maps = _own_maps(lens, straight)
    # Beyond the centres of the outermost pixels there is nothing to interpolate with.
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _own_maps(lens: Lens, straight: Lens) -> list[np.ndarray]:
    """Where each pixel of the straight image comes from: columns and rows, float32 [H, W]."""
    width, height = straight.size
    K = straight.pixel_K()
    maps = np.empty((2, height, width), np.float32)
    for start in range(0, height, _ROWS):
        rows, columns = np.mgrid[start : min(start + _ROWS, height), :width]
        rays = (np.stack([columns, rows], axis=-1) - K[:2, 2]) / K[[0, 1], [0, 1]]
        maps[:, start : start + _ROWS] = np.moveaxis(_places(lens, rays), -1, 0)
    return list(maps)
