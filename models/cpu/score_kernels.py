"""Compiled kernel of the 3D U-Nets' last convolution for CPUs: one score per voxel.

With a single output channel oneDNN uses an eighth of the processor at best; here the channels of a voxel are one SIMD
vector (models.cpu.simd), and the neighbours of four voxels are read once for all of them.
"""

import numpy as np

from models.cpu.simd import FLOAT_BYTES, load, load_bfloat16, total
from numba_cache import cached_njit

kernel = cached_njit(nogil=True, error_model="numpy")

_ROWS = 9  # of voxels that touch one row: 3 x 3
_TAPS = 3


@kernel
def _neighbours(volume, weights, d, y, shape, row_bytes, tap_bytes, rows, taps):
    """Addresses of the existing rows around row (d, y), and of their three weights each; returns how many there are."""
    depths, height, _ = shape
    count = 0
    for i in range(-1, 2):
        for j in range(-1, 2):
            if 0 <= d + i < depths and 0 <= y + j < height:
                rows[count] = volume + ((d + i) * height + y + j) * row_bytes
                taps[count] = weights + ((i + 1) * _TAPS + j + 1) * _TAPS * tap_bytes
                count += 1
    return count


@kernel
def _score_at_border(x, width, voxel_bytes, bfloat16, count, rows, taps, lanes):
    """The score of a voxel whose left or right neighbour may not exist."""
    tap_bytes = len(lanes) * FLOAT_BYTES
    result = np.float32(0)
    for r in range(count):
        for k in range(max(x - 1, 0), min(x + 2, width)):
            weight = load(taps[r] + (k - x + 1) * tap_bytes, lanes)
            address = rows[r] + k * voxel_bytes
            result += total((load_bfloat16(address, lanes) if bfloat16 else load(address, lanes)) * weight)
    return result


@kernel
def score_rows(first, last, volume, bfloat16, weights, scores, lanes):
    """Write rows first..last of scores [D, H, W] (row = d * H + y): a 3x3x3 convolution without bias, zero outside.

    volume: address of [D, H, W, C], float32 or bfloat16; weights: address of float32 [3, 3, 3, C]; lanes: a tuple of C
    items.
    """
    _, height, width = scores.shape
    tap_bytes = len(lanes) * FLOAT_BYTES
    voxel_bytes = tap_bytes // 2 if bfloat16 else tap_bytes
    rows, taps = np.empty(_ROWS, np.int64), np.empty(_ROWS, np.int64)
    for row in range(first, last):
        d, y = row // height, row % height
        count = _neighbours(volume, weights, d, y, scores.shape, width * voxel_bytes, tap_bytes, rows, taps)
        line = scores[d, y]
        line[0] = _score_at_border(0, width, voxel_bytes, bfloat16, count, rows, taps, lanes)
        x = 1
        while x + 4 < width:
            a, b, c, e = _four_scores(x, voxel_bytes, bfloat16, count, rows, taps, lanes)
            line[x], line[x + 1], line[x + 2], line[x + 3] = a, b, c, e
            x += 4
        for rest in range(x, width):
            line[rest] = _score_at_border(rest, width, voxel_bytes, bfloat16, count, rows, taps, lanes)


@kernel
def _four_scores(x, voxel_bytes, bfloat16, count, rows, taps, lanes):
    """The scores of voxels x..x+3, all of whose neighbours along the row exist."""
    tap_bytes = len(lanes) * FLOAT_BYTES
    zero = load(taps[0], lanes) * np.float32(0)
    a, b, c, e = zero, zero, zero, zero
    for r in range(count):
        left, middle, right = (
            load(taps[r], lanes),
            load(taps[r] + tap_bytes, lanes),
            load(taps[r] + 2 * tap_bytes, lanes),
        )
        first = rows[r] + (x - 1) * voxel_bytes
        if bfloat16:
            v0, v1, v2 = _three(first, voxel_bytes, lanes)
            v3, v4, v5 = _three(first + 3 * voxel_bytes, voxel_bytes, lanes)
        else:
            v0, v1, v2 = load(first, lanes), load(first + tap_bytes, lanes), load(first + 2 * tap_bytes, lanes)
            first += 3 * tap_bytes
            v3, v4, v5 = load(first, lanes), load(first + tap_bytes, lanes), load(first + 2 * tap_bytes, lanes)
        a = a + v0 * left + v1 * middle + v2 * right
        b = b + v1 * left + v2 * middle + v3 * right
        c = c + v2 * left + v3 * middle + v4 * right
        e = e + v3 * left + v4 * middle + v5 * right
    return total(a), total(b), total(c), total(e)


@kernel
def _three(address, voxel_bytes, lanes):
    """Three bfloat16 vectors, one after the other."""
    second, third = address + voxel_bytes, address + 2 * voxel_bytes
    return load_bfloat16(address, lanes), load_bfloat16(second, lanes), load_bfloat16(third, lanes)
