"""Rounds of distillation: step by step as all at once, and a line for what cannot be."""

from pathlib import Path

import pytest
from helpers import error_line, run_program, succeed, write_checkpoint

from datasets.synthetic.scans import write_training_layout
from models.checkpoint import load_model
from tools.prediction.settings import LabelSettings
from tools.training.round_settings import STEPS, DistillationSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """One scan in DTU's training layout, and a teacher."""
    root = tmp_path_factory.mktemp("rounds")
    write_training_layout(root / "dtu", {"scan1": 1}, 64, 32, 3, lights=(6,))
    write_checkpoint(root / "teacher.ckpt", "teacher")
    return root


def distil(data: Path, outdir: Path, *flags: object):
    """Run tools/distil.py with two steps a student."""
    paths = ("--teacher", data / "teacher.ckpt", "--trainpath", data / "dtu", "--trainlist", "all", "--logdir", outdir)
    short = ("--epochs", 1, "--max_steps", 2, "--device", "cpu", "--num_workers", 0, "--nviews", 3)
    return run_program("tools/distil.py", *paths, *short, "--thres_view", "1,0", "--conf", 0, *flags)


def made(folder: Path) -> dict[str, bytes]:
    """Labels and students."""
    paths = [*folder.rglob("*.pfm"), *folder.rglob("*.ckpt")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_steps_make_what_all_rounds_make(data, tmp_path):
    """The very bytes; so several GPUs, where every step is a run of its own, are told the same as one process."""
    out = succeed(distil(data, tmp_path / "whole"))
    assert out.count("== round ") == 2 and "== round 2 of 2, teacher " in out
    printed = ""
    for number in (1, 2):
        for step in STEPS:
            printed += succeed(distil(data, tmp_path / "steps", "--round", number, "--step", step))
    assert made(tmp_path / "steps") == made(tmp_path / "whole")
    student = tmp_path / "steps" / "round_2" / "student" / "model_000000.ckpt"
    assert printed.endswith(f"student: {student}\n") and load_model(student).kind == "student"


def test_mistakes_are_one_line(data, tmp_path, monkeypatch):
    """Before any work: what does not go together, and a step that comes too early."""
    assert "--round and --step must be given together" in error_line(distil(data, tmp_path / "out", "--round", 1))
    assert "--mode test: rounds are trained" in error_line(distil(data, tmp_path / "out", "--mode", "test"))
    line = error_line(distil(data, tmp_path / "out", "--round", 2, "--step", "predict"))
    assert "round_1/student: holds no checkpoint; round 2 needs the student" in line
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "give --round and --step" in error_line(distil(data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_labels_by_round():
    """The last settings hold for the rounds that follow."""
    first, second = LabelSettings(thres_view=7), LabelSettings(thres_view=5)
    settings = DistillationSettings(labels=(first, second))
    assert [settings.labels_of(number) for number in (1, 2, 3)] == [first, second, second]
