"""Arrays from outside, checked. Light: no torch."""

import numpy as np

from datasets.files import DataError


def check_array(name: str, value: np.ndarray, dtype: type[np.generic], shape: tuple[int | None, ...]) -> None:
    """Raise DataError unless a value is an array of this type and shape, in which None stands for any size but 0."""
    wanted = f"an array of {np.dtype(dtype)} [{', '.join('any' if side is None else str(side) for side in shape)}]"
    if not isinstance(value, np.ndarray):
        raise DataError(f"{name}: is a {type(value).__name__}, must be {wanted}")
    fits = len(value.shape) == len(shape) and all(
        side in (size, None) for size, side in zip(value.shape, shape, strict=True)
    )
    if value.dtype != dtype or not fits or value.size == 0:
        raise DataError(f"{name}: is an array of {value.dtype} {list(value.shape)}, must be {wanted}")
