"""Photos with known lenses and poses, as structure-from-motion programs leave them, before they become a test scan."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from datasets.files import DataError, PathLike
from datasets.photos.distortion import COEFFICIENTS, is_straight
from datasets.photos.remarks import Remarks

_LONGEST_NAME = 250
_LARGEST_SIDE = 1 << 16  # pixels
_ROTATION_TOLERANCE = 1e-2  # files with few digits are common
_SCALE_TOLERANCE, _LEAST_SCALE = 1e-3, 1e-9
_LARGEST_NUMBER = 1e12  # of coordinates and lens parameters: their products stay finite in float32


@dataclasses.dataclass(frozen=True)
class Lens:
    """The intrinsics of images of a `size` (width, height).

    K [3, 3] counts pixels as COLMAP does, the first one's centre at 0.5: then scaling an image multiplies K's rows.
    `distortion` holds the coefficients of a `model` of datasets.photos.distortion; it is empty for a pinhole camera.
    """

    size: tuple[int, int]
    K: np.ndarray
    distortion: tuple[float, ...] = ()
    model: str = "opencv"

    def scaled(self, size: tuple[int, int]) -> "Lens":
        """The lens of the image resized to a size."""
        factors = np.array([[size[0] / self.size[0]], [size[1] / self.size[1]], [1.0]])
        return dataclasses.replace(self, size=size, K=self.K * factors)

    def pixel_K(self) -> np.ndarray:
        """K for pixels whose centres are at integers, as camera files and OpenCV count them."""
        return self.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


def make_lens(numbers: Mapping[str, float], size: tuple[int, int], model: str, source: PathLike) -> Lens:
    """The lens of named numbers: f or fx and fy, cx, cy, and the coefficients of the `model` that are not zero.

    Raises DataError, which names `source`, for what no camera can have.
    """
    if not all(1 <= side <= _LARGEST_SIDE for side in size):
        raise DataError(f"{source}: a camera has images of {str(size[0])[:20]!r} by {str(size[1])[:20]!r} pixels")
    check_numbers(np.array(list(numbers.values())), source)
    fx, fy = (numbers.get(name, numbers.get("f", 0.0)) for name in ("fx", "fy"))
    if min(fx, fy) < 1e-3:
        raise DataError(f"{source}: a camera has the focal length {min(fx, fy):g} pixels; it must be positive")
    K = np.array([[fx, 0, numbers["cx"]], [0, fy, numbers["cy"]], [0, 0, 1.0]])
    distortion = tuple(float(numbers.get(name, 0.0)) for name in COEFFICIENTS[model])
    return Lens(size, K) if is_straight(model, distortion) else Lens(size, K, distortion, model)


@dataclasses.dataclass(frozen=True)
class PosedPhoto:
    """A photo: its name, a path relative to the folder of images, its lens and pose, cam_T_world [4, 4]; its mask's
    path, too, where the model names one."""

    name: str
    lens: Lens
    cam_T_world: np.ndarray
    mask: str = ""

    @property
    def centre(self) -> np.ndarray:
        """The camera's place in the world, [3]."""
        return -self.cam_T_world[:3, :3].T @ self.cam_T_world[:3, 3]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depths [P] of world points [P, 3], and whether each is before the camera and inside its (pinhole) image."""
        in_camera = points @ self.cam_T_world[:3, :3].T + self.cam_T_world[:3, 3]
        depth = in_camera[:, 2]
        pixels = in_camera @ self.lens.K[:2].T
        limits = depth[:, None] * np.array(self.lens.size)
        return depth, (depth > 0) & (pixels >= 0).all(axis=1) & (pixels <= limits).all(axis=1)


@dataclasses.dataclass(frozen=True)
class PosedPhotos:
    """Photos in the order of their names, and the points seen in them.

    points float64 [P, 3] (world); tracks int64 [T, 2]: (point, photo) for every point that a photo sees, each once,
    in order; ranges: each photo's (nearest, farthest) depth where the format gives them.
    """

    photos: list[PosedPhoto]
    points: np.ndarray
    tracks: np.ndarray
    ranges: tuple[tuple[float, float], ...] | None = None

    def seen_by(self, photo: int) -> np.ndarray:
        """The points [n] that a photo sees."""
        return self.tracks[self.tracks[:, 1] == photo, 0]

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """Where each point's entries begin in the tracks, and where the last one's end, [P + 1]."""
        return np.searchsorted(self.tracks[:, 0], np.arange(len(self.points) + 1))

    def sights_of(self, points: np.ndarray) -> np.ndarray:
        """The entries of the tracks [n, 2] of some points [m], one point's after the other's."""
        first = self._starts[points]
        lengths = self._starts[points + 1] - first
        return self.tracks[np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())]

    def without(self, left_out: set[int]) -> "PosedPhotos":
        """The same with some photos left out."""
        kept = [k for k in range(len(self.photos)) if k not in left_out]
        place = np.full(len(self.photos), -1)
        place[kept] = range(len(kept))
        tracks = np.stack([self.tracks[:, 0], place[self.tracks[:, 1]]], axis=1)
        ranges = None if self.ranges is None else tuple(self.ranges[k] for k in kept)
        return PosedPhotos([self.photos[k] for k in kept], self.points, tracks[tracks[:, 1] >= 0], ranges)


def posed_photos(
    photos: list[PosedPhoto],
    points: np.ndarray,
    tracks: np.ndarray,
    source: PathLike,
    ranges: Sequence[tuple[float, float]] | None = None,
) -> PosedPhotos:
    """Photos in any order with tracks [T, 2] (point, photo) in any order, brought into order.

    Raises DataError, which names `source`, when there are no photos, or two of one name.
    """
    if not photos:
        raise DataError(f"{source}: holds no photo with a pose")
    order = sorted(range(len(photos)), key=lambda k: photos[k].name)
    for a, b in itertools.pairwise(order):
        if photos[a].name == photos[b].name:
            raise DataError(f"{source}: holds two photos named {photos[a].name}")
    place = np.argsort(order)
    tracks = np.stack([tracks[:, 0], place[tracks[:, 1]]], axis=1) if len(tracks) else np.empty((0, 2), np.int64)
    ordered = None if ranges is None else tuple(ranges[k] for k in order)
    return PosedPhotos([photos[k] for k in order], points, np.unique(tracks, axis=0), ordered)


def without_tracks(
    photos: list[PosedPhoto],
    source: PathLike,
    points: np.ndarray | None = None,
    ranges: Sequence[tuple[float, float]] | None = None,
) -> PosedPhotos:
    """Photos of which no points are known, or only points [P, 3] that nobody says who sees."""
    points = np.empty((0, 3)) if points is None else points
    return posed_photos(photos, points, np.empty((0, 2), np.int64), source, ranges)


def usable_numbers(numbers: np.ndarray) -> np.ndarray:
    """Which numbers are finite and of a size that can be computed with, bool of the same shape."""
    return np.abs(numbers) <= _LARGEST_NUMBER  # so that not-a-number fails, too


def check_numbers(numbers: np.ndarray, source: PathLike) -> None:
    """Raise DataError, which names `source`, unless all numbers are finite and of a size that can be computed with."""
    if not usable_numbers(numbers).all():
        raise DataError(f"{source}: holds a number that is not finite or beyond {_LARGEST_NUMBER:g}")


def check_pose(cam_T_world: np.ndarray, source: PathLike) -> np.ndarray:
    """Return a pose [4, 4] when it is a rotation and a translation, else raise DataError, which names `source`."""
    check_numbers(cam_T_world, source)
    rotation = cam_T_world[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _ROTATION_TOLERANCE:
        raise DataError(f"{source}: holds a pose that is not a rotation and a translation")
    if np.linalg.det(rotation) < 0:
        raise DataError(f"{source}: holds a pose that is not a rotation, but mirrors; export it with right-handed axes")
    return cam_T_world


class ScaledPoses:
    """Poses whose rotation may come with a scale, as normalised scenes have it: they are freed of it, and it is said.

    The places of cameras stay as they are; only their axes get the length 1, so that depths are in world units.
    """

    def __init__(self, source: PathLike, remarks: Remarks) -> None:
        self._source, self._remarks = source, remarks
        self._said = False

    def world_T_cam(self, matrix: np.ndarray) -> np.ndarray:
        """A pose [4, 4], camera to world, from one [4, 4] or [3, 4] that may have a scale; errors as `check_pose`."""
        pose = np.eye(4)
        pose[: len(matrix)] = matrix
        check_numbers(pose, self._source)
        if np.abs(pose[3] - (0, 0, 0, 1)).max() > _SCALE_TOLERANCE:
            raise DataError(f"{self._source}: a pose does not end with the row 0 0 0 1; write its matrix row by row")
        scale = float(np.cbrt(np.linalg.det(pose[:3, :3])))
        if abs(scale - 1) > _SCALE_TOLERANCE and scale > _LEAST_SCALE:
            pose[:3, :3] /= scale
            check_pose(pose, self._source)
            if not self._said:
                self._remarks.say(f"{self._source}: its poses have the scale {scale:.6g}; normalised")
                self._said = True
        pose[3] = 0, 0, 0, 1
        return check_pose(pose, self._source)


def check_photo_name(name: str, source: PathLike) -> str:
    """A photo's path as names inside a folder, else DataError, which names `source`.

    Paths of other machines are cut to what may lie below a folder here: backslashes become slashes; a drive, the root
    and all up to the last `..` go.
    """
    parts = [part for part in re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/")).split("/") if part not in ("", ".")]
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    path = "/".join(parts)
    if not path or not path.isprintable() or len(path) > _LONGEST_NAME:
        raise DataError(f"{source}: the photo's name {name[:60]!a} is not a path inside a folder; rename the photo")
    return path
