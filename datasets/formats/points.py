"""Reading points in space from text: x y z in world units, one point a line."""

import math

import numpy as np

from datasets.files import DataError, PathLike, read_text

_LARGEST = float(np.finfo(np.float32).max)


def read_points(path: PathLike) -> np.ndarray:
    """Points float64 [N, 3] of a text file with x y z on every line; blank lines are skipped.

    Raises DataError when the file is missing, has no point, or a line is anything but three numbers of float32's range.
    """
    points = [_point(path, number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    if not points:
        raise DataError(f"{path}: holds no point; write x y z of one point a line")
    return np.array(points)


def _point(path: PathLike, number: int, line: str) -> tuple[float, float, float]:
    try:
        x, y, z = map(float, line.split(maxsplit=3))
        if not max(abs(x), abs(y), abs(z)) <= _LARGEST or math.isnan(x + y + z):
            raise ValueError
    except ValueError:
        raise DataError(f"{path}: line {number} is not x y z of a point: {line[:40]!a}") from None
    return x, y, z
