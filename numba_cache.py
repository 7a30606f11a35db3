"""Compiled functions that are kept on disk where that is possible, for the numba code of every package."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numba
from numba.core.dispatcher import Dispatcher


def cached_njit(**options: Any) -> Callable[[Callable], Callable]:
    """`numba.njit(cache=True, **options)`, but compiled anew in each process where no cache folder is writable, and
    also when what it has from other files is another.

    numba looks for NUMBA_CACHE_DIR, the folder of the source file and the user's cache folder, in this order, and
    refuses to decorate a function when it may write to none, as in a read-only container. It compiles a function anew
    when the function's own file has changed; but functions and numbers that this imports are compiled into it.

    numba.prange counts in another type of integer than the rest. What a loop hands its number to is compiled for both,
    unless it is np.int64 of it.
    """

    def decorate(function: Callable) -> Callable:
        try:
            compiled = numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return numba.njit(**options)(function)
        if isinstance(compiled, Dispatcher):  # it is not with NUMBA_DISABLE_JIT
            file = compiled._cache._cache_file
            file._source_stamp = (file._source_stamp, _used(function.__globals__))
        return compiled

    return decorate


def _used(names: Mapping[str, Any]) -> str:
    """A digest of the numbers and compiled functions that a module has when it defines another: all that it imports."""
    used = sorted((name, stamp) for name, value in names.items() if (stamp := _stamp(value)) is not None)
    return hashlib.sha256(repr(used).encode()).hexdigest()


def _stamp(value: Any) -> str | None:
    """What tells another number from this, or another state of a compiled function's file; None for other things."""
    if isinstance(value, Dispatcher):
        file = getattr(value._cache, "_cache_file", None)  # none where no folder is writable: nothing is kept at all
        return None if file is None else repr(file._source_stamp)
    if isinstance(value, tuple):
        return repr(value) if all(_stamp(item) is not None for item in value) else None
    return repr(value) if isinstance(value, (int, float)) else None
