"""The label program: the official labels, reruns, torchrun, and mistakes that end in one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import PATIENCE

from datasets.formats.images import read_image
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.io import write_pairs
from fusion.labels import few_labels
from tools import check_and_encode
from tools.runtime.program import run_program

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "labels"


@pytest.fixture
def predictions(tmp_path) -> Path:
    """A copy of the golden predictions of six views of scan1."""
    shutil.copytree(GOLDEN / "est", tmp_path / "est")
    return tmp_path / "est"


@pytest.fixture
def labels(predictions, monkeypatch, capsys):
    """A function that runs the program in this process and returns the last line it prints."""

    def run(*flags: str, pairpath: Path = GOLDEN / "data") -> str:
        paths = ["--testpath", predictions, "--pairpath", pairpath, "--outdir", predictions.parent / "labels"]
        monkeypatch.setattr(sys, "argv", ["check_and_encode", *map(str, paths), "--thres_view", "3", *flags])
        check_and_encode.main()
        return capsys.readouterr().out.splitlines()[-1]

    run.folder = predictions.parent / "labels" / "scan1"
    return run


def depth_times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "checked_depth").glob("*.pfm")}


@pytest.mark.parametrize("view", [0, 2])
def test_equals_the_official_labels(labels, view):
    labels()
    name = f"{view:08d}"
    expected = np.load(GOLDEN / f"expected_{name}.npz")
    for kind in ("photo", "geo", "final"):
        mask = read_image(labels.folder / "mask" / f"{name}_{kind}.png")[..., 0]
        assert set(np.unique(mask)) <= {0, 255}
        assert ((mask > 0) == expected[kind]).mean() >= 0.999
    for key, kind in (("mu", "checked_depth"), ("sigma", "fused_sigma")):
        values = read_pfm(labels.folder / kind / f"{name}.pfm")
        assert (np.abs(values - expected[key]) < 1e-3).mean() >= 0.999
        assert (values[~expected["final"]] == 0).all()
        assert read_image(labels.folder / kind / f"{name}.png").shape == (*values.shape, 3)


def test_prints_the_kept_share_of_all_views_also_on_a_rerun(labels):
    line = labels()
    shares = [(read_pfm(path) > 0).mean() for path in (labels.folder / "checked_depth").glob("*.pfm")]
    assert len(shares) == 6
    assert line.startswith(f"kept {np.mean(shares):.2%} of the pixels, mean over 6 views")
    assert labels() == line


def test_rerun_makes_only_what_is_missing(labels):
    labels()
    before = depth_times(labels.folder)
    (labels.folder / "checked_depth" / "00000003.pfm").unlink()
    labels()
    after = depth_times(labels.folder)
    assert {name for name in before if before[name] != after[name]} == {"00000003.pfm"}


@pytest.mark.parametrize("flags", [("--conf", "0.5"), ("--depth_diff", "0.01"), ("--check", "dynamic")])
def test_other_settings_start_anew(labels, flags):
    labels()
    before = depth_times(labels.folder)
    labels(*flags)
    after = depth_times(labels.folder)
    assert before.keys() == after.keys() and all(before[name] != after[name] for name in before)


def test_other_predictions_start_anew(labels, predictions):
    record = predictions / "scan1" / "prediction.json"
    record.write_text(json.dumps({"checkpoint": "round 0"}))
    labels()
    before = depth_times(labels.folder)
    labels()
    assert depth_times(labels.folder) == before
    record.write_text(json.dumps({"checkpoint": "round 1"}))
    labels()
    assert all(before[name] != time for name, time in depth_times(labels.folder).items())


def test_stricter_settings_keep_less(labels):
    def share(*flags: str) -> float:
        return float(labels(*flags).split()[1].rstrip("%"))

    default = share()
    assert share("--thres_view", "4") < default
    assert share("--reproject_dist", "0.2") < default
    assert share("--conf", "0.9") < default
    assert share("--conf", "1") == 0


def test_warns_of_labels_that_teach_nothing(labels, capsys):
    """Where no pixel is kept, and not where many are."""
    labels()
    check_and_encode.main()  # a rerun, whose messages are looked at
    assert capsys.readouterr().err == ""
    labels("--conf", "1")
    check_and_encode.main()
    assert "learns nothing" in capsys.readouterr().err


def test_few_labels_are_told():
    """Below a twentieth of the pixels, with the share and what to do."""
    assert few_labels(0.05) == "" and "learns nothing" in few_labels(0)
    assert few_labels(0.02).startswith("only 2.00% of the pixels are labelled") and "--thres_view" in few_labels(0.02)


def test_finds_the_pair_file_of_every_layout(labels, tmp_path):
    pair = GOLDEN / "data" / "Cameras" / "pair.txt"
    line = labels(pairpath=pair)
    for place in ("test/scan1", "blended/scan1/cams"):
        (tmp_path / place).mkdir(parents=True)
        shutil.copy(pair, tmp_path / place / "pair.txt")
        assert labels(pairpath=tmp_path / place.split("/")[0]) == line


def run_as_user(*flags: object, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """Run the program in a process of its own."""
    command = [sys.executable, *launcher, "-m", "tools.check_and_encode", *map(str, flags)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=PATIENCE)


def missing_prediction(predictions: Path, pairs: Path) -> str:
    (predictions / "scan1" / "depth_est" / "00000004.pfm").unlink()
    return "pair.txt: view 0 needs view 4, but "


def unknown_view_in_pairs(predictions: Path, pairs: Path) -> str:
    write_pairs(pairs, [(0, [(1, 1.0), (77, 0.5)]), (1, [(0, 1.0)])])
    return "pair.txt: view 0 needs view 77, but "


def truncated_depth(predictions: Path, pairs: Path) -> str:
    depth = predictions / "scan1" / "depth_est" / "00000001.pfm"
    depth.write_bytes(depth.read_bytes()[:-100])
    return "depth_est/00000001.pfm: holds "


def confidence_of_another_size(predictions: Path, pairs: Path) -> str:
    write_pfm(predictions / "scan1" / "confidence" / "00000000.pfm", np.ones((48, 64), np.float32))
    return "confidence/00000000.pfm: is 64x48, but "


def missing_pairs(predictions: Path, pairs: Path) -> str:
    pairs.unlink()
    return "pair.txt: is no pair file and holds none"


def no_predictions(predictions: Path, pairs: Path) -> str:
    shutil.rmtree(predictions / "scan1")
    return "est: has no folder with predictions"


MISTAKES = (
    missing_prediction,
    unknown_view_in_pairs,
    truncated_depth,
    confidence_of_another_size,
    missing_pairs,
    no_predictions,
)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line(predictions, tmp_path, capfd, monkeypatch, mistake):
    pairs = tmp_path / "pair.txt"
    shutil.copy(GOLDEN / "data" / "Cameras" / "pair.txt", pairs)
    message = mistake(predictions, pairs)
    flags = ["--testpath", predictions, "--pairpath", pairs, "--outdir", tmp_path / "labels"]
    monkeypatch.setattr(sys, "argv", ["check_and_encode", *map(str, flags)])
    with pytest.raises(SystemExit) as stop:
        run_program(check_and_encode.main)
    assert stop.value.code == 1
    assert_one_line(capfd.readouterr().err, message)
    assert not list(tmp_path.glob("labels/scan1/*/*.tmp"))


def test_a_mistake_in_a_process_of_its_own(predictions, tmp_path):
    message = truncated_depth(predictions, tmp_path)
    flags = ("--testpath", predictions, "--pairpath", GOLDEN / "data", "--outdir", tmp_path / "labels")
    result = run_as_user(*flags)
    assert result.returncode == 1
    assert_one_line(result.stderr, message)


def assert_one_line(text: str, message: str) -> None:
    lines = text.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]


@pytest.mark.slow
def test_two_processes_make_the_labels_of_one(labels, predictions, tmp_path):
    line = labels()
    flags = [
        "--testpath",
        predictions,
        "--pairpath",
        GOLDEN / "data",
        "--thres_view",
        "3",
        "--outdir",
        tmp_path / "two",
    ]
    result = run_as_user(*flags, launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith(line.split(", in ")[0])
    for path in labels.folder.glob("*/*"):
        assert (tmp_path / "two" / "scan1" / path.parent.name / path.name).read_bytes() == path.read_bytes()


def test_help_shows_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        check_and_encode.parse(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("--reproject_dist", "in pixels (default: 1.0)", "(default: 0.005)", "(default: normal)"):
        assert part in text
