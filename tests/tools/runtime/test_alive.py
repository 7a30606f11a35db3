"""Signs of life of steps that cannot tell how far they are."""

import itertools
import time

import pytest

from tools.runtime import alive, program
from tools.runtime.alive import Alive
from tools.runtime.program import Progress


def test_lines_while_nothing_is_heard(capsys):
    """One every so often, and none after the block."""
    with Alive("fusion", every=0.05):
        time.sleep(0.3)
    lines = capsys.readouterr().out.splitlines()
    assert 2 <= len(lines) <= 6 and all(line.startswith("fusion: ") for line in lines)
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_nothing_to_say(capsys):
    """Where something else is heard, where it is enough, and on other ranks."""
    with Alive("poses", every=0.2) as alive:
        for _ in range(8):
            time.sleep(0.05)
            alive.heard()
    with Alive("depth", every=0.05, until=lambda: True), Alive("depth", every=0.05, quiet=True):
        time.sleep(0.2)
    assert capsys.readouterr().out == ""


def test_the_end_of_a_silent_step(capsys):
    """Told where the next step's silence would add to this one's, and only there."""
    with Alive("poses", every=0.2):
        time.sleep(0.15)
    assert capsys.readouterr().out == "poses: 0 s in all\n"
    with Alive("points", every=60.0):
        time.sleep(0.05)
    assert capsys.readouterr().out == ""


def test_an_error_passes(capsys):
    """And ends the thread; a step that failed has no end to tell of."""
    with pytest.raises(ValueError, match="a mistake"), Alive("fusion", every=0.2):
        time.sleep(0.15)
        raise ValueError("a mistake")
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- steps that count


@pytest.fixture
def lines(monkeypatch):
    """Runs a block with signs of life after so many seconds of silence; returns when each line was printed."""

    def run(work, silence: float, every: float) -> list[tuple[float, str]]:
        printed, start = [], time.monotonic()

        def note(text: str = "", **_) -> None:
            printed.append((time.monotonic() - start, text))

        monkeypatch.setattr(alive.tqdm.tqdm, "write", note)
        monkeypatch.setattr(program, "print", note, raising=False)
        with Progress(6, "features", unit="photo", every=every, silence=silence) as progress:
            work(progress)
        return printed

    return run


def test_slow_steps_are_told_between(lines):
    """A step of several times the longest silence; how far it is stands in the line."""

    def work(progress: Progress) -> None:
        progress.step()
        time.sleep(0.5)
        progress.step()

    printed = lines(work, 0.1, 0.0)
    assert printed[0][1].startswith("features: 1/6, ") and printed[-1][1].startswith("features: 2/6, ")
    between = [text for _, text in printed[1:-1]]
    assert len(between) >= 2 and all(text == "features: 1/6, 0 s so far" for text in between)


def test_steps_without_a_line_are_silence(lines):
    """What counts is the last line that was printed, not the last step: these come one after the other, unseen."""

    def work(progress: Progress) -> None:
        for _ in range(5):
            time.sleep(0.12)
            progress.step()

    times = [0.0, *(when for when, _ in lines(work, 0.2, 60.0)), 0.6]
    assert max(after - before for before, after in itertools.pairwise(times)) < 0.4
    assert len(times) > 3


def test_no_line_after_the_block(lines):
    """Nor where nobody is to be told."""
    assert lines(lambda progress: None, 0.05, 0.0) == []
    with Progress(2, "depth", quiet=True):
        time.sleep(0.2)
