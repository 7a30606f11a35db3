"""A truncated signed distance on the blocks of voxels that surfaces pass through, tile by tile (docs/method.md, 9)."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numba
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError
from fusion.consistency import FASTMATH
from fusion.mesh.library import BLOCK, zero_surface
from fusion.mesh.maps import KeptMaps
from fusion.mesh.surfaces import Surface, joined
from numba_cache import cached_njit

# Block numbers along an axis are below this, so that three of them fit into one integer.
_LAST_CELL = 1 << 20
# What a voxel takes while its tile is worked on: distance, weight, Open3D's copies, what the surface is found by.
_BYTES_PER_VOXEL = 40
# How much space that a view looks through counts beside the surface that others see there.
_FREE = 0.3
# So many block numbers are looked for at a time.
_KEYS = 1 << 23
# Below this weight nobody has seen a voxel.
_LEAST_WEIGHT = 1e-6
# What is nearer than a quarter of the usual depth counts no more.
_MOST_WEIGHT = 16.0
# A surface that is seen at a steeper angle counts as one at this (its cosine; 84 degrees).
_MOST_SLANTED = 0.1
# However little memory there is, a tile has so many blocks.
_LEAST_BLOCKS = 8
# A block in the image: points looked at along each side.
_PROBES = 6


class Seen(NamedTuple):
    """What a view sees, each float32 [H, W]: depth, what that counts, and the cosine of its slant (fusion.normals)."""

    depth: np.ndarray
    confidence: np.ndarray
    slant: np.ndarray


class Tile(NamedTuple):
    """Blocks cells int32 [N, 3] that are computed together, of which those from `low` on and below `high` are its own.

    The others, which surround them, belong to other tiles; cubes of voxels reach into them.
    """

    cells: np.ndarray
    low: np.ndarray
    high: np.ndarray


def surface_cells(maps: KeptMaps, voxel: float, truncation: float, done: Callable[[], None]) -> np.ndarray:
    """The blocks int32 [N, 3] that reach into the cube around a kept point, its edge twice the truncation; sorted."""
    keys = np.empty(0, np.int64)
    steps = 1 + max(1, int(np.ceil(2 * truncation / (voxel * BLOCK))))  # along an edge of the cube
    for view in maps.views:
        depth, world_T_img = maps.depth(view), maps.cameras[view].world_T_img()[:3]
        rows = max(1, _KEYS // (depth.shape[1] * steps**3))
        for first in range(0, len(depth), rows):
            band = depth[first : first + rows]
            found = np.full((*band.shape, steps**3), -1, np.int64)
            _touched(band, first, world_T_img, 1 / (voxel * BLOCK), truncation, steps, found)
            keys = np.union1d(keys, found)
        done()
    keys = keys[keys >= 0]
    if not len(keys):
        raise DataError(f"--voxel {voxel:g}: is too small for a scene of this size; give a larger one")
    cells = np.stack([keys >> 42, (keys >> 21) & (2 * _LAST_CELL - 1), keys & (2 * _LAST_CELL - 1)], axis=1)
    return (cells - _LAST_CELL).astype(np.int32)


@cached_njit(parallel=True, error_model="numpy")
def _touched(depth, first, world_T_img, blocks_per_unit, truncation, steps, keys):
    """Fill keys [H, W, S^3] with the blocks around each pixel's point; what the pixel before it has stays -1.

    depth [H, W]: rows of a map from its row `first` on.
    """
    height, width = depth.shape
    for y in numba.prange(height):
        before = np.full(steps**3, -1, np.int64)
        point = np.empty(3)
        for x in range(width):
            if not 0 < depth[y, x] < np.inf:
                continue
            for k in range(3):
                direction = world_T_img[k, 0] * x + world_T_img[k, 1] * (first + y) + world_T_img[k, 2]
                point[k] = direction * depth[y, x] + world_T_img[k, 3]
            for n in range(steps**3):
                key, inside, rest = np.int64(0), True, n
                for k in range(3):
                    aside = (2 * (rest % steps) / (steps - 1) - 1) * truncation
                    rest //= steps
                    cell = np.floor((point[k] + aside) * blocks_per_unit)
                    inside = inside and abs(cell) < _LAST_CELL - 1
                    key = (key << 21) | (np.int64(cell) + _LAST_CELL) if inside else key
                if inside and key != before[n]:
                    before[n] = keys[y, x, n] = key


def tiles(cells: np.ndarray, memory: float) -> list[Tile]:
    """Blocks [N, 3] divided into boxes of neighbours, none of which takes more than `memory` gigabytes."""
    most = max(int(memory * 1e9 / (_BYTES_PER_VOXEL * BLOCK**3)), _LEAST_BLOCKS)
    return [Tile(_with_surroundings(cells, low, high), low, high) for low, high in _boxes(cells, most)]


def _boxes(cells: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    low, high = cells.min(axis=0), cells.max(axis=0) + 1
    if len(cells) <= most or (high - low).max() == 1:
        yield low, high
        return
    axis = int(np.argmax(high - low))
    middle = max(int(np.median(cells[:, axis])), int(low[axis]) + 1)
    for part in (cells[cells[:, axis] < middle], cells[cells[:, axis] >= middle]):
        yield from _boxes(part, most)


def _with_surroundings(cells: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The blocks of a box, and those one beyond its far sides, into which its last cubes reach."""
    return cells[((cells >= low) & (cells <= high)).all(axis=1)]


