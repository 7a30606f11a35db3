"""Two processes that work together: equal gradients, one poisoned sample, a process that dies, signals."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import (
    FAST,
    change_times,
    end_process,
    start_process,
    start_ranks,
    succeed,
    wait_until,
    write_exact_labels,
)

from datasets.files import write_bytes
from datasets.formats.metrics import read_scalars
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.synthetic.scans import write_training_layout

VIEWS = 4
SIGNAL_MOMENTS = int(os.environ.get("SIGNAL_MOMENTS", 3))


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """One scan of 4 views of 64x32, and its exact depth as labels."""
    root = tmp_path_factory.mktemp("distributed")
    write_training_layout(root, {"scan1": 1}, 64, 32, VIEWS, lights=(3,))
    write_exact_labels(root, "scan1", VIEWS)
    return root


@pytest.fixture
def flags(data, tmp_path) -> list:
    """Flags of a training of 2 steps an epoch with two processes."""
    return ["--trainpath", data, "--trainlist", "all", "--logdir", tmp_path / "log", *FAST, "--nviews", 3]


def run_ranks(python: Path, *command: object, **settings: object) -> list:
    """Results of two processes that work together."""
    return [end_process(rank) for rank in start_ranks(python, 2, *command, **settings)]


def last_checkpoint(folder: Path) -> dict:
    """Content of the newest checkpoint."""
    return torch.load(max(folder.glob("model_[0-9]*.ckpt")), weights_only=True)


# ---------------------------------------------------------------- gradients

GRADIENTS = b"""
import sys
from pathlib import Path

import torch

from models.losses import DistillationLoss
from tools.runtime import distributed
from tools.training.flags import read_data, read_settings, training_parser
from tools.training.settings import StudentSettings
from tools.training.setup import build_network, open_training_sets, start_training
from tools.training.trainer import Trainer

args = training_parser("", StudentSettings).parse_args(sys.argv[2:])
args.pseudopath = Path(args.trainpath) / "labels"
settings = read_settings(args, StudentSettings)
device = start_training(settings)
loss = DistillationLoss("paper")
train_set, _ = open_training_sets(read_data(args), settings.inputs)
compute_losses = lambda outputs, batch: loss(outputs, batch["mu"], batch["sigma"], batch["label_mask"], (1, 1, 1))
network = build_network("student", settings.network, settings.saving)
trainer = Trainer(settings, network, compute_losses, train_set, None, device)
trainer.model.train()
for module in trainer.network.modules():
    if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
        module.eval()
