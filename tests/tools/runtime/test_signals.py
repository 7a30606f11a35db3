"""SIGTERM and SIGINT: exit status, one line, nothing half-written, and a second signal that does not wait."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import (
    CLI,
    FAST,
    PATIENCE,
    assert_nothing_half_written,
    end_process,
    start_process,
    succeed,
    wait_until,
    write_checkpoint,
)

from datasets.synthetic.scans import write_training_layout
from tools.runtime.signals import Stopped, StopSignals

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.fixture(scope="module")
def training_data(tmp_path_factory) -> Path:
    """One scan of 4 views of 64x32."""
    root = tmp_path_factory.mktemp("signals")
    write_training_layout(root, {"scan1": 1}, 64, 32, 4, lights=(3,))
    return root


@pytest.fixture
def training(training_data, tmp_path) -> list[object]:
    """Command line of a training of 6 epochs of 4 steps, with data-loading workers."""
    flags = ("--trainpath", training_data, "--trainlist", "all", "--nviews", 3, "--epochs", 6, "--augment")
    return ["train_unsup.py", *flags, *FAST, "--num_workers", 2, "--save_freq", 10, "--logdir", tmp_path / "log"]


@pytest.mark.parametrize("signum", STATUS)
def test_a_training_saves_and_goes_on_exactly(quick_python, training, tmp_path, signum):
    """Stopped inside an epoch and resumed, the last checkpoint is that of a training never stopped, byte for byte."""
    log = tmp_path / "log"
    succeed(end_process(start_process(quick_python, *training)))
    whole = log.rename(tmp_path / "whole")
    process = start_process(quick_python, *training, "--save_steps", 1)
    wait_until(lambda: list(log.glob("*.ckpt")), process)
    os.killpg(process.pid, signum)  # the workers get it too, as in a terminal
    result = end_process(process)
    assert result.returncode == STATUS[signum] and result.stderr == f"stopped by {signum.name}\n"
    (path,) = log.glob("*.ckpt")
    step = torch.load(path, weights_only=True)["step"]
    assert f"saved after step {step}; --resume goes on from there" in result.stdout and step < 24
    assert f"resumed from {path}" in succeed(end_process(start_process(quick_python, *training, "--resume")))
    for name in [path.name for path in whole.glob("*.ckpt")]:
        assert (log / name).read_bytes() == (whole / name).read_bytes()


def test_a_signal_to_every_process_is_one(training, tmp_path):
    """As a service manager ends a group: the data-loading workers are gone before the training has noticed, and still
    it saves."""
    process = start_process(sys.executable, *training, "--save_steps", 1)
    wait_until(lambda: list((tmp_path / "log").glob("*.ckpt")), process)
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(workers) == 2
    for pid in (*workers, process.pid):
        os.kill(pid, signal.SIGTERM)
    result = end_process(process)
    assert result.returncode == 143 and result.stderr == "stopped by SIGTERM\n"
    assert "saved after step" in result.stdout


@pytest.mark.parametrize("signum", STATUS)
def test_other_programs_end_at_once(quick_python, tmp_path, signum):
    """test.py in the middle of its views: one line, the status, whole files; a rerun needs only the rest."""
    flags = ("--testpath", CLI / "test", "--loadckpt", write_checkpoint(tmp_path / "student.ckpt"))
    command = ("test.py", *flags, *FAST, "--num_workers", 1, "--outdir", tmp_path / "out")
    process = start_process(quick_python, *command)
    wait_until(lambda: list((tmp_path / "out").rglob("depth_est/*.pfm")), process)
    os.killpg(process.pid, signum)
    result = end_process(process)
    assert result.returncode == STATUS[signum] and result.stderr == f"stopped by {signum.name}\n"
    assert_nothing_half_written(tmp_path / "out")
    assert "views are finished already" in succeed(end_process(start_process(quick_python, *command)))


STUBBORN = """
import time
from tools.runtime.signals import StopSignals
with StopSignals(at_once=False) as signals:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        if signals.signum:
            print("noted", flush=True)
            time.sleep(60)
"""


def test_a_second_signal_ends_at_once(quick_python, tmp_path):
    """Whatever the program is busy with; the echo of the first, which launchers make, does not count."""
    program = tmp_path / "stubborn.py"
    program.write_text(STUBBORN)
    process = start_process(quick_python, program)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "noted\n"
    time.sleep(0.7)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143


def test_a_signal_while_the_block_ends_is_not_lost():
    """Noted, but not acted on: it is raised when the block has ended well."""
    with pytest.raises(Stopped, match="stopped by SIGTERM"), StopSignals(at_once=False) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.signum == signal.SIGTERM


def test_handlers_are_put_back():
    """After the block the process handles signals as before."""
    before = [signal.getsignal(signum) for signum in STATUS]
    with pytest.raises(Stopped, match="SIGINT"), StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(signum) for signum in STATUS] == before
