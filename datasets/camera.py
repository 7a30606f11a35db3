"""A pinhole camera."""

import dataclasses

import numpy as np

from datasets.files import DataError, PathLike

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