batch = next(iter(trainer.train_loader))
outputs = trainer.model(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
compute_losses(outputs, batch)["total"].backward()
gradients = {name: value.grad for name, value in trainer.network.named_parameters()}
torch.save(gradients, f"{sys.argv[1]}/{distributed.world_size()}_{distributed.rank()}.pt")
"""


def test_two_processes_have_the_gradients_of_one_batch_of_two(quick_python, flags, tmp_path):
    """With BatchNorm frozen, to rounding, and both processes the same."""
    program = tmp_path / "gradients.py"
    write_bytes(program, GRADIENTS)
    for rank in run_ranks(quick_python, program, tmp_path, *flags):
        succeed(rank)
    succeed(end_process(start_process(quick_python, program, tmp_path, *flags, "--batch_size", 2)))
    expected, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    for name, gradient in expected.items():
        assert torch.equal(first[name], second[name])
        assert (first[name] - gradient).norm() <= 2e-5 * gradient.norm() + 1e-9, name


# ---------------------------------------------------------------- a sample that is not finite


@pytest.fixture
def poisoned(data, tmp_path) -> Path:
    """Labels of which one view's deviations are not numbers."""
    labels = Path(shutil.copytree(data / "labels", tmp_path / "labels"))
    write_pfm(labels / "scan1" / "fused_sigma" / "00000002.pfm", np.full((32, 64), np.nan, np.float32))
    return labels


def test_a_poisoned_sample_is_skipped_by_all(quick_python, flags, poisoned, tmp_path):
    """In each of two epochs one of two steps: its process names it with every term; the weights stay sound."""
    student = ("train_kd.py", *flags, "--pseudopath", poisoned, "--epochs", 2)
    outputs = [succeed(rank) for rank in run_ranks(quick_python, *student)]
    skipped = [line for out in outputs for line in out.splitlines() if line.endswith("; skipped")]
    named = [line for line in skipped if "not finite; here scan1 view 2: total nan, kl nan, approx_kl " in line]
    others = [line for line in skipped if "not finite on another process; here scan1 view " in line]
    assert len(named) == len(others) == 2 and len(skipped) == 4
    content = last_checkpoint(tmp_path / "log")
    assert content["bad_steps"][1] == 2 and content["step"] == 4
    assert all(value.isfinite().all() for value in content["model"].values())
    (events,) = (tmp_path / "log").glob("events*")
    assert events.read_bytes().count(b"train/bad_steps") == 2


def test_too_many_in_a_row_end_all(quick_python, flags, poisoned):
    """Every process ends with the account, and with the same step."""
    student = ("train_kd.py", *flags, "--pseudopath", poisoned, "--epochs", 2, "--max_bad_steps", 1)
    results = run_ranks(quick_python, *student)
    assert [result.returncode for result in results] == [1, 1]
    steps = {result.stderr.split(":")[1] for result in results}
    assert len(steps) == 1 and all("1 steps in a row: lower --lr" in result.stderr for result in results)
    assert any("here scan1 view 2: total nan" in result.stderr for result in results)


# ---------------------------------------------------------------- a process that dies


def test_the_others_end_when_one_dies(quick_python, flags, tmp_path):
    """With an error in one line, soon; and one process can go on from the last checkpoint."""
    endless = ("train_unsup.py", *flags, "--epochs", 1000, "--save_steps", 1)
    first, second = start_ranks(quick_python, 2, *endless)
    wait_until(lambda: list((tmp_path / "log").glob("*.ckpt")), first, second)
    os.killpg(second.pid, signal.SIGKILL)
    end_process(second)
    result = end_process(first)
    assert result.returncode == 1 and result.stderr.startswith("error: another process of this run has ended")
    assert len(result.stderr.splitlines()) == 1
    step = last_checkpoint(tmp_path / "log")["step"]
    go_on = ("train_unsup.py", *flags, "--epochs", 1000, "--resume", "--max_steps", step + 1)
    succeed(end_process(start_process(quick_python, *go_on)))
    assert last_checkpoint(tmp_path / "log")["step"] == step + 1


def test_labels_lose_nothing_when_one_dies(quick_python, data, tmp_path):
    """A rerun makes what is missing, leaves what is finished, and the labels are those of one process."""
    predictions = data / "predictions"
    for view in range(VIEWS):
        depth = read_pfm(data / "labels" / "scan1" / "checked_depth" / f"{view:08d}.pfm")
        write_pfm(predictions / "scan1" / "depth_est" / f"{view:08d}.pfm", depth)
        write_pfm(predictions / "scan1" / "confidence" / f"{view:08d}.pfm", np.ones_like(depth))
        camera = data / "Cameras" / "train" / f"{view:08d}_cam.txt"
        write_bytes(predictions / "scan1" / "cams" / camera.name, camera.read_bytes())
    flags = ("--testpath", predictions, "--pairpath", data, "--thres_view", 1)
    label = ("tools/check_and_encode.py", *flags, "--outdir")
    succeed(end_process(start_process(quick_python, *label, tmp_path / "one")))

    out = tmp_path / "two"
    third = out / "scan1" / "checked_depth" / ".00000003"  # as its temporary file begins
    ranks = start_ranks(quick_python, 2, *label, out, KILL_FOLDER=third, KILL_AT=1)
    results = [end_process(rank) for rank in ranks]
    assert sorted(result.returncode for result in results) == [-signal.SIGKILL, 1]
    assert "another process of this run has ended" in "".join(result.stderr for result in results)
    finished = change_times(out, "checked_depth/*.pfm")
    assert 0 < len(finished) < VIEWS
    for rank in run_ranks(quick_python, *label, out):
        succeed(rank)
    assert finished.items() <= change_times(out, "checked_depth/*.pfm").items()
    for path in (tmp_path / "one").rglob("*.pfm"):
        assert (out / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()


# ---------------------------------------------------------------- signals


def test_a_signal_to_one_process_stops_all_after_the_same_step(quick_python, flags, tmp_path):
    """All end with its status; what they saved goes on to the weights of a training that was never stopped."""
    training = ("train_unsup.py", *flags, "--epochs", 4)
    for rank in run_ranks(quick_python, *training[:-4], "--logdir", tmp_path / "whole", "--nviews", 3, "--epochs", 4):
        succeed(rank)
    ranks = start_ranks(quick_python, 2, *training, "--save_steps", 1)
    wait_until(lambda: list((tmp_path / "log").glob("*.ckpt")), *ranks)
    ranks[1].send_signal(signal.SIGTERM)
    results = [end_process(rank) for rank in ranks]
    assert [result.returncode for result in results] == [143, 143]
    assert all(result.stderr == "stopped by SIGTERM\n" for result in results)
    step = last_checkpoint(tmp_path / "log")["step"]
    assert f"saved after step {step};" in results[0].stdout and step < 8
    for rank in run_ranks(quick_python, *training, "--resume"):
        succeed(rank)
    whole, resumed = (last_checkpoint(tmp_path / name)["model"] for name in ("whole", "log"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.fixture(scope="session")
def whole(quick_python, data, tmp_path_factory) -> tuple[list, dict[str, bytes], float]:
    """A training by two processes with loading workers, a score and an evaluation after each of 2 epochs: its command
    line without the folder, its results, and the seconds it takes."""
    log = tmp_path_factory.mktemp("whole")
    paths = ("--trainpath", data, "--trainlist", "all", "--testlist", "all", "--select", "--select_thres_view", 1)
    flags = ("--nviews", 3, "--epochs", 2, "--augment", "--summary_freq", 1, *FAST, "--num_workers", 1)
    training = ["train_unsup.py", *paths, *flags, "--logdir"]
    started = time.monotonic()
    for rank in run_ranks(quick_python, *training, log):
        succeed(rank)
    return training, results(log), time.monotonic() - started


def results(log: Path) -> dict[str, object]:
    """The checkpoints of a training and the losses that it logged."""
    losses = {name: table.tolist() for name, table in read_scalars(log).items() if name.startswith("train/")}
    return {"losses": losses, **{path.name: path.read_bytes() for path in log.glob("*.ckpt")}}


def processes(rank: subprocess.Popen) -> list[int]:
    """The process that runs a rank's program in the place of quick_python's client, and its loading workers."""
    parents, groups = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, parent, group = stat.read_text().rpartition(")")[2].split()[:3]
            parents[int(stat.parent.name)], groups[int(stat.parent.name)] = int(parent), int(group)
    members = {pid for pid, group in groups.items() if group == rank.pid}
    programs = [pid for pid in members - {rank.pid} if parents[pid] not in members]
    return [*programs, *(pid for pid in groups if parents[pid] in programs)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes by Linux's /proc")
@pytest.mark.parametrize("moment", range(SIGNAL_MOMENTS))
def test_a_signal_at_any_moment_loses_nothing(quick_python, whole, tmp_path, moment):
    """SIGTERM to both processes and to their loading workers, in any order and also while they start: both end soon,
    every step that was made is saved, and it goes on to the very files of a training that was never stopped.

    SIGNAL_MOMENTS=20 tries 20 moments.
    """
    training, expected, duration = whole
    random, log = np.random.default_rng(moment), tmp_path / "log"
    ranks = start_ranks(quick_python, 2, *training, log)
    wait_until(lambda: all(map(processes, ranks)))
    time.sleep(random.uniform(0, duration))
    for pid in random.permutation([pid for rank in ranks for pid in processes(rank)]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        time.sleep(random.choice([0, 0, 0.02, 0.2]))
    outcomes = [rank.communicate(timeout=60) for rank in ranks]
    made = read_scalars(log)["train/total"][-1, 0] if log.exists() and "train/total" in read_scalars(log) else 0
    saved = last_checkpoint(log)["step"] if list(log.glob("model_[0-9]*.ckpt")) else 0
    print(f"ended with {[rank.returncode for rank in ranks]}, {made} steps made, {saved} saved: {outcomes}")
    assert made == saved
    for rank in run_ranks(quick_python, *training, log, "--resume"):
        succeed(rank)
    assert results(log) == expected


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes by Linux's /proc")
def test_a_lost_worker_loses_nothing(quick_python, whole, tmp_path):
    """A loading worker is killed, as for lack of memory: all save and end with a line, and soon."""
    training, expected, _ = whole
    log = tmp_path / "log"
    ranks = start_ranks(quick_python, 2, *training, log)
    wait_until(lambda: len(processes(ranks[1])) > 1)
    os.kill(processes(ranks[1])[1], signal.SIGKILL)
    ended = [end_process(rank) for rank in ranks]
    assert [result.returncode for result in ended] == [1, 1]
    assert ended[0].stderr == "error: another process of this run cannot load its samples; see its message\n"
    assert ended[1].stderr.startswith("error: a process that loads samples has ended, most often for lack of memory")
    assert "saved after step" in ended[0].stdout
    for rank in run_ranks(quick_python, *training, log, "--resume"):
        succeed(rank)
    assert results(log) == expected


@pytest.mark.slow
def test_torchrun_hands_a_signal_on(flags, tmp_path):
    """SIGTERM to torchrun: the training saves before its processes end."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2)
    process = start_process(*torchrun, "train_unsup.py", *flags, "--epochs", 1000, "--save_steps", 1)
    wait_until(lambda: list((tmp_path / "log").glob("*.ckpt")), process)
    process.send_signal(signal.SIGTERM)
    result = end_process(process)
    assert result.returncode != 0 and "saved after step" in result.stdout
    assert result.stderr.count("stopped by SIGTERM") == 2
    assert last_checkpoint(tmp_path / "log")["step"] > 0