def tile_surface(tile: Tile, maps: KeptMaps, voxel: float, truncation: float, done: Callable[[], None]) -> Surface:
    """The surface in a tile's own blocks, around the maps' origin; `done` after every view."""
    values = np.zeros((len(tile.cells), BLOCK, BLOCK, BLOCK), np.float32)
    weights = np.zeros_like(values)
    for view in maps.views:
        seen = Seen(maps.depth(view), maps.weights(view), np.maximum(maps.slants(view), _MOST_SLANTED))
        integrate(tile.cells, voxel, truncation, maps.cameras[view], seen, values, weights, maps.median_depth)
        done()
    known = weights > _LEAST_WEIGHT
    np.divide(values, weights, out=values, where=known)
    surface = zero_surface(tile.cells, values, known, voxel)
    if not len(surface.faces):
        return surface
    middle = surface.vertices[surface.faces].mean(axis=1) / (voxel * BLOCK)
    return surface.kept(((middle >= tile.low) & (middle < tile.high)).all(axis=1))


def fused_surface(maps: KeptMaps, parts: list[Tile], voxel: float, truncation: float, done: Callable[[], None]):
    """The surface of all tiles, around the maps' origin; `done` after every view of a tile."""
    found = [tile_surface(tile, maps, voxel, truncation, done) for tile in parts]
    return found[0] if len(found) == 1 else joined(found)


def integrate(
    cells: np.ndarray,
    voxel: float,
    truncation: float,
    camera: Camera,
    seen: Seen,
    sums: np.ndarray,
    weights: np.ndarray,
    unit_depth: float,
) -> None:
    """Add a view to sums and weights float32 [N, B, B, B] of the voxels of blocks [N, 3], in the order z, y, x.

    To the sum goes the distance to the surface that is seen there, as a share of the truncation and 1 at most, times
    its weight: the distance along the ray, times the cosine of the surface's slant. (Along the ray alone the ground far
    ahead is so far from the voxels around it that hardly any would know of it.) The weight is the confidence, less far
    off (as 1 / depth^2: 1 at the unit depth), and less at a slant (as the cosine's square), for a round surface leaves
    its plane there. It falls to 0 at the truncation behind the surface; farther behind nothing is known. Before the
    truncation, in space that the view looks through, it is a share of that.
    """
    geometry = (camera.projection()[:3], camera.centre, max(abs(camera.K[0, 0]), abs(camera.K[1, 1])), unit_depth)
    _integrate(cells, voxel, truncation, geometry, seen, sums, weights)


@cached_njit(parallel=True, fastmath=FASTMATH, error_model="numpy")
def _integrate(cells, voxel, truncation, geometry, seen, sums, weights):
    """See `integrate`; geometry: img_T_world [3, 4], the camera's centre [3], focal length, unit depth."""
    img_T_world, _, focal, unit_depth = geometry
    radius = voxel * BLOCK * np.sqrt(3.0) / 2
    for n in numba.prange(len(cells)):
        middle = np.empty(3)
        for k in range(3):
            middle[k] = (cells[n, k] * BLOCK + (BLOCK - 1) / 2) * voxel
        nearest, farthest, whole = _look(middle, radius, img_T_world, focal, seen, truncation)
        if whole == 0:
            continue
        z = _row(img_T_world, 2, middle)
        if farthest < z - radius:
            continue  # behind all that the view sees there
        if whole == 1 and nearest > z + radius:
            weight = np.float32(_FREE * _unit_weight(z, unit_depth) * _confidence(middle, img_T_world, seen.confidence))
            for value in range(BLOCK**3):
                sums[n].reshape(-1)[value] += weight
                weights[n].reshape(-1)[value] += weight
            continue
        _integrate_block(cells[n], voxel, truncation, geometry, seen, sums[n], weights[n])


@cached_njit(inline="always", error_model="numpy")
def _row(img_T_world, k, point):
    """One component of a projected point."""
    row = img_T_world[k]
    return row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3]


