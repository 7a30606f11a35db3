"""Depth continued over what no other view confirms, from the surfaces around it.

Bare walls, floors and ceilings match anywhere: a network's depth there is a guess. But their borders are seen well, and
between borders most of them are flat. Where the inverse depth is an affine function of the pixel, the surface is a
plane, exactly. So at every pixel a plane is fitted to the inverse depths around it, each counting by how well it is
confirmed, by how near it is, and by how little the image changes on the way: the distance that a recursive filter goes
over the image, as in the domain transform (Gastal and Oliveira, SIGGRAPH 2011). Depths far from the fitted plane count
less in the next fit. This is not in the paper.
"""

import cv2
import numpy as np

from numba_cache import cached_njit

# How far a fit reaches, as a share of the image's longer side, and the change of colour (sum over the channels, 0 to 3)
# that counts as going as far.
_REACH, _CHANGE = 0.1, 0.5
# From the second fit on inverse depths that differ by so much, relative to the plane's, count a quarter.
_TOLERANCES = (0.2, 0.1, 0.05)
_FILTERINGS = 2  # of a fit: each goes along rows and columns, there and back
FLATNESS = 1e-2  # of the plane's slope, where the depths around tell none; squared reaches
# Pixels that nothing confirms count a little: where all are such, their own fit remains.
_LEAST_WEIGHT = 1e-4


def continued(inverse: np.ndarray, weight: np.ndarray, fits: "Fits") -> np.ndarray:
    """Inverse depth float32 [H, W] of planes fitted to the inverse depths around every pixel.

    inverse: float32 [H, W], 0 where unknown; weight: float32 [H, W], 0 or more. fits: over the view's image.
    """
    known = np.where(inverse > 0, weight + np.float32(_LEAST_WEIGHT), np.float32(0))
    if not known.any():
        return np.zeros_like(inverse)
    unit = np.median(inverse[inverse > 0])  # so that no product of five numbers leaves float32
    values = inverse / unit
    fitted = fits.fit(values, known.astype(np.float32))
    for tolerance in _TOLERANCES:
        with np.errstate(over="ignore"):
            difference = (values - fitted) / (tolerance * np.abs(fitted) + np.finfo(np.float32).tiny)
            weights = (known / np.square(1 + np.square(difference))).astype(np.float32)
        fitted = fits.fit(values, weights)
    return fitted * unit


class Fits:
    """Fits of planes over an RGB image uint8 [H, W, 3]."""

    def __init__(self, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        reach = _REACH * max(height, width)
        self.places = [np.arange(n, dtype=np.float32) / np.float32(reach) for n in (width, height)]
        ways, self.shares = _ways(image, reach), []
        for number in range(_FILTERINGS):
            share = np.sqrt(3) * 2.0 ** (_FILTERINGS - number - 1) / np.sqrt(4.0**_FILTERINGS - 1)
            self.shares.append([np.exp(np.float32(-np.sqrt(2) / (share * reach)) * way) for way in ways])

    def fit(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The planes' values float32 [H, W] at every pixel, of values and weights so; 0 where nothing counts."""
        fitted, moments = np.empty(values.shape, np.float32), np.empty((*values.shape, 9), np.float32)
        _fill(values, weights, *self.places, moments)
        for shares in self.shares:
            _filter(moments, *shares)
        _solve(moments, *self.places, fitted)
        return fitted


def _ways(image: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """How far it is to the pixel before, in its row and in its column [H, W]: 1 where the image does not change."""
    smooth = cv2.GaussianBlur(image.astype(np.float32) / 255, (0, 0), 1.0)
    ways = []
    for axis in (1, 0):
        change = np.abs(np.diff(smooth, axis=axis, prepend=smooth.take([0], axis))).sum(axis=2)
        ways.append(1 + np.float32(reach / _CHANGE) * change)
    return ways[0], ways[1]


@cached_njit(fastmath=True)
def _fill(values, counted, x, y, moments):
    """The moments [H, W, 9] of weighted values over the pixels' places: what a fit of a plane takes."""
    for row in range(len(y)):
        for column in range(len(x)):
            w, u, v = counted[row, column], x[column], y[row]
            d = w * values[row, column] if w > 0 else np.float32(0)
            target = moments[row, column]
            target[0], target[1], target[2] = w, w * u, w * v
            target[3], target[4], target[5] = w * u * u, w * u * v, w * v * v
            target[6], target[7], target[8] = d, d * u, d * v


@cached_njit(fastmath=True)
def _filter(moments, columns, rows):
    """The recursive filter along rows and columns, there and back, in place; `columns`, `rows` [H, W]: what share of a
    sum goes on from the pixel before."""
    height, width = columns.shape
    for y in range(height):
        for x in range(1, width):
            _pass_on(moments[y, x - 1], moments[y, x], columns[y, x])
        for x in range(width - 2, -1, -1):
            _pass_on(moments[y, x + 1], moments[y, x], columns[y, x + 1])
    for y in range(1, height):
        for x in range(width):
            _pass_on(moments[y - 1, x], moments[y, x], rows[y, x])
    for y in range(height - 2, -1, -1):
        for x in range(width):
            _pass_on(moments[y + 1, x], moments[y, x], rows[y + 1, x])


@cached_njit(fastmath=True, inline="always")
def _pass_on(source, target, share):
    for c in range(9):
        target[c] += share * (source[c] - target[c])


@cached_njit(fastmath=True, error_model="numpy")
def _solve(moments, x, y, fitted):
    """The fitted plane's value at every pixel [H, W]; 0 where nothing counts."""
    for row in range(len(y)):
        for column in range(len(x)):
            m = moments[row, column]
            total = m[0]
            if not total > 0:
                fitted[row, column] = 0
                continue
            u, v, d = m[1] / total, m[2] / total, m[6] / total
            uu, vv = m[3] / total - u * u + FLATNESS, m[5] / total - v * v + FLATNESS
            uv, ud, vd = m[4] / total - u * v, m[7] / total - u * d, m[8] / total - v * d
            size = uu * vv - uv * uv
            slope_x, slope_y = (ud * vv - vd * uv) / size, (vd * uu - ud * uv) / size
            fitted[row, column] = d + slope_x * (x[column] - u) + slope_y * (y[row] - v)
