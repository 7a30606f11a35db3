"""Programs killed at any moment: no reader meets half a file, and a rerun ends as if nothing had happened.

Every program is killed at a few moments, by the clock or around some change to a file, and mostly again while it goes
on, before it is left to end. KILL_MOMENTS=20 makes that 20 kills of each program.
"""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from helpers import FAST, ROOT, run_program, succeed, write_checkpoint

from datasets.files import read_json
from datasets.io import read_camera, read_image, read_pfm, read_ply
from datasets.synthetic import write_test_layout, write_training_layout
from models.checkpoint import read_checkpoint

MOMENTS = int(os.environ.get("KILL_MOMENTS", 4))

READERS = {
    ".pfm": read_pfm,
    ".png": read_image,
    ".jpg": read_image,
    ".json": read_json,
    ".ckpt": read_checkpoint,
    ".ply": read_ply,
    ".txt": read_camera,
}
# Files about the run, not its result: flags with the folder's name, and the time that steps took.
ABOUT_THE_RUN = ("flags.json", "training.json")


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """One scan of 3 views of 64x32 in both layouts, a teacher, and predictions to make labels from."""
    root = tmp_path_factory.mktemp("kills")
    write_training_layout(root / "training", {"scan1": 1}, 64, 32, 3, lights=(6,))
    write_test_layout(root / "test", {"garden": 3}, 64, 32, 3)
    checkpoint = write_checkpoint(root / "teacher.ckpt", "teacher")
    flags = ("--testpath", root / "training", "--outdir", root / "est", "--loadckpt", checkpoint, "--num_view", 3)
    succeed(run_program("tools/predict.py", *flags, *FAST))
    return root


def command(name: str, data: Path, folder: Path) -> list[object]:
    """A program's command line, with its output folder."""
    weights = ("--loadckpt", data / "teacher.ckpt", "--num_view", 3)
    training = ("--trainpath", data / "training", "--trainlist", "all", "--nviews", 3, "--epochs", 3, *FAST)
    labels = ("--testpath", data / "est", "--pairpath", data / "training", "--thres_view", 1)
    flags = {
        "train_unsup.py": (
            *training,
            "--save_steps",
            2,
            "--augment",
            "--resume",
            "--summary_freq",
            1,
            "--logdir",
            folder,
        ),
        "tools/predict.py": ("--testpath", data / "training", *weights, *FAST, "--outdir", folder),
        "tools/check_and_encode.py": (*labels, "--outdir", folder),
        "test.py": ("--testpath", data / "test", *weights, *FAST, "--disp_threshold", 2, "--outdir", folder),
        "scripts/run_train_kd.sh": ("--save_steps", 1, "--num_workers", 0),
    }
    return [name, *flags[name]]


def driver_settings(python: Path, data: Path, folder: Path) -> dict[str, object]:
    """The environment of scripts/run_train_kd.sh."""
    settings = {
        "DATASET_DIR": data / "training",
        "TRAIN_LIST": "all",
        "TEST_LIST": "",
        "CKPT_FILE": data / "teacher.ckpt",
    }
    return {
        **settings,
        "LOG_DIR": folder,
        "PYTHON_BIN": python,
        "ROUNDS": 1,
        "EPOCHS": 2,
        "THRES_VIEW": 1,
        "NUM_VIEW": 3,
    }


def assert_files_are_whole(folder: Path) -> None:
    """Every file under its own name can be read by its reader."""
    for path in folder.rglob("*"):
        if path.suffix in READERS and not path.name.startswith("."):
            READERS[path.suffix](path)


def result(folder: Path) -> dict[str, bytes]:
    """The files that a program leaves, with their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ABOUT_THE_RUN and not path.name.startswith("events")
    }


def run(line: list[object], seconds: float = 300, **settings: object) -> bool:
    """Whether a command ended well; after so many seconds it is killed with all the processes it has started."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in settings.items()}}
    line = [str(word) for word in line]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            line, cwd=ROOT, env=environment, stdout=output, stderr=output, preexec_fn=os.setpgrp, text=True
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        # 137 is a driver's status when its program was killed.
        assert process.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), output.read()
    return process.returncode == 0


PROGRAMS = ("train_unsup.py", "tools/predict.py", "tools/check_and_encode.py", "test.py", "scripts/run_train_kd.sh")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_killed_program_goes_on(quick_python, data, tmp_path, name):
    """Started again it leaves the very bytes of a run that was never killed."""
    whole, killed, counted = tmp_path / "whole", tmp_path / "killed", tmp_path / "changes"

    def start(folder: Path, seconds: float = 300, **settings: object) -> bool:
        if name.endswith(".sh"):
            settings |= driver_settings(quick_python, data, folder)
        interpreter = "bash" if name.endswith(".sh") else quick_python
        return run([interpreter, *command(name, data, folder)], seconds, **settings)

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
