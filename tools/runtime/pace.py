"""Parts of long work, as large as they may be between two signs of life."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

SECONDS = 3.0
_FASTER = 4  # times as many as before, at most: the first ones may be easy


def paced(items: Sequence[Item], first: int, seconds: float = SECONDS) -> Iterator[Sequence[Item]]:
    """The items in order, `first` of them at first, then so many at a time as take about so many seconds, never fewer.

    What a part takes is the time until the next one is asked for.
    """
    done, size = 0, first
    while done < len(items):
        part, started = items[done : done + size], time.monotonic()
        yield part
        done += len(part)
        each = (time.monotonic() - started) / len(part)
        size = max(first, min(_FASTER * size, int(seconds / max(each, 1e-9))))
