"""Signs of life of steps that cannot tell how far they are."""

import time

from tools.runtime.alive import Alive


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


def test_an_error_passes():
    """And ends the thread."""
    try:
        with Alive("fusion", every=0.05):
            raise ValueError("a mistake")
    except ValueError as error:
        assert str(error) == "a mistake"
