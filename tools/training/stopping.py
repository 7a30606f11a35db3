"""What ends a training before its time: signals, the time limit, samples that cannot be loaded.

Under torchrun every such decision is one reduction that all processes reach: whoever left on its own would leave the
others waiting for it in another one.
"""

import math
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from datasets.files import DataError
from tools.runtime import distributed
from tools.runtime.signals import Stopped, StopSignals, ignore_ended_workers

Item = TypeVar("Item")

# What is raised where a process that loads samples has ended, or its connection.
_LOADING_ENDED = (RuntimeError, OSError, EOFError)


class Stopping:
    """Signals to this process, and what all processes have agreed on.

    signum: the signal that one of them got, 0 for none; late: whether the time is up; failure: why samples could not be
    loaded.
    """

    def __init__(self, max_minutes: float) -> None:
        self.signals = StopSignals(at_once=False)
        self.signum, self.late = 0, False
        self.failure: Exception | None = None
        self._deadline = time.monotonic() + 60 * max_minutes if max_minutes > 0 else math.inf

    @property
    def told(self) -> bool:
        """Whether the training has to save and end now, all processes at the same step."""
        return self.signum > 0 or self.failure is not None

    def reason(self) -> BaseException:
        """What to raise when it has saved."""
        return Stopped(self.signum) if self.signum else self.failure

    def together(self, items: Iterable[Item], all_needed: bool = False) -> Iterator[Item]:
        """This process's items, side by side with the other processes'; all must call it, and end it alike.

        "I have none" is part of what all agree on before each item. It ends for all when one of them is told to stop or
        cannot load an item, and when the last process has no item left. With `all_needed`, for steps of a training, it
        ends when the first has none or the time is up.
        """
        iterator = None
        while True:
            item, error = None, None
            if not self.signals.signum:
                try:
                    iterator = iter(items) if iterator is None else iterator
                    ignore_ended_workers()  # after the workers' start, when torch has set its handler
                    item = next(iterator, None)
                except _LOADING_ENDED as caught:
                    error = caught
                    self.signals.arrives()  # the worker may have got a signal that is still on its way to this process
            some, missing = self._agree(item is not None, error)
            if self.told or not some or (all_needed and (missing or self.late)):
                return
            if item is not None:
                yield item

    def _agree(self, has_item: bool, error: Exception | None) -> tuple[bool, bool]:
        """Whether some process has an item, and whether one has none; all learn of signals, the time and failures."""
        late = time.monotonic() > self._deadline
        own = [has_item, not has_item, self.signals.signum, late, error is not None]
        some, missing, self.signum, late, failed = map(int, distributed.agree(own))
        self.late = late > 0
        if failed and not self.signum:
            self.failure = _explained(error)
        return some > 0, missing > 0


def all_finite(finite: bool) -> bool:
    """Whether a value is finite on all processes; all must call it."""
    return distributed.agree([not finite])[0] == 0


def _explained(error: Exception | None) -> Exception:
    """The error to end with: this process's own, or another's (None)."""
    if error is None:
        return DataError("another process of this run cannot load its samples; see its message")
    # Torch reports a worker that is known to be gone; one that goes just then is a broken connection to it.
    broken = isinstance(error, (ConnectionError, EOFError)) and "in DataLoader worker process" not in str(error)
    if broken or str(error).startswith("DataLoader worker"):
        advice = "most often for lack of memory; lower --num_workers"
        detail = (str(error) or type(error).__name__).splitlines()[0]
        return DataError(f"a process that loads samples has ended, {advice}: {detail}")
    return error
