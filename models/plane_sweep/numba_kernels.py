"""Compiled kernels of the plane sweep for CPUs: rows of the cost volume and of the similarity, and their gradients.

Maps lie channel-last in memory, so the C features of a pixel are one SIMD vector (`Vector`), and a kernel keeps the
sums over the views of one point in registers. Kernels take the addresses of tensors, as a GPU's do: the caller keeps
the tensors alive and sees to their layout. Positions follow the plain definition operation by operation, in float32.

The kernels stay in one file: numba's cache notices changes of a kernel's own file only.
"""

import numpy as np

from models.cpu.simd import FLOAT_BYTES, load, store, store_bfloat16, total, totals
from models.plane_sweep import LEAST_NORM
from numba_cache import cached_njit

# Points of a row that are located together: their positions stay in the first-level cache until they are sampled.
_TILE = 128
_CORNERS, _WEIGHTS = 3, 4
_FAR_OUTSIDE = np.float32(4.0)
_MIN_DEPTH = np.float32(1e-6)
_LEAST_NORM = np.float32(LEAST_NORM)
_TWO = np.float32(2)

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


# ---------------------------------------------------------------- the views' weights


@kernel
def _shares(view_weights, sources, y, width):
    """One over the sum of the views' weights at row y's pixels; the reference's is 1, and without any all are."""
    if view_weights is None:
        return np.full(width, np.float32(1) / np.float32(sources + 1))
    shares = np.ones(width, np.float32)
    for s in range(sources):
        weights = view_weights[s, y]
        for x in range(width):
            shares[x] += weights[x]
    for x in range(width):
        shares[x] = np.float32(1) / shares[x]
    return shares


@kernel
def _weighed(sample, view_weights, s, y, x):
    """A source's sample times its weight at the pixel."""
    if view_weights is None:
        return sample
    return sample * view_weights[s, y, x]


# ---------------------------------------------------------------- the cost volume


@kernel
def _tile_buffers(sources):
    """What `_locate_sources` fills for one tile of a row: positions, corners and weights."""
    positions = np.empty(2 * _TILE, np.float32)
    corners = np.empty((sources, _CORNERS * _TILE), np.int32)
    return positions, corners, np.empty((sources, _WEIGHTS * _TILE), np.float32)


@kernel
def variance_rows(first, last, images, size, rays, offsets, depths, view_weights, volume, bfloat16, lanes):
    """Write rows first..last of a cost volume, counted depth first (row = y * D + d).

    images [N] addresses of the views' maps: of the reference [H, W, C], which may be rows of a larger one, and of the
    sources, whose size is (height, width); rays [N-1, 3, H, W], offsets [N-1, 3] and depths [D, H, W] as in
    `definition.project_pixels`; view_weights [N-1, H, W], or None where all are 1; volume: address of [D, H, W, C],
    float32 or bfloat16; lanes: tuple of C items.
    """
    sources = len(images) - 1
    hypotheses, height, width = depths.shape
    pixel_bytes = len(lanes) * FLOAT_BYTES
    out_bytes = pixel_bytes // 2 if bfloat16 else pixel_bytes
    positions, corners, weights = _tile_buffers(sources)
    for row in range(first, last):
        y, d = row // hypotheses, row % hypotheses
        shares = _shares(view_weights, sources, y, width)
        for start in range(0, width, _TILE):
            stop = min(start + _TILE, width)
            _locate_sources(rays, offsets, depths, size, d, y, start, stop, positions, corners, weights)
            for i in range(stop - start):
                sum_ = load(images[0] + (y * width + start + i) * pixel_bytes, lanes)
                squares = sum_ * sum_
                for s in range(sources):
                    sample = _sample(images[s + 1], pixel_bytes, corners, weights, s, i, lanes)
                    weighed = _weighed(sample, view_weights, s, y, start + i)
                    sum_ = sum_ + weighed
                    squares = squares + weighed * sample
                share = shares[start + i]
                mean = sum_ * share
                variance = squares * share - mean * mean
                target = volume + ((d * height + y) * width + start + i) * out_bytes
                if bfloat16:
                    store_bfloat16(target, variance)
                else:
                    store(target, variance)


@kernel
def mean_rows(
    first, last, origin, images, size, rays, offsets, depths, view_weights, grads, means, grad_reference, common, lanes
):
    """First half of the gradient for the image rows first..last of a block that begins at row `origin`.

    Writes the views' mean of every point to `means` and adds to the reference's gradient. grads: address of the
    volume's gradient [D, H, W, C]; means: of [rows of the block, D, W, C]; grad_reference: of [H, W, C]; common [H, W]:
    where there are weights, the sums of gradient times variance are added to it; others: `variance_rows`.
    """
    sources = len(images) - 1
    hypotheses, height, width = depths.shape
    pixel_bytes = len(lanes) * FLOAT_BYTES
    positions, corners, weights = _tile_buffers(sources)
    for row in range(first * hypotheses, last * hypotheses):
        y, d = row // hypotheses, row % hypotheses
        shares = _shares(view_weights, sources, y, width)
        for start in range(0, width, _TILE):
            stop = min(start + _TILE, width)
            _locate_sources(rays, offsets, depths, size, d, y, start, stop, positions, corners, weights)
            for i in range(stop - start):
                pixel = (y * width + start + i) * pixel_bytes
                point = ((d * height + y) * width + start + i) * pixel_bytes
                mean_place = ((row - origin * hypotheses) * width + start + i) * pixel_bytes
                reference = load(images[0] + pixel, lanes)
                sum_ = reference
                squares = reference * reference
                for s in range(sources):
                    sample = _sample(images[s + 1], pixel_bytes, corners, weights, s, i, lanes)
                    weighed = _weighed(sample, view_weights, s, y, start + i)
                    sum_ = sum_ + weighed
                    squares = squares + weighed * sample
                share = shares[start + i]
                mean = sum_ * share
                store(means + mean_place, mean)
                grad = load(grads + point, lanes)
                gradient = (reference - mean) * grad * (_TWO * share)
                _add_to(grad_reference + pixel, gradient, lanes)
                if view_weights is not None:
                    common[y, start + i] += total((squares * share - mean * mean) * grad)


