"""How far a mesh is, for people who wait for it."""

from collections.abc import Callable
from types import TracebackType

from tools.runtime.program import Progress


class ShownSteps:
    """Steps (fusion.mesh.meshes) as progress lines, with signs of life where a part of one takes long.

    In a block, which ends the step that is going on when something fails.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._going_on: Progress | None = None

    def __enter__(self) -> "ShownSteps":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def begin(self, what: str, count: int) -> Callable[[], None]:
        """A progress bar, or lines; the step before has ended."""
        self._end()
        self._going_on = progress = Progress(count, what, unit="step", quiet=self._quiet).__enter__()
        left = count

        def done() -> None:
            nonlocal left
            progress.step()
            left -= 1
            if left == 0 and progress is self._going_on:
                self._end()

        return done

    def say(self, text: str) -> None:
        """A line."""
        if not self._quiet:
            print(text, flush=True)

    def _end(self) -> None:
        if self._going_on is not None:
            self._going_on.__exit__(None, None, None)
            self._going_on = None
