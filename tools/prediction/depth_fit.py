"""Relative depth brought to scale: the line that takes a map's values to those of known points, found robustly."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.files import DataError, read_text
from datasets.formats.ply import read_ply
from datasets.formats.points import read_points
from datasets.formats.scenes import read_scene
from datasets.photos.remarks import Remarks

FEWEST_POINTS = 20
_TRIALS = 500
_CELL = 8  # pixels: of the points in one the nearest counts
_WITHIN = 2.5 * 1.4826  # times the median error is 2.5 standard deviations of a normal distribution
_STEPS = 3
# A falling line that is so many times better than any rising one tells that near and far are exchanged.
_FALLING = 2.0


class Line(NamedTuple):
    """value -> scale * value + shift, and its median error at the points, relative to what they say."""

    scale: float
    shift: float
    error: float

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The values on the line."""
        return self.scale * values + self.shift


def read_any_points(path: Path) -> np.ndarray:
    """Points [N, 3] of the world: a text file of x y z, a PLY cloud, or a model of a structure-from-motion program."""
    if path.suffix.lower() == ".ply":
        return read_ply(path)[0].astype(np.float64)
    if path.suffix.lower() == ".txt" and not read_text(path).lstrip().startswith("#"):
        return read_points(path)
    points = read_scene(path, None, Remarks(strict=False))[0].points
    if len(points) == 0:
        raise DataError(f"{path}: knows no points to fit depth to")
    return points


def fitted_line(values: np.ndarray, known: np.ndarray) -> Line | None:
    """The line from `values` [N] of a map to what is `known` [N], positive, at the same pixels.

    The line with the least median relative error of many through two points, then least squares over what it explains:
    up to half of the points may be wrong. None with too few points, or where no rising line explains them.
    """
    usable = np.isfinite(values) & np.isfinite(known) & (known > 0)
    x, y = values[usable].astype(np.float64), known[usable].astype(np.float64)
    if len(x) < FEWEST_POINTS or np.ptp(x) == 0:
        return None
    pairs = np.random.default_rng(0).integers(0, len(x), (_TRIALS, 2))
    x0, x1 = x[pairs].T
    y0, y1 = y[pairs].T
    scales = np.divide(y1 - y0, x1 - x0, out=np.zeros(_TRIALS), where=x1 != x0)
    shifts = y0 - scales * x0
    errors = np.array([np.median(_errors(x, y, *line)) for line in zip(scales, shifts, strict=True)])
    rising, falling = (errors[side].min(initial=np.inf) for side in (scales > 0, scales < 0))
    if not rising < _FALLING * falling:
        return None
    best = np.argmin(np.where(scales > 0, errors, np.inf))
    scale, shift = scales[best], shifts[best]
    for _ in range(_STEPS):
        errors = _errors(x, y, scale, shift)
        inlier = errors <= _WITHIN * np.median(errors) + 1e-12
        weights = 1 / y[inlier]  # of relative errors
        solved = np.linalg.lstsq(np.stack([x[inlier] * weights, weights], axis=1), np.ones(inlier.sum()), rcond=None)[0]
        if not solved[0] > 0:
            break
        scale, shift = solved
    return Line(float(scale), float(shift), float(np.median(_errors(x, y, scale, shift))))


def _errors(x: np.ndarray, y: np.ndarray, scale: float, shift: float) -> np.ndarray:
    return np.abs(scale * x + shift - y) / y
