"""What an import goes on without, and says so: one missing or damaged element need not stop it."""

import dataclasses
from collections.abc import Callable

from datasets.files import DataError


def _print(text: str) -> None:
    print(text, flush=True)


@dataclasses.dataclass(frozen=True)
class Remarks:
    """What readers tell people. `strict` turns whatever would be left out into an error."""

    strict: bool = True
    say: Callable[[str], None] = _print

    def leave_out(self, problem: str) -> None:
        """Say that something with a problem is left out; raises DataError instead when strict."""
        if self.strict:
            raise DataError(problem)
        self.say(f"{problem}; left out")
