"""Compiled functions that are kept on disk where that is possible, for the numba code of every package."""

from collections.abc import Callable
from typing import Any

import numba


def cached_njit(**options: Any) -> Callable[[Callable], Callable]:
    """`numba.njit(cache=True, **options)`, but compiled anew in each process where no cache folder is writable.

    numba looks for NUMBA_CACHE_DIR, the folder of the source file and the user's cache folder, in this order, and
    refuses to decorate a function when it may write to none, as in a read-only container.
    """

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return numba.njit(**options)(function)

    return decorate
