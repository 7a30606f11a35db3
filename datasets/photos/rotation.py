"""Rotations as files have them."""

import numpy as np

from datasets.files import DataError, PathLike
from datasets.photos.posed import check_numbers


def rotation_of_quaternion(quaternion: np.ndarray, source: PathLike) -> np.ndarray:
    """The rotation [3, 3] of a quaternion (w, x, y, z) of any length; DataError, which names `source`, for zeros."""
    check_numbers(quaternion, source)
    length = np.linalg.norm(quaternion)
    if length < 1e-6:
        raise DataError(f"{source}: holds a rotation of zeros")
    w, x, y, z = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
