"""Signs of life of steps that cannot tell how far they are."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

import tqdm

SILENCE = 6.0  # seconds; a look at the clock, and a busy machine, take more, and people wait for ten at most


class Alive:
    """While its block runs: a line whenever nothing was heard for `every` seconds, until `until` says it is enough.

    `heard` says that something else was printed; `state` is told in the line. A block that ends after half of that
    silence says so, for another's may follow.
    """

    def __init__(
        self,
        label: str,
        every: float = SILENCE,
        until: Callable[[], bool] = lambda: False,
        quiet: bool = False,
        state: Callable[[], str] = str,
    ) -> None:
        self._label, self._every, self._until, self._state = label, every, until, state
        self._start = self._last = time.monotonic()
        self._ended = threading.Event()
        self._thread = None if quiet else threading.Thread(target=self._watch, daemon=True)

    def heard(self) -> None:
        """Wait anew."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._every / 4)) and not self._until():
            if time.monotonic() - self._last >= self._every:
                self._say("so far")

    def _say(self, what: str) -> None:
        self._last = time.monotonic()
        tqdm.tqdm.write(f"{self._label}: {self._state()}{self._last - self._start:.0f} s {what}")
        sys.stdout.flush()

    def __enter__(self) -> "Alive":
        if self._thread is not None:
            self._last = time.monotonic()
            self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._thread is None:
            return
        self._thread.join()
        if kind is None and not self._until() and time.monotonic() - self._last >= self._every / 2:
            self._say("in all")
