"""Compiled kernels on plain threads, as many as torch uses.

numba's own parallel loops would share torch's OpenMP pool, which slows torch down wherever the two are set to different
numbers, and may not be used after a fork.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

# Work is shared out in pieces, several per thread: a thread may be slower than others.
_PIECES = 4


def pieces(first: int, last: int) -> list[tuple[int, int]]:
    """Consecutive ranges that cover first..last, a few for each thread."""
    count = min(_PIECES * torch.get_num_threads(), last - first)
    edges = [first + (last - first) * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def run_on(pool: ThreadPoolExecutor, kernel: Callable, calls: Iterable[tuple]) -> None:
    """Call the kernel, which must let go of Python's lock, with all arguments on the pool's threads, and wait."""
    for future in [pool.submit(kernel, *arguments) for arguments in calls]:
        future.result()
