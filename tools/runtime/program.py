"""What every program shares: errors for people, flag types, progress, and results that a rerun can skip."""

import argparse
import contextlib
import ctypes
import errno
import math
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType

import tqdm

from datasets.files import DataError
from models.errors import CheckpointError
from tools.runtime.alive import SILENCE, Alive
from tools.runtime.signals import Stopped, StopSignals

KEPT_TENSOR = 100 << 20

# The positive numbers that float32 holds in full precision.
_SMALLEST_FLOAT, _LARGEST_FLOAT = 1.1754944e-38, 3.4028234e38

# Parameters of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

# Why a file that is open can no longer be written to.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)


def run_program(main: Callable[[], None]) -> None:
    """Run a program's `main`; a user's mistake becomes one line on stderr and exit status 1, without a stack trace.

    SIGTERM and SIGINT end it with one line and the status 143 or 130 (tools.runtime.signals).
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the program
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    with StopSignals() as signals:
        try:
            main()
            print(end="", flush=True)
        except (DataError, CheckpointError) as error:
            # An error raised in a data-loading worker arrives with its trace in front; the message is the last line.
            message = str(error).strip().splitlines()[-1]
            message = message.removeprefix("datasets.files.DataError: ")
            _stop(f"error: {message}", 1)
        except MemoryError:
            _stop("error: out of memory; use smaller images (--max_w, --max_h) or a smaller --batch_size", 1)
        except OSError as error:
            if error.filename is not None:
                _stop(f"error: {os.fsdecode(error.filename)[:200]}: {error.strerror}", 1)
            if error.errno not in _CANNOT_WRITE:  # a mistake of ours, or a broken connection
                raise
            # What it could not write is still in its buffer, and must go somewhere when the program ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _stop(f"error: standard output: cannot be written: {error.strerror}", 1)
        except Stopped as stopped:
            _stop(str(stopped), stopped.status)
        except RuntimeError as error:
            if signals.signum:  # what was going on broke when the program was told to stop
                _stop(str(Stopped(signals.signum)), Stopped(signals.signum).status)
            from tools.runtime import distributed  # which torch raised, so it is loaded

            if not distributed.is_lost_peer(error):
                raise
            _stop("error: another process of this run has ended or hangs; see its message, then run this again", 1)


def keep_freed_memory() -> None:
    """Let the C library reuse the memory of freed tensors instead of giving it back to the system, where it is glibc.

    They would otherwise be fresh pages each time, whose clearing takes a quarter of the time of a depth map at 640x512.
    For tensors up to `KEPT_TENSOR` bytes: larger ones would leave holes that cost more memory than they save time.
    """
    _set_allocator({_M_MMAP_THRESHOLD: KEPT_TENSOR, _M_TRIM_THRESHOLD: 512 << 20})


def return_freed_memory() -> None:
    """Let the C library give the memory of freed tensors back to the system, where it is glibc.

    By itself it comes to keep those up to 32 MiB, a quarter of a gigabyte of holes at 1152x864.
    """
    _set_allocator({_M_MMAP_THRESHOLD: 4 << 20})


def _set_allocator(parameters: dict[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in parameters.items():
            mallopt(parameter, value)


def _stop(message: str, status: int) -> None:
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
    # Not sys.exit: waiting for data-loading workers or other ranks could hang a program that has failed.
    os._exit(status) if "RANK" in os.environ else sys.exit(status)


def int_list(text: str) -> tuple[int, ...]:
    """A flag such as `48,32,8`."""
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 48,32,8") from None


def float_list(text: str) -> tuple[float, ...]:
    """A flag such as `4,1,0.5`."""
    try:
        return tuple(float(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 4,1,0.5") from None


def finite_list(text: str) -> tuple[float, ...]:
    """A flag such as `2,4,8`, of numbers that are neither NaN nor infinite."""
    return tuple(finite_float(str(value)) for value in float_list(text))


def finite_float(text: str) -> float:
    """A number that is neither NaN nor infinite, in float32 either."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST_FLOAT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def positive_float(text: str) -> float:
    """A finite number above 0, in float32 too."""
    value = finite_float(text)
    if value < _SMALLEST_FLOAT:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def fraction(text: str) -> float:
    """A number from 0 on and below 1."""
    value = finite_float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 on and below 1")
    return value


def positive_int(text: str) -> int:
    """A whole number from 1 on."""
    return _whole_number(text, 1)


def natural_int(text: str) -> int:
    """A whole number from 0 on."""
    return _whole_number(text, 0)


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        value = _whole_number(text, least)
        if value > most:
            raise argparse.ArgumentTypeError(f"{text!r} is too large; {most} at most")
        return value

    return parse


def _whole_number(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not least <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return value


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows every default in --help and leaves the description's line breaks alone."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class Progress:
    """A progress bar on a terminal; elsewhere plain lines, at most one every `every` seconds, and a last one.

    Its block, where it is a context manager, also tells that it goes on when one step takes long (tools.runtime.alive).
    """

    def __init__(
        self,
        total: int,
        label: str,
        unit: str = "view",
        every: float = 5.0,
        quiet: bool = False,
        silence: float = SILENCE,
    ) -> None:
        self.total, self.label, self.unit, self.every = total, label, unit, every
        self._quiet = quiet
        self._start = self._last = time.monotonic()
        self._done = 0
        terminal = sys.stderr.isatty() and not quiet
        self._bar = tqdm.tqdm(total=total, desc=label, unit=unit, dynamic_ncols=True) if terminal else None
        self._alive = Alive(label, silence, quiet=quiet, state=lambda: f"{self._done}/{self.total}, ")

    def __enter__(self) -> "Progress":
        self._alive.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._alive.__exit__(kind, error, trace)
        self.close()

    def step(self, note: str = "") -> None:
        """One more done; `note` (losses, say) is shown beside it."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()
            self._alive.heard()
            return
        now = time.monotonic()
        if not self._quiet and (self._done == self.total or now - self._last >= self.every):
            self._last = now
            self._alive.heard()
            seconds = (now - self._start) / self._done
            left = seconds * (self.total - self._done)
            text = f"{self.label}: {self._done}/{self.total}, {seconds:.2f} s per {self.unit}, {left:.0f} s left"
            print(f"{text}  {note}".rstrip(), flush=True)

    def message(self, text: str) -> None:
        """Print a line without breaking the bar."""
        if not self._quiet:
            tqdm.tqdm.write(text) if self._bar is not None else print(text, flush=True)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
