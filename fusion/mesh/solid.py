"""A closed solid: what no view looks through, in a box around all that was seen (docs/method.md, 9)."""

from collections.abc import Callable

import numba
import numpy as np

from fusion.consistency import FASTMATH
from fusion.mesh.library import BLOCK, zero_surface
from fusion.mesh.maps import KeptMaps
from fusion.mesh.surfaces import Surface, without_islands
from fusion.mesh.volume import _row, _sample
from numba_cache import cached_njit

# What a voxel takes: sum, weight, two counts, copies while the unknown is filled.
_BYTES_PER_VOXEL = 32
_FINEST, _COARSEST = 768, 32  # voxels along the longest side
# Faces of a solid's surface, as a multiple of the square of the voxels along its longest side; of rendered scenes.
_FACES_PER_SQUARE = 6.0
# The box leaves out so many of the points that lie farthest out on each side, in percent.
_OUTLIERS = 0.5
_MARGIN = 3  # voxels around the box that are outside
_SPREADING = 60  # steps in which the unknown takes what is around it
_SAMPLE = 20_000  # points of each view that tell where the box is


def closed_surface(
    maps: KeptMaps, faces: int, memory: float, voxel: float, truncation: float, done: Callable[[], None]
) -> Surface:
    """A closed surface of about so many faces at most (0: as fine as memory lets), around the maps' origin.

    A voxel is outside when views look through it, inside when it lies behind what they see; near what they see it
    has their signed distance. What nobody can tell takes what is around it. The box's sides close the rest. The voxels
    are at least as large as `voxel`, and so that the grid takes `memory` gigabytes at most. `done` after every view.
    """
    low, high = _box(maps)
    longest = float((high - low).max())
    along = (memory * 1e9 / _BYTES_PER_VOXEL * longest**3 / float(np.prod(high - low + longest / _FINEST))) ** (1 / 3)
    if faces:
        along = min(along, (faces / _FACES_PER_SQUARE) ** 0.5)
    edge = max(longest / min(max(along, _COARSEST), _FINEST), voxel)
    reach = max(truncation, 2 * edge)
    first = np.floor(low / edge).astype(np.int64) - _MARGIN
    shape = tuple((np.ceil(high / edge).astype(np.int64) + _MARGIN - first + 1)[::-1])
    field = np.zeros((2, *shape), np.float32)
    behind = np.zeros(shape, np.uint16)
    for view in maps.views:
        camera = maps.cameras[view]
        geometry = (camera.projection()[:3], camera.centre)
        _see(first, edge, reach, geometry, maps.depth(view), maps.weights(view), field, behind)
        done()
    return _largest_piece(_filled(field, behind), first, edge)


def _box(maps: KeptMaps) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corner [3] of what was seen, but for outliers."""
    points = []
    for view in maps.views:
        depth = maps.depth(view)
        kept = depth > 0
        found = maps.cameras[view].lift(depth, kept)
        points.append(found[:: max(1, len(found) // _SAMPLE)])
    return tuple(np.percentile(np.concatenate(points), (_OUTLIERS, 100 - _OUTLIERS), axis=0))


@cached_njit(parallel=True, fastmath=FASTMATH, error_model="numpy")
def _see(first, edge, reach, geometry, depth, confidence, field, behind):
    """Add a view to field [2, Z, Y, X], sum and weight of distances as shares of `reach`, and to behind [Z, Y, X]."""
    img_T_world, centre = geometry
    height, width = depth.shape
    for k in numba.prange(field.shape[1]):
        point = np.empty(3)
        point[2] = (first[2] + k) * edge
        for j in range(field.shape[2]):
            point[1] = (first[1] + j) * edge
            for i in range(field.shape[3]):
                point[0] = (first[0] + i) * edge
                z = _row(img_T_world, 2, point)
                if z <= 0:
                    continue
                u, v = _row(img_T_world, 0, point) / z, _row(img_T_world, 1, point) / z
                if not (-0.5 <= u < width - 0.5 and -0.5 <= v < height - 0.5):
                    continue
                seen = _sample(depth, u, v, reach)
                if not seen > 0:
                    continue
                away = 0.0
                for axis in range(3):
                    away += (point[axis] - centre[axis]) ** 2
                share = (seen - z) * np.sqrt(away) / (z * reach)
                if share <= -1:
                    behind[k, j, i] += np.uint16(1)
                    continue
                weight = confidence[int(np.rint(v)), int(np.rint(u))]
                field[0, k, j, i] += weight * min(share, 1.0)
                field[1, k, j, i] += weight


def _filled(field: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """The signed field [Z, Y, X] float32, nowhere 0: positive outside, as at all sides of the box."""
    known = field[1] > 0
    values = np.divide(field[0], field[1], out=field[0], where=known)
    values[~known & (behind > 0)] = -1
    free = ~known & (behind == 0)  # nobody can tell
    sides = _sides(values.shape)
    values[sides] = 1
    for _ in range(_SPREADING if free.any() else 0):
        means = _neighbour_means(values)
        values[free] = means[free]
        values[sides] = 1
    values[np.abs(values) < 1e-6] = 1e-6  # a corner of a cube on the surface would make flat faces
    return values


def _sides(shape: tuple[int, ...]) -> np.ndarray:
    """The outermost voxels, bool [Z, Y, X]."""
    sides = np.ones(shape, bool)
    sides[_MARGIN - 1 : 1 - _MARGIN, _MARGIN - 1 : 1 - _MARGIN, _MARGIN - 1 : 1 - _MARGIN] = False
    return sides


def _neighbour_means(values: np.ndarray) -> np.ndarray:
    """The mean of the six neighbours; at the sides, of nothing that counts."""
    means = np.zeros_like(values)
    for axis in range(3):
        means += np.roll(values, 1, axis) + np.roll(values, -1, axis)
    return means / 6


def _largest_piece(values: np.ndarray, first: np.ndarray, edge: float) -> Surface:
    """The largest piece of the zero surface of a field [Z, Y, X] whose first voxel has these numbers (x, y, z)."""
    pad = [(int(start % BLOCK), 0) for start in first[::-1]]
    pad = [(before, -(before + length) % BLOCK) for (before, _), length in zip(pad, values.shape, strict=True)]
    padded = np.pad(values, pad, constant_values=1)
    z, y, x = (length // BLOCK for length in padded.shape)
    blocks = padded.reshape(z, BLOCK, y, BLOCK, x, BLOCK).transpose(0, 2, 4, 1, 3, 5).reshape(-1, BLOCK, BLOCK, BLOCK)
    numbers = np.stack(np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    cells = (numbers + first // BLOCK).astype(np.int32)
    surface = zero_surface(cells, np.ascontiguousarray(blocks), np.ones(blocks.shape, bool), edge)
    return without_islands(surface, 1.0)
