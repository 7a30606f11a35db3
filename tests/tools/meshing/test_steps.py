"""What people see who wait for a mesh: how far a step is, signs of life in long parts, and an end when it fails."""

import threading
import time

import pytest

from tools.meshing import steps as module
from tools.meshing.steps import ShownSteps


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Signs of life after a twentieth of a second."""
    progress = module.Progress
    monkeypatch.setattr(module, "Progress", lambda *args, **flags: progress(*args, **flags, every=0.0, silence=0.05))


def test_a_long_part_gives_signs_of_life(capsys):
    with ShownSteps() as steps:
        done = steps.begin("check", 2)
        time.sleep(0.3)
        done()
        done()
        time.sleep(0.2)  # nothing goes on
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("check: 0/2, 0 s so far") >= 2
    assert lines[-1].startswith("check: 2/2, ") and lines[-2].startswith("check: 1/2, ")


def test_a_step_that_is_not_counted_to_its_end_ends_with_the_next(capsys):
    with ShownSteps() as steps:
        unfinished = steps.begin("simplify", 9)
        done = steps.begin("colours", 1)
        unfinished()
        time.sleep(0.2)
        done()
    assert "simplify: 0/9" not in capsys.readouterr().out


def test_after_a_failure_nothing_is_told(capsys):
    before = threading.active_count()
    with pytest.raises(ValueError), ShownSteps() as steps:
        steps.begin("texture", 3)
        raise ValueError
    time.sleep(0.2)
    assert threading.active_count() == before and capsys.readouterr().out == ""


def test_quiet_steps_say_nothing(capsys):
    with ShownSteps(quiet=True) as steps:
        done = steps.begin("check", 1)
        time.sleep(0.2)
        done()
        steps.say("larger voxels")
    assert capsys.readouterr().out == ""