@cached_njit(inline="always", error_model="numpy")
def _unit_weight(z, unit_depth):
    """What a depth counts by its distance."""
    return min((unit_depth / z) ** 2, _MOST_WEIGHT)


@cached_njit(error_model="numpy")
def _confidence(point, img_T_world, confidence):
    """The confidence at the pixel of a point, which is in the image."""
    height, width = confidence.shape
    z = _row(img_T_world, 2, point)
    x, y = int(np.rint(_row(img_T_world, 0, point) / z)), int(np.rint(_row(img_T_world, 1, point) / z))
    return confidence[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]


@cached_njit(error_model="numpy")
def _look(middle, radius, img_T_world, focal, seen, truncation):
    """The depths from which on and up to which a view's surfaces around a ball reach, and how much of it it sees.

    0: nothing, for sure; 1: all of it, in the image and with depth; 2: some, or it cannot be told.
    """
    depth = seen.depth
    height, width = depth.shape
    z = _row(img_T_world, 2, middle)
    if z + radius <= 0:
        return 0.0, 0.0, 0
    if z <= 2 * radius:
        return 0.0, np.inf, 2
    u, v = _row(img_T_world, 0, middle) / z, _row(img_T_world, 1, middle) / z
    reach = 1.2 * focal * radius / (z - radius) + 1
    left, right, top, bottom = u - reach, u + reach, v - reach, v + reach
    if right < 0 or bottom < 0 or left > width - 1 or top > height - 1:
        return 0.0, 0.0, 0
    whole = left >= 0 and top >= 0 and right <= width - 1 and bottom <= height - 1
    x0, x1 = int(max(left, 0)), int(min(right, width - 1))
    y0, y1 = int(max(top, 0)), int(min(bottom, height - 1))
    step_x, step_y = max(1, (x1 - x0) // _PROBES), max(1, (y1 - y0) // _PROBES)
    nearest, farthest = np.inf, 0.0
    for y in range(y0, y1 + 1, step_y):
        for x in range(x0, x1 + 1, step_x):
            if depth[y, x] > 0:
                reach = truncation / seen.slant[y, x]
                nearest, farthest = min(nearest, depth[y, x] - reach), max(farthest, depth[y, x] + reach)
            else:
                whole = False
    if farthest == 0:
        return 0.0, 0.0, 0
    return nearest, farthest, 1 if whole else 2


@cached_njit(fastmath=FASTMATH, error_model="numpy")
def _integrate_block(cell, voxel, truncation, geometry, seen, sums, weights):
    """See `integrate`, for one block; sums, weights [B, B, B]."""
    img_T_world, centre, _, unit_depth = geometry
    height, width = seen.depth.shape
    point = np.empty(3)
    for k in range(BLOCK):
        point[2] = (cell[2] * BLOCK + k) * voxel
        for j in range(BLOCK):
            point[1] = (cell[1] * BLOCK + j) * voxel
            for i in range(BLOCK):
                point[0] = (cell[0] * BLOCK + i) * voxel
                z = _row(img_T_world, 2, point)
                if z <= 0:
                    continue
                u, v = _row(img_T_world, 0, point) / z, _row(img_T_world, 1, point) / z
                if not (-0.5 <= u < width - 0.5 and -0.5 <= v < height - 0.5):
                    continue
                slant = seen.slant[int(np.rint(v)), int(np.rint(u))]
                surface = _sample(seen.depth, u, v, truncation / slant)
                if not surface > 0:
                    continue
                away = 0.0
                for axis in range(3):
                    away += (point[axis] - centre[axis]) ** 2
                share = (surface - z) * np.sqrt(away) * slant / (z * truncation)
                if share <= -1:
                    continue
                weight = seen.confidence[int(np.rint(v)), int(np.rint(u))] * _unit_weight(z, unit_depth)
                weight *= _FREE if share > 1 else (1 + min(share, 0.0)) * slant * slant
                sums[k, j, i] += weight * min(share, 1.0)
                weights[k, j, i] += weight


@cached_njit(inline="always", error_model="numpy")
def _sample(depth, u, v, step):
    """Bilinear depth at a pixel position; the nearest pixel's where the four differ by more than `step` or lack one."""
    height, width = depth.shape
    left, top = int(np.floor(u)), int(np.floor(v))
    if left >= 0 and top >= 0 and left + 1 < width and top + 1 < height:
        a, b, c, d = depth[top, left], depth[top, left + 1], depth[top + 1, left], depth[top + 1, left + 1]
        least, most = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
        if least > 0 and most - least <= step:
            right, down = u - left, v - top
            return (a * (1 - right) + b * right) * (1 - down) + (c * (1 - right) + d * right) * down
    return np.float64(depth[int(np.rint(v)), int(np.rint(u))])
