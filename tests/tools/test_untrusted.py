"""Whole programs on hostile data: names that lead elsewhere, code in checkpoints. One line, and nothing is touched."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from helpers import FAST, GOLDEN, error_line, run_program, write_checkpoint

from datasets.files import write_json

CLI = GOLDEN / "cli"


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    """A student's checkpoint."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "student.ckpt")


@pytest.fixture
def places(tmp_path) -> Path:
    """inside/test, inside/train and inside/predictions to work on, and the same scans outside of them."""
    for place in ("inside", "outside"):
        shutil.copytree(CLI / "test", tmp_path / place / "test")
        shutil.copytree(CLI / "train", tmp_path / place / "train")
        shutil.copytree(GOLDEN / "labels" / "est", tmp_path / place / "predictions")
    shutil.copytree(GOLDEN / "dtu_eval", tmp_path / "inside" / "dtu")
    return tmp_path


def command(program: str, places: Path, student: Path) -> list:
    """A program with flags that work on inside/ with the scans of list.txt, and write to inside/out."""
    inside = places / "inside"
    training = ["--trainpath", inside / "train", "--logdir", inside / "out", "--trainlist", places / "list.txt", *FAST]
    predicting = ["--outdir", inside / "out", "--testlist", places / "list.txt"]
    return {
        "test.py": ["--testpath", inside / "test", "--loadckpt", student, *predicting, *FAST],
        "tools/predict.py": ["--testpath", inside / "train", "--loadckpt", student, *predicting, *FAST],
        "tools/check_and_encode.py": [
            "--testpath",
            inside / "predictions",
            "--pairpath",
            inside / "train",
            *predicting,
        ],
        "tools/eval_depth.py": [
            *("--testpath", inside / "test", "--testlist", places / "list.txt"),
            *("--predictions", inside / "predictions", "--out", inside / "out" / "errors.json"),
        ],
        "tools/eval_dtu.py": [
            *("--data_dir", inside / "dtu", "--ply_dir", inside / "dtu"),
            *("--scans", places / "list.txt", "--out", inside / "out" / "score.json"),
        ],
        "train_unsup.py": training,
        "train_kd.py": [*training, "--pseudopath", inside / "predictions"],
    }[program]


PROGRAMS = (
    "test.py",
    "tools/predict.py",
    "tools/check_and_encode.py",
    "tools/eval_depth.py",
    "tools/eval_dtu.py",
    "train_unsup.py",
    "train_kd.py",
)


def files(folder: Path) -> dict[Path, int]:
    """When each file was changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("program", PROGRAMS)
def test_scan_lists_that_lead_elsewhere(places, student, program):
    """No name of a list reaches a scan that exists outside, and a long or unprintable one is no stack trace."""
    flags = command(program, places, student)
    names = [
        "../../outside/test/scan1",
        "..",
        ".",
        f"{places}/outside/test/scan1",
        "a\\b",
        "a\0b",
        "\x1b[2J",
        "n" * 5000,
    ]
    for name in names:
        (places / "list.txt").write_text(f"scan1\n{name}\n")
        before = files(places)
        line = error_line(run_program(program, *flags))
        assert "list.txt: scan name" in line and line.isprintable() and len(line) < 400
        assert files(places) == before


@pytest.mark.parametrize("program", ["test.py", "tools/check_and_encode.py", "tools/eval_depth.py"])
def test_folders_with_names_that_cannot_be_shown(places, student, program):
    """ "all" takes the names of folders, which may be any bytes: control characters, and what is no text."""
    flags = command(program, places, student)
    flags[flags.index(places / "list.txt")] = "all"
    for name in (b"\x1b[2J", b"\xff", b"n" * 201):
        for kind, scan in (("test", "scan1"), ("predictions", "scan1")):
            folder = os.path.join(os.fsencode(places / "inside" / kind), name)
            shutil.copytree(places / "inside" / kind / scan, os.fsdecode(folder))
        line = error_line(run_program(program, *flags))
        assert "scan name" in line and line.isprintable()
        for kind in ("test", "predictions"):
            shutil.rmtree(os.path.join(os.fsencode(places / "inside" / kind), name))


@pytest.mark.parametrize("view", ["-1", "../1", "1e3", "99999999999", "9" * 5000, "\x1b"])
def test_pair_files_that_lead_elsewhere(places, student, view):
    """Views are numbers of eight digits, whatever the pair file says."""
    (places / "list.txt").write_text("scan1\n")
    (places / "inside" / "test" / "scan1" / "pair.txt").write_text(f"1\n0\n1 {view} 5.0\n")
    before = files(places)
    line = error_line(run_program("test.py", *command("test.py", places, student)))
    assert "scan1/pair.txt: " in line and line.isprintable() and len(line) < 400
    assert files(places) == before


@pytest.mark.parametrize("scans", ["9" * 5000, "1," + "9" * 300, "٣" * 300])
def test_numbers_that_are_too_long_for_a_file(places, student, scans):
    """They are taken for a list that is not there."""
    flags = command("tools/eval_dtu.py", places, student)
    flags[flags.index(places / "list.txt")] = scans
    assert error_line(run_program("tools/eval_dtu.py", *flags))


def test_scores_that_are_none(places, student):
    """A record of other content than this program's is not believed."""
    flags = command("tools/eval_dtu.py", places, student)
    flags[flags.index(places / "list.txt")] = "7"
    for name, score in (("9" * 5000, {}), ("-1", {"made_from": {}}), ("1", {"made_from": {}}), ("1", 3)):
        write_json(places / "inside" / "out" / "score.json", {"scans": {name: score}})
        assert "mvsnet007_l3.ply: no such file" in error_line(run_program("tools/eval_dtu.py", *flags))


@pytest.mark.parametrize("flag", ["--testpath", "--testlist", "--loadckpt", "--outdir", "--testpath_single_scene"])
def test_paths_that_no_file_system_takes(places, student, flag):
    """The operating system's refusal of a path is one line too."""
    (places / "list.txt").write_text("scan1\n")
    flags = command("test.py", places, student)
    assert error_line(run_program("test.py", *flags, flag, "/".join(["n" * 300] * 3)))


class Malicious:
    """Unpickling this writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("program", ["test.py", "tools/predict.py", "train_unsup.py"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint(places, tmp_path, program, zipped):
    """It is refused in one line and does not run."""
    (places / "list.txt").write_text("scan1\n")
    path, marker = tmp_path / "model.ckpt", tmp_path / "ran"
    torch.save({"epoch": 0, "model": {}, "x": Malicious(marker)}, path, _use_new_zipfile_serialization=zipped)
    line = error_line(run_program(program, *command(program, places, path), "--loadckpt", path))
    assert "model.ckpt: " in line and "not loaded for safety" in line
    assert not marker.exists()
