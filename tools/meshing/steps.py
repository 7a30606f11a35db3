"""How far a mesh is, for people who wait for it."""

from collections.abc import Callable

from tools.runtime.program import Progress


class ShownSteps:
    """Steps (fusion.mesh.meshes) as progress lines."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def begin(self, what: str, count: int) -> Callable[[], None]:
        """A progress bar, or lines."""
        progress = Progress(count, what, unit="step", quiet=self._quiet)
        left = count

        def done() -> None:
            nonlocal left
            progress.step()
            left -= 1
            if left == 0:
                progress.close()

        return done

    def say(self, text: str) -> None:
        """A line."""
        if not self._quiet:
            print(text, flush=True)
