"""Exact resuming: same weights to the last bit, the rest of the epoch only, and the right checkpoints on the disk."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FAST, error_line, run_program, succeed

from datasets.mvs import MVSDataset
from datasets.synthetic.scans import write_training_layout
from tools.training.resume import CheckpointFolder, TrainingSampler, random_state, set_random_state

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def flags(tmp_path_factory) -> list[object]:
    """Flags of a training of 2 epochs of 4 steps on views of 64x32, with random colours."""
    root = tmp_path_factory.mktemp("resume")
    write_training_layout(root, {"scan1": 1}, 64, 32, 4, lights=(3,))
    paths = ("--trainpath", root, "--trainlist", "all")
    return ["train_unsup.py", *paths, "--nviews", 3, "--epochs", 2, "--augment", *FAST]


@pytest.fixture(scope="module")
def whole(flags, tmp_path_factory) -> Path:
    """Log folder of the training from the first step to the last."""
    log = tmp_path_factory.mktemp("whole")
    succeed(run_program(*flags, "--logdir", log))
    return log


def names(folder: Path) -> list[str]:
    """The checkpoints in a folder."""
    return sorted(path.name for path in folder.glob("*.ckpt"))


# ---------------------------------------------------------------- whole trainings


@pytest.mark.parametrize("stops", [(4,), (1, 6)])
def test_stopping_leaves_no_trace(flags, whole, tmp_path, stops):
    """Stopped inside an epoch or between two and resumed: the very bytes of every epoch's checkpoint."""
    for steps in stops:
        succeed(run_program(*flags, "--logdir", tmp_path, "--resume", "--max_steps", steps))
        assert torch.load(tmp_path / names(tmp_path)[-1], weights_only=True)["step"] == steps
    succeed(run_program(*flags, "--logdir", tmp_path, "--resume"))
    assert names(tmp_path) == names(whole) == ["model_000000.ckpt", "model_000001.ckpt"]
    for name in names(whole):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--lr", 0.01), "lr 0.001 (now 0.01)"),
        (
            ("--loss", "per_pixel", "--read_out", "median"),
            "read_out None (now median), loss official (now per_pixel)",
        ),
        (("--loadckpt", "start.ckpt"), "loadckpt None (now start.ckpt)"),
    ],
)
def test_other_settings_do_not_go_on(flags, whole, changed, told):
    """A training, finished or not, is not handed over as one of other settings, and its record stays."""
    files = {path.name: path.read_bytes() for path in whole.iterdir() if path.is_file()}
    line = error_line(run_program(*flags, "--logdir", whole, "--resume", *changed))
    assert line == f"error: {whole}: was trained with {told}; use a new --logdir, or remove the old checkpoints"
    assert files == {path.name: path.read_bytes() for path in whole.iterdir() if path.is_file()}


