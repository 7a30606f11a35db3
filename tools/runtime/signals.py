"""SIGTERM and SIGINT: most programs end at once, a training first saves. A second signal ends either without delay."""

import os
import signal
import time
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
        # The data-loading workers may have got the signal too; that they end is no error any more.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        if self.at_once:
            raise Stopped(signum)


def shield_worker(_worker: int) -> None:
    """Let a data-loading worker outlive signals to the whole group: its program decides when it ends."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
