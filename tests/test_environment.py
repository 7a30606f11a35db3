"""Programs where little can be taken for granted: odd paths, read-only folders, no home, no locale, other Pythons."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import FAST, PATIENCE, ROOT, end_process, run_program, start_process, succeed
from small_runs import command, driver_settings, result

from datasets.synthetic.scans import write_scan_list

ODD_NAME = "Größe [1] & 日本's $HOME"
# What whoever runs the tests may have told the libraries about the processor: other instructions round differently.
ROUNDING = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def sources() -> list[Path]:
    """All Python files of the checkout."""
    folders = ("datasets", "fusion", "models", "tools", "tests")
    return [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]


# ---------------------------------------------------------------- paths


@pytest.fixture
def odd_data(small_data, tmp_path) -> Path:
    """The small data under a name that shells, patterns and encodings stumble over; the scan's is one, too."""
    data = Path(shutil.copytree(small_data, tmp_path / ODD_NAME / "my data"))
    (data / "test" / "garden").rename(data / "test" / ODD_NAME)
    write_scan_list(data / "test list.txt", [ODD_NAME])
    return data


def test_drivers_take_any_path(quick_python, odd_data, tmp_path):
    """Data, lists, checkpoints, outputs and programs: every setting that is a path."""
    out = tmp_path / ODD_NAME / "my results"
    short = ("--max_steps", 2, "--num_workers", 0)

    def drive(name: str, *flags: object, **settings: object) -> subprocess.CompletedProcess:
        common = driver_settings(quick_python, odd_data, out / "kd")
        return end_process(start_process("bash", f"scripts/{name}", *flags, **(common | settings)))

    succeed(drive("run_train_unsup.sh", *short, LOG_DIR=out / "teacher"))
    teacher = out / "teacher" / "model_000000.ckpt"
    succeed(drive("run_train_kd.sh", *short, CKPT_FILE=teacher, CHECKED_DEPTH_DIR=out / "labels and more"))
    student = out / "kd" / "round_1" / "student" / "model_000000.ckpt"
    test = {"TESTPATH": odd_data / "test", "TEST_LIST": odd_data / "test list.txt", "OUTDIR": out / "test"}
    test |= {"CKPT_FILE": student, "DISP_THRESHOLD": 2}
    assert f"clouds: {out / 'test' / 'gipuma_pcd'}" in succeed(drive("run_test_dtu.sh", **test))
    assert (out / "test" / "gipuma_pcd" / f"{ODD_NAME}.ply").exists()

    fusibile = tmp_path / ODD_NAME / "my fusibile"
    fusibile.write_text('#!/bin/sh\necho "looked into $2" >&2\nexit 3\n')
    fusibile.chmod(0o755)
    failed = drive("run_test_dtu.sh", "--skip_depth", **test, FUSIBILE_EXE=fusibile)
    assert failed.returncode == 1 and str(fusibile) in failed.stderr and f"looked into {out / 'test'}" in failed.stderr


# ---------------------------------------------------------------- a hostile machine


def set_writable(folder: Path, writable: bool) -> None:
    """Let the owner write a folder with all it holds, or nobody."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200 if writable else path.stat().st_mode & ~0o222)


@pytest.fixture
def read_only(small_data, tmp_path) -> Iterator[Path]:
    """The code and the small data under an odd name, where nothing may be written."""
    folder = tmp_path / ODD_NAME
    unneeded = shutil.ignore_patterns(".*", "__pycache__", "outputs", "tests", "docs")
    shutil.copytree(ROOT, folder / "code", ignore=unneeded)
    shutil.copytree(small_data, folder / "data")
    set_writable(folder, False)
    yield folder
    set_writable(folder, True)


def unprivileged() -> list[str]:
    """What to put before a command so that it may write only where the owner may: root's rights have to go."""
    return [] if os.geteuid() != 0 else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test.py", "train_unsup.py"])
def test_a_hostile_machine_changes_nothing(quick_python, small_data, read_only, tmp_path, name):
    """Code, data and home are read-only, so no compiled code can be kept; LC_ALL=C; stdin is closed; odd paths.

    A data-loading worker too starts there. The files are those of a run under good conditions, byte by byte.
    """
    probe = [*unprivileged(), "sh", "-c", 'test ! -w "$0"', read_only / "code"]
    if shutil.which(probe[0]) is None or subprocess.run(probe).returncode != 0:
        pytest.skip("this user may write to read-only folders")
    workers = ("--epochs", 1, "--num_workers", 1) if name == "train_unsup.py" else ()
    succeed(end_process(start_process(quick_python, *command(name, small_data, tmp_path / "good"), *workers)))
    environment = {"PATH": os.environ["PATH"], "HOME": str(read_only), "LC_ALL": "C"}
    environment |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    environment |= {name: os.environ[name] for name in ROUNDING if name in os.environ}
    out = tmp_path / "Ergebnisse für später"
    line = [*unprivileged(), sys.executable, *command(name, read_only / "data", out), *workers]
    bad = subprocess.run(
        ["bash", "-c", 'exec "$@" <&-', "bash", *map(str, line)],
        cwd=read_only / "code",
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert succeed(bad) and bad.stderr == ""
    assert result(out) == result(tmp_path / "good")


def test_training_needs_no_tensorboard(small_data, tmp_path, monkeypatch):
    """Event files are written without it; looking at them later is what it is for."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    flags = ("--trainpath", small_data / "training", "--trainlist", "all", "--nviews", 3, *FAST, "--max_steps", 1)
    succeed(run_program("train_unsup.py", *flags, "--logdir", tmp_path))
    assert list(tmp_path.glob("events*"))


# ---------------------------------------------------------------- Python versions


def test_the_oldest_grammar():
    """Every file parses as Python 3.10, as far as a newer Python can tell."""
    for path in sources():
        ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 10))


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_compiles_every_file(version):
    """As far as the interpreters are on the PATH."""
    script = "import sys; [compile(open(path, encoding='utf-8').read(), path, 'exec') for path in sys.argv[1:]]"
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode != 0:
        pytest.skip(f"python{version} is not on the PATH")
    compiled = subprocess.run([python, "-W", "error", "-c", script, *sources()], capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
