"""A pinhole camera, and where float32 is too coarse for its world.

World coordinates may be large (UTM, ECEF). Geometry is computed in float64. What is float32, a network's projections
or a GPU program's, works around a `local_origin`. What is written is in world units, in float64 where float32 does not
do (`fits_float32`).
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from datasets.files import DataError, PathLike

# float32 may move a world point by so many pixels, as a camera sees it at its nearest depth.
_LARGEST_LOSS = 0.01

_DEPTH_LINE = "its last line must be 'depth_min depth_interval [num_depth [depth_max]]'"


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera. K [3, 3] maps camera points to pixels (centres at integers); cam_T_world [4, 4]."""

    K: np.ndarray
    cam_T_world: np.ndarray
    depth_line: tuple[float, ...] = ()

    def scaled(self, scale_x: float, scale_y: float) -> "Camera":
        """The camera of the image resized by these factors (the official convention: K's rows are multiplied)."""
        return dataclasses.replace(self, K=self.K * np.array([[scale_x], [scale_y], [1.0]]))

    def projection(self) -> np.ndarray:
        """K cam_T_world as [4, 4] with last row 0 0 0 1: world points to (u z, v z, z, 1)."""
        projection = np.eye(4)
        projection[:3] = self.K @ self.cam_T_world[:3]
        return projection

    def world_T_img(self) -> np.ndarray:
        """The inverse of `projection` [4, 4]: a pixel's (x d, y d, d, 1) to its world point at depth d.

        Its columns are the direction of the ray of (x, y, 1), whose parameter is the depth, and the centre.
        """
        world_T_cam = np.linalg.inv(self.cam_T_world)
        world_T_img = np.eye(4)
        world_T_img[:3] = np.hstack([world_T_cam[:3, :3] @ np.linalg.inv(self.K), world_T_cam[:3, 3:]])
        return world_T_img

    @property
    def centre(self) -> np.ndarray:
        """The camera's place in the world, [3]."""
        return np.linalg.inv(self.cam_T_world)[:3, 3]

    @property
    def shorter_focal(self) -> float:
        """The shorter of the two focal lengths, pixels: at depth z no pixel is wider than z / this.

        A float64 of numpy: what is computed of it and of float32 maps is double.
        """
        return min(abs(self.K[0, 0]), abs(self.K[1, 1]))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels u, v and depths z, float64 [N] each, of world points [N, 3]; u, v are not finite where z is 0."""
        x, y, z = self.projection()[:3] @ np.vstack([points.T.astype(np.float64), np.ones(len(points))])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return x / z, y / z, z

    def lift(self, depth: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """World points float64 [M, 3] of the kept (bool [H, W]) pixels of a depth map [H, W], row by row."""
        y, x = np.nonzero(kept)
        d = depth[kept].astype(np.float64)
        return np.stack([x * d, y * d, d, np.ones_like(d)], axis=1) @ self.world_T_img()[:3].T

    def around(self, origin: np.ndarray) -> "Camera":
        """The camera in the world whose origin is a point [3] of this one, with parallel axes."""
        cam_T_local = self.cam_T_world.copy()
        cam_T_local[:3, 3] += self.cam_T_world[:3, :3] @ origin
        return dataclasses.replace(self, cam_T_world=cam_T_local)

    def at_halves(self) -> "Camera":
        """The camera as COLMAP counts pixels, the first one's centre at 0.5."""
        return dataclasses.replace(self, K=self.K + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]))

    def float32_loss(self) -> float:
        """How far float32 may move a world point beside the camera, in pixels at its nearest depth.

        A camera without a depth line counts as if that were 1.
        """
        nearest = self.depth_line[0] if self.depth_line and self.depth_line[0] > 0 else 1.0
        focal = np.abs(self.K[[0, 1], [0, 1]]).max()
        distance = np.linalg.norm(self.cam_T_world[:3, 3])  # from the world's origin to the camera
        return float(distance * np.finfo(np.float32).eps / 2 * focal / nearest)

    def depth_range(self, numdepth: int) -> tuple[float, float]:
        """(depth_min, depth_max) of the file: depth_max = depth_min + interval * number of depths (docs/formats.md)."""
        depth_min, interval = self.depth_line[:2]
        count = int(self.depth_line[2]) if len(self.depth_line) > 2 and int(self.depth_line[2]) > 0 else numdepth
        return depth_min, depth_min + count * interval

    def depth_values(self, numdepth: int, interval_scale: float, path: PathLike) -> np.ndarray:
        """Exactly `numdepth` depth hypotheses, float32 [numdepth]; `path` is named in errors."""
        if not 2 <= len(self.depth_line) <= 4:
            raise DataError(f"{path}: {_DEPTH_LINE}")
        depth_min, depth_max = self.depth_range(numdepth)
        if not np.finfo(np.float32).tiny <= depth_min < depth_max:  # less is 0 in float32
            raise DataError(f"{path}: its depth range {depth_min:g} to {depth_max:g} is not positive and increasing")
        interval = (depth_max - depth_min) / numdepth * interval_scale
        last = depth_min + interval * (numdepth - 1)
        if not last < float(np.finfo(np.float32).max) or np.float32(depth_min + interval) == np.float32(depth_min):
            raise DataError(
                f"{path}: its depth range ends at {last:g} in steps of {interval:g}, which float32 cannot hold"
            )
        # float32 arange rounds the step like the official code does, which shifts the far end by about 1e-3 mm.
        return np.arange(depth_min, depth_min + interval * (numdepth - 0.5), interval, dtype=np.float32)


def fits_float32(cameras: Iterable[Camera]) -> bool:
    """Whether float32 holds the world of these cameras to a hundredth of a pixel."""
    return all(camera.float32_loss() <= _LARGEST_LOSS for camera in cameras)


def local_origin(cameras: Sequence[Camera]) -> np.ndarray:
    """The world point [3] around which to compute in float32: amid the cameras, 0 where float32 holds them as they are.

    So results of small coordinates do not change by a bit.
    """
    return np.zeros(3) if fits_float32(cameras) else np.mean([camera.centre for camera in cameras], axis=0)


def src_T_ref(source: Camera, reference: Camera) -> np.ndarray:
    """[4, 4]: (x d, y d, d, 1) of a pixel at depth d in the reference to (u z, v z, z, 1) in the source."""
    origin = local_origin([source, reference])
    return source.around(origin).projection() @ reference.around(origin).world_T_img()
