"""What the sources of a reference view see, laid out once for all kernels of the refinement."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from datasets.camera import src_T_ref
from datasets.predictions import DepthView
from fusion.consistency import FASTMATH, project_row
from numba_cache import cached_njit

# Surfaces that a source sees with less confidence are not carried over to the reference.
LEAST_CROSSED = 0.02


@dataclass(frozen=True)
class Sources:
    """The sources of a reference, of which camera and size count: their depth maps, of any sizes, and confidences, each
    [h, w] as its depth map, 0 to 1 (NaN counts as 0). Depths that are not positive and finite are none."""

    reference: DepthView
    views: Sequence[DepthView]
    confidences: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.views)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Height and width of each [S, 2]."""
        return np.array([view.depth.shape for view in self.views], np.int64).reshape(-1, 2)

    @cached_property
    def seen(self) -> np.ndarray:
        """Depth and confidence [S, h, w, 2] float32; depth is 0 beyond a smaller map and where there is none."""
        seen = np.zeros((len(self), *self.sizes.max(axis=0, initial=0), 2), np.float32)
        for target, view, confidence in zip(seen, self.views, self.confidences, strict=True):
            h, w = view.depth.shape
            valid = np.isfinite(view.depth) & (view.depth > 0)
            target[:h, :w, 0] = np.where(valid, view.depth, 0)
            target[:h, :w, 1] = np.nan_to_num(confidence)
        return seen

    @cached_property
    def src_T_ref(self) -> np.ndarray:
        """From the reference's pixels and depth to each source's [S, 4, 4]."""
        return _matrices([src_T_ref(view.camera, self.reference.camera) for view in self.views])

    @cached_property
    def ref_T_src(self) -> np.ndarray:
        """From each source's pixels and depth to the reference's [S, 4, 4]."""
        return _matrices([src_T_ref(self.reference.camera, view.camera) for view in self.views])

    @cached_property
    def carried(self) -> np.ndarray:
        """What each sees at the reference's pixels [S, H, W, 2] float32: depth there and confidence of its nearest
        surface, 0 where it sees none surely."""
        carried = np.zeros((len(self), *self.reference.depth.shape, 2), np.float32)
        for target, seen, matrix in zip(carried, self.seen, self.ref_T_src, strict=True):
            _carry_over(seen, matrix, target)
        return carried


def _matrices(matrices: list[np.ndarray]) -> np.ndarray:
    return np.array(matrices).reshape(-1, 4, 4)


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _carry_over(seen, ref_T_src, carried):
    """Carry a source's depth and confidence [h, w, 2] over to the reference's pixels [H, W, 2]: the nearest surface."""
    A = ref_T_src
    height, width = carried.shape[:2]
    u, v = np.empty(seen.shape[1]), np.empty(seen.shape[1])
    for y in range(seen.shape[0]):
        project_row(y, seen[y, :, 0], A, u, v)
        for x in range(seen.shape[1]):
            column, row = int(u[x] + 1.5) - 1, int(v[x] + 1.5) - 1  # the nearest pixel
            if seen[y, x, 1] >= LEAST_CROSSED and 0 <= column < width and 0 <= row < height:
                z = (A[2, 0] * x + A[2, 1] * y + A[2, 2]) * seen[y, x, 0] + A[2, 3]
                before = carried[row, column, 0]
                if before == 0 or z < before:
                    carried[row, column, 0] = z
                    carried[row, column, 1] = seen[y, x, 1]
