"""Programs killed at any moment: no reader meets half a file, and a rerun ends as if nothing had happened.

Every program is killed at a few moments, by the clock or around some change to a file, and mostly again while it goes
on, before it is left to end. KILL_MOMENTS=20 makes that 20 kills of each program.
"""

import math
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from helpers import PATIENCE, ROOT
from small_runs import assert_files_are_whole, command, driver_settings, result

MOMENTS = int(os.environ.get("KILL_MOMENTS", 3))


def run(line: list[object], seconds: float = math.inf, **settings: object) -> bool:
    """Whether a command ended well; after so many seconds it is killed with all the processes it has started.

    One that nobody kills ends in time.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in settings.items()}}
    line = [str(word) for word in line]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            line, cwd=ROOT, env=environment, stdout=output, stderr=output, preexec_fn=os.setpgrp, text=True
        )
        try:
            process.wait(min(seconds, PATIENCE))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            output.seek(0)
            assert seconds < PATIENCE, f"hangs after:\n{output.read()}"
        output.seek(0)
        # 137 is a driver's status when its program was killed.
        assert process.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), output.read()
    return process.returncode == 0


PROGRAMS = ("train_unsup.py", "tools/predict.py", "tools/check_and_encode.py", "test.py", "scripts/run_train_kd.sh")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_killed_program_goes_on(quick_python, small_data, tmp_path, name):
    """Started again it leaves the very bytes of a run that was never killed."""
    whole, killed, counted = tmp_path / "whole", tmp_path / "killed", tmp_path / "changes"

    def start(folder: Path, seconds: float = math.inf, **settings: object) -> bool:
        if name.endswith(".sh"):
            settings |= driver_settings(quick_python, small_data, folder)
        interpreter = "bash" if name.endswith(".sh") else quick_python
        return run([interpreter, *command(name, small_data, folder)], seconds, **settings)

    assert start(whole)  # what is compiled at the first use is compiled now
    shutil.rmtree(whole)
    started = time.monotonic()
    assert start(whole, KILL_FOLDER=whole, COUNT_FILE=counted)
    duration, changes = time.monotonic() - started, int(counted.read_text())
    expected = result(whole)
    moments, attempts, kills = random.Random(name), 0, 0
    while kills < MOMENTS:
        if moments.random() < 0.5:
            ended = start(killed, moments.uniform(0.0, duration))
        else:
            place = {"KILL_AT": moments.randint(1, changes), "KILL_CALLS": moments.randint(0, 6)}
            ended = start(killed, KILL_FOLDER=killed, **place)
        attempts, kills = attempts + 1, kills + (not ended)
        assert_files_are_whole(killed)
        if kills == MOMENTS or moments.random() < 0.5:
            assert start(killed)
            assert result(killed) == expected
            shutil.rmtree(killed)
    print(f"{name}: killed {kills} times in {attempts} starts, {changes} changes to files, {duration:.1f} s a run")
