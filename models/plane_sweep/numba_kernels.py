"""Compiled kernels of the plane sweep for CPUs: rows of the cost volume, and of its gradient.

Maps lie channel-last in memory, so the C features of a pixel are one SIMD vector (`Vector`), and a kernel keeps the
sums over the views of one point in registers. Kernels take the addresses of tensors, as a GPU's do: the caller keeps
the tensors alive and sees to their layout. Positions follow the plain definition operation by operation, in float32.

The kernels stay in one file: numba's cache notices changes of a kernel's own file only.
"""

import numpy as np

from models.cpu.simd import FLOAT_BYTES, load, store, store_bfloat16
from numba_cache import cached_njit

# Points of a row that are located together: their positions stay in the first-level cache until they are sampled.
_TILE = 128
_CORNERS, _WEIGHTS = 3, 4
_FAR_OUTSIDE = np.float32(4.0)
_MIN_DEPTH = np.float32(1e-6)

kernel = cached_njit(nogil=True, error_model="numpy")

# ---------------------------------------------------------------- positions


@kernel
def _locate(ray_x, ray_y, ray_z, offset, depths, start, stop, size, positions, corners, weights):
    """Where one source sees points start..stop of a row: pixel indices and bilinear weights, as `F.grid_sample` does.

    ray_x, ray_y, ray_z [W] and offset [3] of the row, depths [W], size (h, w) of the source. corners [3 * _TILE]: index
    of the upper left pixel, steps to its right and lower neighbour; weights [4 * _TILE] of the four pixels in reading
    order, zero outside the image and behind the camera. Two loops without branches or calls, for SIMD instructions.
    """
    height, width = np.int32(size[0]), np.int32(size[1])
    half_width, half_height = np.float32(max(width - 1, 1) / 2), np.float32(max(height - 1, 1) / 2)
    scale_x, scale_y = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
    one = np.float32(1)
    for i in range(stop - start):
        depth = depths[start + i]
        z = ray_z[start + i] * depth + offset[2]
        safe_z = _MIN_DEPTH if abs(z) < _MIN_DEPTH else z
        u = (ray_x[start + i] * depth + offset[0]) / safe_z / half_width - one
        v = (ray_y[start + i] * depth + offset[1]) / safe_z / half_height - one
        u = _FAR_OUTSIDE if z < _MIN_DEPTH else u
        u = u if u < _FAR_OUTSIDE else _FAR_OUTSIDE  # NaN, too, is far outside
        v = v if v < _FAR_OUTSIDE else _FAR_OUTSIDE
        positions[i] = ((u if u > -_FAR_OUTSIDE else -_FAR_OUTSIDE) + one) * scale_x
        positions[_TILE + i] = ((v if v > -_FAR_OUTSIDE else -_FAR_OUTSIDE) + one) * scale_y
    for i in range(stop - start):
        x, y = positions[i], positions[_TILE + i]
        floor_x, floor_y = np.floor(x), np.floor(y)
        right, lower = x - floor_x, y - floor_y
        left, upper = one - right, one - lower
        x0, y0 = np.int32(floor_x), np.int32(floor_y)
        x1, y1 = np.int32(x0 + 1), np.int32(y0 + 1)
        left = left if (x0 >= 0) & (x0 < width) else np.float32(0)
        right = right if (x1 >= 0) & (x1 < width) else np.float32(0)
        upper = upper if (y0 >= 0) & (y0 < height) else np.float32(0)
        lower = lower if (y1 >= 0) & (y1 < height) else np.float32(0)
        weights[i] = left * upper
        weights[_TILE + i] = right * upper
        weights[2 * _TILE + i] = left * lower
        weights[3 * _TILE + i] = right * lower
        x0, x1 = min(max(x0, np.int32(0)), width - 1), min(max(x1, np.int32(0)), width - 1)
        y0, y1 = min(max(y0, np.int32(0)), height - 1), min(max(y1, np.int32(0)), height - 1)
        corners[i] = np.int32(y0 * width + x0)
        corners[_TILE + i] = np.int32(x1 - x0)
        corners[2 * _TILE + i] = np.int32((y1 - y0) * width)


@kernel
def _locate_sources(rays, offsets, depths, size, d, y, start, stop, positions, corners, weights):
    """`_locate` for every source: corners and weights [N-1, ...]."""
    for s in range(len(offsets)):
        # Rows of their own: their values are known to lie side by side in memory, which SIMD instructions need.
        ray_x, ray_y, ray_z = rays[s, 0, y], rays[s, 1, y], rays[s, 2, y]
        _locate(ray_x, ray_y, ray_z, offsets[s], depths[d, y], start, stop, size, positions, corners[s], weights[s])


@kernel
def _pixel_addresses(image, pixel_bytes, corners, s, i):
    """Addresses of the four pixels around point i."""
    first = image + corners[s, i] * pixel_bytes
    right, lower = corners[s, _TILE + i] * pixel_bytes, corners[s, 2 * _TILE + i] * pixel_bytes
    return first, first + right, first + lower, first + lower + right


@kernel
def _sample(image, pixel_bytes, corners, weights, s, i, lanes):
    """Bilinear sample at point i, a vector."""
    a, b, c, d = _pixel_addresses(image, pixel_bytes, corners, s, i)
    upper = load(a, lanes) * weights[s, i] + load(b, lanes) * weights[s, _TILE + i]
    return upper + load(c, lanes) * weights[s, 2 * _TILE + i] + load(d, lanes) * weights[s, 3 * _TILE + i]


# ---------------------------------------------------------------- kernels


