"""SIGTERM and SIGINT: most programs end at once, a training first saves. A second signal ends either without delay."""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from types import TracebackType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

# A launcher passes on what a terminal or a scheduler has sent to the whole group already: within this time it is the
# same signal, seconds.
_ECHO = 0.5


class Stopped(BaseException):
    """The program was told to stop. Not an Exception, so that no handler of errors takes it for one."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.status = 128 + signum


class StopSignals:
    """Handles the stop signals while its block runs.

    The first raises Stopped; with `at_once=False` it is noted in `signum` (0 before), and raised when the block ends.
    The second ends the process as it is.
    """

    def __init__(self, at_once: bool = True) -> None:
        self.at_once = at_once
        self.signum = 0
        self._since = 0.0

    def __enter__(self) -> "StopSignals":
        self._previous = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        if kind is None and self.signum and not self.at_once:
            raise Stopped(self.signum)

    def arrives(self) -> bool:
        """Whether a signal has come, or comes in a moment: one to several processes does not reach all at once."""
        deadline = time.monotonic() + _ECHO
        while not self.signum and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.signum > 0

    def _handle(self, signum: int, frame: object) -> None:
        now = time.monotonic()
        if self.signum:
            if now - self._since > _ECHO:
                os._exit(128 + signum)
            return
        self.signum, self._since = signum, now
        ignore_ended_workers()  # they may have got the signal too
        if self.at_once:
            raise Stopped(signum)


@contextlib.contextmanager
def heeded_while_blocked() -> Iterator[None]:
    """While its block waits in C++ code for other processes, where Python runs no handler, a stop signal ends it.

    For the main thread. A wait that returns within a moment is left to the handler.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_end_when_blocked, args=(reader,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _end_when_blocked(reader: int) -> None:
    """Wait for the number of a stop signal in the pipe, and then for its other end to be closed, but not for long."""
    while content := os.read(reader, 1):
        if content[0] in SIGNALS and not select.select([reader], [], [], _ECHO)[0]:
            os.write(2, f"{Stopped(content[0])}\n".encode())
            os._exit(Stopped(content[0]).status)


def ignore_ended_workers() -> None:
    """Let no data-loading worker's end interrupt this process; whoever waits for its samples is told.

    torch's own handler raises an error wherever the main thread is, in the middle of an optimisation step too.
    """
    signal.signal(signal.SIGCHLD, lambda *_: None)


def shield_worker(_worker: int) -> None:
    """Let a data-loading worker outlive signals to the whole group: its program decides when it ends."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