@kernel
def scatter_rows(
    first, last, image, size, channels, rays, offsets, depths, factors, grads, means, grad_image, differences, lanes
):
    """Second half of the gradient for the image rows first..last, a whole block: add to one source's gradient.

    image and grad_image: addresses of the source's map [*size, channels] and its gradient; rays [1, 3, H, W] and
    offsets [1, 3] of the source; factors [H, W]: twice its share of the views' weights; differences [H, W]: the sums
    of gradient times squared difference from the mean are added to it, None where there are no weights; others:
    `mean_rows`. With fewer lanes than channels, addresses are of the first one meant.
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
                difference = sample - load(means + mean_place, lanes)
                gradient = difference * load(grads + point, lanes)
                if differences is not None:
                    differences[y, start + i] += total(difference * gradient)
                gradient = gradient * factors[y, start + i]
                _scatter(gradient, grad_image, pixel_bytes, corners, weights, i, lanes)


@kernel
def _scatter(gradient, grad_image, pixel_bytes, corners, weights, i, lanes):
    """Add the gradient to point i's sample to those of the four pixels around it, of the one source located."""
    a, b, c, d = _pixel_addresses(grad_image, pixel_bytes, corners, 0, i)
    _add_to(a, gradient * weights[0, i], lanes)
    _add_to(b, gradient * weights[0, _TILE + i], lanes)
    _add_to(c, gradient * weights[0, 2 * _TILE + i], lanes)
    _add_to(d, gradient * weights[0, 3 * _TILE + i], lanes)


@kernel
def _add_to(address, vector, lanes):
    """Add a vector to the one at an address."""
    store(address, load(address, lanes) + vector)


# ---------------------------------------------------------------- the similarity


@kernel
def similarity_rows(first, last, images, size, rays, offsets, depths, similarity, lanes, parts):
    """Write rows first..last (row = y * D + d) of the sources' similarity to the reference, and of their coverage.

    similarity [N-1, G + 1, D, H, W] for G groups of channels: `similarity.similarity_volume_plain`; parts: tuple of G
    items; others: `variance_rows`.
    """
    sources, groups = len(images) - 1, len(parts)
    hypotheses, _, width = depths.shape
    pixel_bytes = len(lanes) * FLOAT_BYTES
    positions, corners, weights = _tile_buffers(sources)
    for row in range(first, last):
        y, d = row // hypotheses, row % hypotheses
        for start in range(0, width, _TILE):
            stop = min(start + _TILE, width)
            _locate_sources(rays, offsets, depths, size, d, y, start, stop, positions, corners, weights)
            for s in range(sources):
                for i in range(stop - start):
                    reference = load(images[0] + (y * width + start + i) * pixel_bytes, lanes)
                    sample = _sample(images[s + 1], pixel_bytes, corners, weights, s, i, lanes)
                    products = totals(reference * sample, parts)
                    norms = totals(reference * reference + sample * sample, parts)
                    for g in range(groups):
                        similarity[s, g, d, y, start + i] = _TWO * products[g] / (norms[g] + _LEAST_NORM)
                line = similarity[s, groups, d, y]
                for i in range(stop - start):
                    upper = weights[s, i] + weights[s, _TILE + i]
                    line[start + i] = upper + weights[s, 2 * _TILE + i] + weights[s, 3 * _TILE + i]


@kernel
def similarity_gradient_rows(
    first, last, reference, image, size, channels, rays, offsets, depths, grads, grad_reference, grad_image, lanes
):
    """Gradient for the image rows first..last: add to the reference's and to one source's, in one group of channels.

    Addresses of maps with `channels` channels, of the group's first one: reference and grad_reference [H, W, C], image
    and grad_image [*size, C]; rays [1, 3, H, W] and offsets [1, 3] of the source; grads [D, H, W]; lanes: tuple of as
    many items as the group has.
    """
    hypotheses, _, width = depths.shape
    pixel_bytes = channels * FLOAT_BYTES
    positions, corners, weights = _tile_buffers(1)
    for row in range(first * hypotheses, last * hypotheses):
        y, d = row // hypotheses, row % hypotheses
        for start in range(0, width, _TILE):
            stop = min(start + _TILE, width)
            _locate_sources(rays, offsets, depths, size, d, y, start, stop, positions, corners, weights)
            for i in range(stop - start):
                pixel = (y * width + start + i) * pixel_bytes
                own = load(reference + pixel, lanes)
                sample = _sample(image, pixel_bytes, corners, weights, 0, i, lanes)
                norm = total(own * own + sample * sample) + _LEAST_NORM
                value = _TWO * total(own * sample) / norm
                factor = _TWO * grads[d, y, start + i] / norm
                _add_to(grad_reference + pixel, (sample - own * value) * factor, lanes)
                _scatter((own - sample * value) * factor, grad_image, pixel_bytes, corners, weights, i, lanes)