def test_workers_change_nothing(flags, whole, tmp_path):
    """Random colours belong to the sample, whichever process draws them: also with workers, also resumed."""
    succeed(run_program(*flags, "--logdir", tmp_path, "--num_workers", 2, "--max_steps", 5))
    succeed(run_program(*flags, "--logdir", tmp_path, "--num_workers", 1, "--resume"))
    weights = [torch.load(log / names(whole)[-1], weights_only=True)["model"] for log in (whole, tmp_path)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_finished_samples_are_not_loaded(flags, tmp_path, monkeypatch):
    """After 3 of 4 steps the rest of the epoch loads one sample."""
    loaded = []
    original = MVSDataset.__getitem__
    monkeypatch.setattr(MVSDataset, "__getitem__", lambda self, index: loaded.append(index) or original(self, index))
    succeed(run_program(*flags, "--logdir", tmp_path, "--max_steps", 3))
    succeed(run_program(*flags, "--logdir", tmp_path, "--max_steps", 4, "--resume"))
    assert sorted(loaded) == [0, 1, 2, 3]


def test_official_checkpoints_end_their_epoch(flags, whole, tmp_path):
    """What holds no more than epoch, model and optimizer is resumed with the next epoch."""
    content = torch.load(whole / "model_000000.ckpt", weights_only=True)
    for group in content["optimizer"]["param_groups"]:
        del group["fused"]
    torch.save({key: content[key] for key in ("epoch", "model", "optimizer")}, tmp_path / "model_000000.ckpt")
    succeed(run_program(*flags, "--logdir", tmp_path, "--resume"))
    assert names(tmp_path) == names(whole)
    weights = [torch.load(log / "model_000001.ckpt", weights_only=True)["model"] for log in (whole, tmp_path)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_save_steps_leave_only_finished_epochs(flags, tmp_path):
    """Checkpoints inside an epoch replace each other, and go when a later epoch is saved."""
    succeed(run_program(*flags, "--logdir", tmp_path, "--save_steps", 1, "--save_freq", 2, "--max_steps", 3))
    assert names(tmp_path) == ["model_000000.ckpt"]
    succeed(run_program(*flags, "--logdir", tmp_path, "--save_steps", 3, "--save_freq", 2, "--resume"))
    assert names(tmp_path) == ["model_000001.ckpt"]


def test_keep(flags, whole, tmp_path):
    """--keep 1 leaves the newest, and resuming works with it."""
    succeed(run_program(*flags, "--logdir", tmp_path, "--keep", 1, "--max_steps", 3))
    assert names(tmp_path) == ["model_000000.ckpt"]
    succeed(run_program(*flags, "--logdir", tmp_path, "--keep", 1, "--resume"))
    assert names(tmp_path) == ["model_000001.ckpt"]
    assert (tmp_path / "model_000001.ckpt").read_bytes() == (whole / "model_000001.ckpt").read_bytes()


def test_the_network_is_remembered(flags, whole, tmp_path):
    """Resumed without the flags of its network, a training goes on with the network that its checkpoint tells of."""
    shutil.copy(whole / "model_000000.ckpt", tmp_path)
    assert flags[-2] == "--ndepths"
    succeed(run_program(*flags[:-2], "--logdir", tmp_path, "--resume"))
    assert (tmp_path / "model_000001.ckpt").read_bytes() == (whole / "model_000001.ckpt").read_bytes()


def test_stopping_leaves_no_trace_in_the_metrics(flags, tmp_path):
    """Killed after a step that no checkpoint holds: its line is dropped and written anew, every other one stays."""
    often = ("--summary_freq", 1, "--save_steps", 2)
    succeed(run_program(*flags, *often, "--logdir", tmp_path / "whole"))
    log = tmp_path / "log"
    succeed(run_program(*flags, *often, "--logdir", log, "--max_steps", 5))
    lines = (log / "metrics.jsonl").read_bytes()
    succeed(run_program(*flags, *often, "--logdir", log, "--max_steps", 4))  # anew, which drops all lines
    (log / "metrics.jsonl").write_bytes(lines + b'{"step": 6, "train/to')
    succeed(run_program(*flags, *often, "--logdir", log, "--resume"))
    expected = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (log / "metrics.jsonl").read_bytes() == expected and expected.count(b"\n") == 8


def test_forgotten_halves_are_no_checkpoints(flags, whole, tmp_path):
    """What a killed process left under a temporary name is neither resumed from nor left for good."""
    shutil.copy(whole / "model_000000.ckpt", tmp_path)
    (tmp_path / ".model_000001.ckpt.abc.tmp").write_bytes(b"half")
    out = succeed(run_program(*flags, "--logdir", tmp_path, "--resume"))
    assert f"resumed from {tmp_path / 'model_000000.ckpt'}" in out
    assert not list(tmp_path.glob(".*"))


# ---------------------------------------------------------------- the parts


def test_keep_removes_older_names_only(tmp_path):
    """Neither the file just written, nor names after it, nor files of other kinds."""
    folder = CheckpointFolder(tmp_path, keep=2)
    (tmp_path / "model_000009.ckpt").touch()
    (tmp_path / "best.ckpt").touch()
    for epoch in range(4):
        folder.write(epoch, True, b"content")
    assert names(tmp_path) == ["best.ckpt", "model_000002.ckpt", "model_000003.ckpt", "model_000009.ckpt"]


@pytest.mark.parametrize("world", [1, 2])
def test_sampler_skips_what_is_finished(monkeypatch, world):
    """The rest of an epoch is the end of the whole epoch's order, for every process; each epoch has its own."""
    monkeypatch.setenv("WORLD_SIZE", str(world))
    orders = []
    for rank in range(world):
        monkeypatch.setenv("RANK", str(rank))
        sampler = TrainingSampler(range(10), seed=1)
        sampler.start(epoch=3, finished=0)
        order = list(sampler)
        sampler.start(epoch=3, finished=4)
        assert list(sampler) == order[4 // world :] and len(sampler) == 10 // world
        sampler.start(epoch=4, finished=0)
        assert [index for index, _ in sampler] != [index for index, _ in order]
        orders += order
    assert sorted(index for index, _ in orders) == list(range(10))
    assert len({seed for _, seed in orders}) == 10


@pytest.mark.parametrize("world", [1, 2, 3])
def test_batches_of_one_kind(monkeypatch, world):
    """Every sample comes up, in batches of samples that go together; of an epoch that is begun again the end."""
    kinds = ["small"] * 9 + ["large"] * 4 + ["upright"]
    monkeypatch.setenv("WORLD_SIZE", str(world))
    seen, lengths = [], set()
    for rank in range(world):
        monkeypatch.setenv("RANK", str(rank))
        sampler = TrainingSampler(range(14), 1, 4, kinds)
        sampler.start(epoch=2, finished=0)
        order = list(sampler)
        batches = [order[first : first + 4] for first in range(0, len(order), 4)]
        assert all(len(batch) == 4 and len({kinds[index] for index, _ in batch}) == 1 for batch in batches)
        sampler.start(epoch=2, finished=4 * world)
        assert list(sampler) == order[4:]
        sampler.start(epoch=3, finished=0)
        assert list(sampler) != order
        seen += [index for index, _ in order]
        lengths |= {len(order), len(sampler)}
        assert sampler.total_size == world * len(order)
    assert set(seen) == set(range(14)) and len(lengths) == 1


def test_samples_of_one_kind_stay_in_their_order(monkeypatch):
    """As they were before batches had kinds, so that a training begun then goes on alike."""
    plain, alike = TrainingSampler(range(10), 1), TrainingSampler(range(10), 1, 4, ["alike"] * 10)
    assert list(plain) == list(alike) and len(plain) == len(alike) == 10


def test_random_states_come_back(tmp_path):
    """Through a checkpoint's safe loading: the numbers that follow are the same."""

    def draw() -> tuple:
        return (
            torch.rand(3).tolist(),
            np.random.rand(3).tolist(),
            np.random.randn(),
            random.random(),
            random.gauss(0, 1),
        )

    draw()  # both normal generators hold a number back now
    torch.save(random_state(CPU), tmp_path / "state")
    expected = draw()
    set_random_state(torch.load(tmp_path / "state", weights_only=True), CPU)
    assert draw() == expected