@kernel
def _tile_buffers(sources):
    """What `_locate_sources` fills for one tile of a row: positions, corners and weights."""
    positions = np.empty(2 * _TILE, np.float32)
    corners = np.empty((sources, _CORNERS * _TILE), np.int32)
    return positions, corners, np.empty((sources, _WEIGHTS * _TILE), np.float32)


@kernel
def variance_rows(first, last, images, size, rays, offsets, depths, volume, bfloat16, lanes):
    """Write rows first..last of a cost volume, counted depth first (row = y * D + d).

    images [N] addresses of the views' maps: of the reference [H, W, C], which may be rows of a larger one, and of the
    sources, whose size is (height, width); rays [N-1, 3, H, W], offsets [N-1, 3] and depths [D, H, W] as in
    `definition.project_pixels`; volume: address of [D, H, W, C], float32 or bfloat16; lanes: tuple of C items.
    """
    sources = len(images) - 1
    hypotheses, height, width = depths.shape
    pixel_bytes = len(lanes) * FLOAT_BYTES
    out_bytes = pixel_bytes // 2 if bfloat16 else pixel_bytes
    share = np.float32(1) / np.float32(sources + 1)
    positions, corners, weights = _tile_buffers(sources)
    for row in range(first, last):
        y, d = row // hypotheses, row % hypotheses
        for start in range(0, width, _TILE):
            stop = min(start + _TILE, width)
            _locate_sources(rays, offsets, depths, size, d, y, start, stop, positions, corners, weights)
            for i in range(stop - start):
                total = load(images[0] + (y * width + start + i) * pixel_bytes, lanes)
                squares = total * total
                for s in range(sources):
                    sample = _sample(images[s + 1], pixel_bytes, corners, weights, s, i, lanes)
                    total = total + sample
                    squares = squares + sample * sample
                mean = total * share
                variance = squares * share - mean * mean
                target = volume + ((d * height + y) * width + start + i) * out_bytes
                if bfloat16:
                    store_bfloat16(target, variance)
                else:
                    store(target, variance)


@kernel
def mean_rows(first, last, origin, images, size, rays, offsets, depths, grads, means, grad_reference, lanes):
    """First half of the gradient for the image rows first..last of a block that begins at row `origin`.

    Writes the views' mean of every point to `means` and adds to the reference's gradient. grads: address of the
    volume's gradient [D, H, W, C]; means: of [rows of the block, D, W, C]; grad_reference: of [H, W, C]; others:
    `variance_rows`.
    """
    sources = len(images) - 1
    hypotheses, height, width = depths.shape
    pixel_bytes = len(lanes) * FLOAT_BYTES
    share = np.float32(1) / np.float32(sources + 1)
    positions, corners, weights = _tile_buffers(sources)
    for row in range(first * hypotheses, last * hypotheses):
        y, d = row // hypotheses, row % hypotheses
        for start in range(0, width, _TILE):
            stop = min(start + _TILE, width)
            _locate_sources(rays, offsets, depths, size, d, y, start, stop, positions, corners, weights)
            for i in range(stop - start):
                pixel = (y * width + start + i) * pixel_bytes
                point = ((d * height + y) * width + start + i) * pixel_bytes
                mean_place = ((row - origin * hypotheses) * width + start + i) * pixel_bytes
                reference = load(images[0] + pixel, lanes)
                total = reference
                for s in range(sources):
                    total = total + _sample(images[s + 1], pixel_bytes, corners, weights, s, i, lanes)
                mean = total * share
                store(means + mean_place, mean)
                gradient = (reference - mean) * load(grads + point, lanes) * (2 * share)
                store(grad_reference + pixel, load(grad_reference + pixel, lanes) + gradient)


@kernel
def scatter_rows(first, last, image, size, channels, factor, rays, offsets, depths, grads, means, grad_image, lanes):
    """Second half of the gradient for the image rows first..last, a whole block: add to one source's gradient.

    image and grad_image: addresses of the source's map [*size, channels] and its gradient; factor: 2/N; rays
    [1, 3, H, W] and offsets [1, 3] of the source; others: `mean_rows`. With fewer lanes than channels, addresses are of
    the first one meant.
    """
    hypotheses, height, width = depths.shape
    pixel_bytes = channels * FLOAT_BYTES
    positions, corners, weights = _tile_buffers(1)
    for row in range(first * hypotheses, last * hypotheses):
        y, d = row // hypotheses, row % hypotheses
        for start in range(0, width, _TILE):
            stop = min(start + _TILE, width)
            _locate_sources(rays, offsets, depths, size, d, y, start, stop, positions, corners, weights)
            for i in range(stop - start):
                point = ((d * height + y) * width + start + i) * pixel_bytes
                mean_place = ((row - first * hypotheses) * width + start + i) * pixel_bytes
                sample = _sample(image, pixel_bytes, corners, weights, 0, i, lanes)
                gradient = (sample - load(means + mean_place, lanes)) * load(grads + point, lanes) * factor
                a, b, c, d_ = _pixel_addresses(grad_image, pixel_bytes, corners, 0, i)
                _add_to(a, gradient * weights[0, i], lanes)
                _add_to(b, gradient * weights[0, _TILE + i], lanes)
                _add_to(c, gradient * weights[0, 2 * _TILE + i], lanes)
                _add_to(d_, gradient * weights[0, 3 * _TILE + i], lanes)


@kernel
def _add_to(address, vector, lanes):
    """Add a vector to the one at an address."""
    store(address, load(address, lanes) + vector)
