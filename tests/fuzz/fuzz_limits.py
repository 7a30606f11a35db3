"""Limits on what a reader may take for one file: processor time and memory. Beyond them is a failure, not a refusal."""

import contextlib
import os
import resource
import signal
from collections.abc import Iterator

SECONDS = 20  # of processor time: far more than any small file needs, whatever else the machine does
FREE_BYTES = 160 << 20  # for imports, arenas and small images
BYTES_PER_BYTE = 64  # of the file

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Endless(BaseException):
    """Raised when the time is up; no `except Exception` hides it."""


class Excessive(BaseException):
    """Raised for a refusal that came from a lack of memory."""


@contextlib.contextmanager
def limits(file_size: int, bytes_per_byte: int = BYTES_PER_BYTE) -> Iterator[None]:
    """Run the block with as much memory as a file of this size justifies.

    Raises MemoryError or Excessive when it asked for more, also where it took that for a damaged file, and Endless.
    """
    limit = _used_bytes() + FREE_BYTES + bytes_per_byte * file_size
    old_limits = resource.getrlimit(resource.RLIMIT_AS)
    old_handler = signal.signal(signal.SIGPROF, _time_is_up)
    resource.setrlimit(resource.RLIMIT_AS, (limit, old_limits[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    except Exception as error:
        if lacked_memory(error):
            raise Excessive(f"asked for more than {limit - _used_bytes() >> 20} MB: {error!r}") from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, old_limits)
        signal.signal(signal.SIGPROF, old_handler)


def lacked_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one it replaced, came from a lack of memory."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            return True
        error = error.__context__
    return False


def _used_bytes() -> int:
    """Address space of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * _PAGE


def _time_is_up(*_: object) -> None:
    raise Endless(f"{SECONDS} s of processor time")
