"""Points that other views look through: at something behind them, on which these views are agreed."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numba
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError
from numba_cache import cached_njit

# A view looks through a point where its depth there lies so many pixels of disparity behind ...
_PIXELS = 1.0
# ... and so large a share of the distance, below which a step is noise rather than a hole.
_SHARE = 0.01


class AgreedDepth:
    """The depths of views where they became points, in a temporary file of a folder; a context manager.

    So memory does not grow with the number of views. Raises DataError when the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed in __exit__
        except OSError as error:
            raise self._failed(error) from None
        self._views: list[tuple[int, tuple[int, int], Camera]] = []

    def __enter__(self) -> "AgreedDepth":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _failed(self, error: OSError) -> DataError:
        return DataError(f"{self._folder}: cannot hold depth maps while the cloud is made: {error.strerror or error}")

    def append(self, depth: np.ndarray, kept: np.ndarray, camera: Camera) -> None:
        """Add a view: its depth [H, W] where kept (bool [H, W])."""
        start = self._views[-1][0] + 4 * int(np.prod(self._views[-1][1])) if self._views else 0
        try:
            self._file.write(np.where(kept, depth, np.float32(0)).astype(np.float32).tobytes())
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from None
        self._views.append((start, depth.shape, camera))

    def counts(self, xyz: np.ndarray, reference: int, others: Sequence[int] | None = None) -> np.ndarray:
        """How many of the other views, or of some of them, look through each point [N, 3] of one; int32 [N]."""
        through = np.zeros(len(xyz), np.int32)
        own = self._views[reference][2]
        for view in range(len(self._views)) if others is None else others:
            if view == reference:
                continue
            start, shape, camera = self._views[view]
            depth = np.memmap(self._file, np.float32, "r", start, shape)
            scale = abs(camera.K[0, 0]) * float(np.linalg.norm(camera.centre - own.centre))
            _look(np.ascontiguousarray(xyz), depth, camera.projection()[:3], scale, through)
        return through

    @property
    def cameras(self) -> Sequence[Camera]:
        """The views' cameras."""
        return [camera for _, _, camera in self._views]


@cached_njit(parallel=True, error_model="numpy")
def _look(xyz, depth, projection, scale, through):
    """Add 1 where the nearest depths around a point's place in the view all lie behind it; see `AgreedDepth.counts`."""
    height, width = depth.shape
    for i in numba.prange(len(xyz)):
        x, y, w = np.float64(xyz[i, 0]), np.float64(xyz[i, 1]), np.float64(xyz[i, 2])
        z = projection[2, 0] * x + projection[2, 1] * y + projection[2, 2] * w + projection[2, 3]
        if not z > 0:
            continue
        u = (projection[0, 0] * x + projection[0, 1] * y + projection[0, 2] * w + projection[0, 3]) / z
        v = (projection[1, 0] * x + projection[1, 1] * y + projection[1, 2] * w + projection[1, 3]) / z
        if not (0 <= u < width - 1 and 0 <= v < height - 1):
            continue
        left, top = int(u), int(v)
        nearest = np.float64(depth[top, left])
        for row in range(2):
            for column in range(2):
                nearest = min(nearest, np.float64(depth[top + row, left + column]))  # 0 where one is not known
        behind = nearest - z
        if behind > _SHARE * z and scale * behind > _PIXELS * nearest * z:
            through[i] += 1
