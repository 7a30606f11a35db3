"""The drivers in scripts/, run as a user does, on scenes small enough for a few seconds a program."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    FAST,
    GOLDEN,
    PATIENCE,
    ROOT,
    change_times,
    end_process,
    start_process,
    wait_until,
    write_checkpoint,
)

from datasets.files import read_json
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.synthetic.scans import write_test_layout, write_training_layout
from models.checkpoint import load_model


def run_driver(name: str, *flags: str, **settings: object) -> subprocess.CompletedProcess:
    """Run scripts/<name> with settings from the environment."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{key: str(value) for key, value in settings.items()}}
    command = ["bash", str(ROOT / "scripts" / name), *flags]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE)


def own_scenes(root: Path, *names: str) -> Path:
    """Scenes of 4 views as photographs give them: without ground truth."""
    write_test_layout(root, {name: seed for seed, name in enumerate(names, 1)}, width=64, height=32, views=4)
    for name in names:
        shutil.rmtree(root / name / "gt")
    return root


@pytest.mark.parametrize("driver", ["run_train_unsup.sh", "run_train_kd.sh", "run_test_dtu.sh"])
def test_a_missing_dataset_gives_one_clear_message(driver, tmp_path):
    """It names the setting and the folder, says where DTU comes from, and how to do without."""
    nowhere = tmp_path / "no such folder"
    result = run_driver(driver, DATASET_DIR=nowhere, TESTPATH=nowhere)
    assert result.returncode != 0
    (line,) = result.stderr.splitlines()
    assert str(nowhere) in line and "MVSNet" in line and "run_demo.sh" in line


def test_a_missing_checkpoint_gives_one_clear_message(tmp_path):
    """Both drivers that need a checkpoint name the file that is not there."""
    for driver in ("run_train_kd.sh", "run_test_dtu.sh"):
        result = run_driver(driver, DATASET_DIR=tmp_path, TESTPATH=tmp_path, CKPT_FILE=tmp_path / "none.ckpt")
        assert result.returncode != 0
        assert "none.ckpt" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_clouds_are_scored_where_there_is_ground_truth(tmp_path):
    """With EVAL_DIR the clouds' DTU scores are printed and written; here of clouds that are there already."""
    write_test_layout(tmp_path / "test data", {"scan1": 1}, width=64, height=64, views=4)
    (tmp_path / "list.txt").write_text("scan1\n")
    (tmp_path / "out" / "gipuma_pcd").mkdir(parents=True)
    shutil.copyfile(GOLDEN / "dtu_eval/mvsnet001_l3.ply", tmp_path / "out/gipuma_pcd/mvsnet001_l3.ply")
    settings = {"TESTPATH": tmp_path / "test data", "TEST_LIST": tmp_path / "list.txt", "OUTDIR": tmp_path / "out"}
    (tmp_path / "ground truth").symlink_to(GOLDEN / "dtu_eval")
    settings |= {"CKPT_FILE": write_checkpoint(tmp_path / "model.ckpt"), "EVAL_DIR": tmp_path / "ground truth"}
    result = run_driver("run_test_dtu.sh", "--skip_depth", "--filter_method", "none", **settings)
    assert result.returncode == 0, result.stderr
    overall = read_json(tmp_path / "out" / "dtu_score.json")["mean"]["overall"]
    assert f"{overall:.4f}" in result.stdout and overall == pytest.approx(0.759, rel=0.01)


@pytest.mark.slow
def test_a_test_says_what_it_uses_and_what_it_made(quick_python, tmp_path):
    """The weights at the start; a cloud only where one was made; that RECIPE changes nothing; the report's unit."""
    write_test_layout(tmp_path / "data", {"garden": 3}, width=64, height=32, views=3)
    out, weights = tmp_path / "out", write_checkpoint(tmp_path / "model.ckpt")
    settings = {"TESTPATH": tmp_path / "data", "TEST_LIST": "all", "OUTDIR": out, "CKPT_FILE": weights, "NUM_VIEW": 3}
    settings |= {"PYTHON_BIN": quick_python, "DISP_THRESHOLD": 2}

    def printed(**more: object) -> str:
        result = run_driver("run_test_dtu.sh", *map(str, FAST), **settings | more)
        assert result.returncode == 0, result.stderr
        return result.stdout

    first = printed(FILTER_METHOD="none", RECIPE="best")
    assert f"weights: {weights} (set in CKPT_FILE)" in first.splitlines()
    assert "note: RECIPE=best changes trainings only" in first
    assert "clouds: none made" in first and "earlier run" not in first and not (out / "gipuma_pcd").exists()
    assert f"clouds: {out / 'gipuma_pcd'}" in printed(REPORT=1, UNIT="furlongs").splitlines()
    assert "furlongs" in (out / "report" / "garden.html").read_text()
    assert "those in" in printed(FILTER_METHOD="none") and "earlier run" in printed(FILTER_METHOD="none")
    settings["CKPT_FILE"] = write_checkpoint(tmp_path / "other.ckpt", seed=2)
    assert "earlier run" not in printed(FILTER_METHOD="none") and not list((out / "gipuma_pcd").iterdir())


@pytest.mark.parametrize("driver", ["run_test_dtu.sh", "run_real_scores.sh"])
def test_the_training_layout_is_refused_where_the_tests_are(driver, tmp_path):
    """DATASET may be set for the training drivers."""
    result = run_driver(driver, DATASET="dtu_yao", TESTPATH=tmp_path, DATA_DIR=tmp_path)
    assert result.returncode == 1 and "DATASET=dtu_yao: must be general_eval, tanks or blended" in result.stderr


def test_a_given_python_is_taken_as_it_is(quick_python, tmp_path):
    """No environment is made beside it; one that is not there is named."""
    settings = {"VENV": tmp_path / "venv", "TESTPATH": tmp_path, "OUTDIR": tmp_path / "out", "CKPT_FILE": "none.ckpt"}
    result = run_driver("run_test_dtu.sh", PYTHON_BIN=quick_python, **settings)
    assert result.returncode == 1 and "none.ckpt" in result.stderr and not (tmp_path / "venv").exists()
    result = run_driver("run_test_dtu.sh", PYTHON_BIN=tmp_path / "python", **settings)
    assert result.stderr == f"error: PYTHON_BIN={tmp_path / 'python'}: no such program\n"


def test_missing_ground_truth_shows_before_the_work(tmp_path):
    """A set EVAL_DIR without DTU's folders is one clear message, not a failure after hours of prediction."""
    result = run_driver("run_test_dtu.sh", TESTPATH=tmp_path, EVAL_DIR=tmp_path / "nowhere", OUTDIR=tmp_path / "out")
    assert result.returncode != 0 and not (tmp_path / "out").exists()
    (line,) = result.stderr.splitlines()
    assert f"EVAL_DIR={tmp_path / 'nowhere'}" in line and "ObsMask" in line


def _peer(data: Path) -> Path:
    """Depth maps of another network, in a folder for each scene: exact where depth is known, else 5 everywhere."""
    folder = data.parent / "peer"
    for scene in ("garden", "house"):
        for view in range(3):
            exact = data / scene / "gt" / f"{view:08d}.pfm"
            depth = read_pfm(exact) if exact.exists() else np.full((64, 64), 5, np.float32)
            write_pfm(folder / scene / f"{view:08d}.pfm", depth)
    return folder


@pytest.mark.slow
def test_real_scores(quick_python, tmp_path):
    """One table of baseline, network and refined depth, of scenes with depth maps or points; others are left out."""
    data = tmp_path / "real data"
    write_test_layout(data, {"garden": 3, "house": 4, "unknown": 5}, width=64, height=64, views=3)
    shutil.rmtree(data / "unknown" / "gt")
    shutil.rmtree(data / "house" / "gt")
    np.savetxt(data / "house" / "sparse_points.txt", np.random.default_rng(0).uniform(-50, 50, (99, 3)))
    settings = {"DATA_DIR": data, "OUTDIR": tmp_path / "out", "PYTHON_BIN": quick_python, "NUM_VIEW": 3}
    settings |= {"CKPT_FILE": write_checkpoint(tmp_path / "model.ckpt"), "OTHERS": f"peer={_peer(data)}"}
    result = run_driver("run_real_scores.sh", *map(str, FAST), **settings)
    assert result.returncode == 0, result.stderr
    scores, labels = read_json(tmp_path / "out" / "scores.json"), ("network", "peer", "refined", "zncc")
    assert list(scores) == [f"{scene} {label}" for scene in ("garden", "house") for label in labels]
    for name, metrics in scores.items():
        assert f"\n{name} " in result.stdout and metrics["pixels"] > 0
        assert f"{metrics['median_relative']:.2%}" in result.stdout
    assert scores["garden zncc"]["within_5%"] > scores["garden network"]["within_5%"]  # whose weights are random
    assert scores["garden peer"]["within_1%"] == 1
    page = (tmp_path / "out" / "scores.html").read_text()
    assert all(word in page for word in ("garden", "house", "peer", "most confident pixels"))

    predicted = [tmp_path / "out" / label for label in ("network", "zncc")]
    files = [change_times(folder, "*.pfm") for folder in predicted]
    assert run_driver("run_real_scores.sh", *map(str, FAST), **settings, SCENES="garden").returncode == 0
    assert list(read_json(tmp_path / "out" / "scores.json")) == [f"garden {label}" for label in labels]
    assert files == [change_times(folder, "*.pfm") for folder in predicted]


@pytest.mark.slow
def test_real_scores_of_blended_scenes(quick_python, tmp_path):
    """Another layout's own depth is compared with, where DATASET names it."""
    scene = tmp_path / "data" / "church"
    write_test_layout(tmp_path / "data", {"church": 3}, width=64, height=64, views=3)
    (scene / "images").rename(scene / "blended_images")
    (scene / "gt").rename(scene / "rendered_depth_maps")
    (scene / "pair.txt").rename(scene / "cams" / "pair.txt")
    settings = {"DATA_DIR": tmp_path / "data", "OUTDIR": tmp_path / "out", "PYTHON_BIN": quick_python, "NUM_VIEW": 3}
    settings |= {"CKPT_FILE": write_checkpoint(tmp_path / "model.ckpt"), "DATASET": "blended"}
    result = run_driver("run_real_scores.sh", *map(str, FAST), **settings)
    assert result.returncode == 0, result.stderr
    scores = read_json(tmp_path / "out" / "scores.json")
    assert list(scores) == ["church network", "church refined", "church zncc"]
    assert all(metrics["pixels"] > 0 for metrics in scores.values())


def test_real_scores_say_what_is_missing(tmp_path):
    """A folder of scenes, truth in them, a checkpoint: one line each, and nothing is written."""

    def error(**settings: object) -> str:
        result = run_driver("run_real_scores.sh", **settings, OUTDIR=tmp_path / "out")
        assert result.returncode == 1 and not (tmp_path / "out").exists()
        (line,) = result.stderr.splitlines()
        return line

    data = tmp_path / "data"
    assert f"DATA_DIR={data}: no such folder" in error(DATA_DIR=data)
    (data / "empty").mkdir(parents=True)
    assert f"DATA_DIR={data}: none of its folders has gt/" in error(DATA_DIR=data)
    assert f"{data}/empty: has no gt/" in error(DATA_DIR=data, SCENES="empty")
    (data / "full" / "depth").mkdir(parents=True)
    assert "OTHERS=a: must be label=FOLDER" in error(DATA_DIR=data, SCENES="full", OTHERS="a")
    assert "OTHERS=zncc=b: give it another label" in error(DATA_DIR=data, SCENES="full", OTHERS="zncc=b")
    assert "none.ckpt: no such file" in error(DATA_DIR=data, SCENES="full", CKPT_FILE=tmp_path / "none.ckpt")


@pytest.mark.slow
def test_teacher_two_rounds_and_test(quick_python, tmp_path):
    """A teacher, two rounds of students, clouds; the second run of the rounds makes nothing anew."""
    data = tmp_path / "training data"  # with a space, as paths have
    write_training_layout(data, {"scan1": 1, "scan2": 2}, width=64, height=64, views=4, lights=(6,))
    write_test_layout(tmp_path / "test data", {"garden": 3}, width=64, height=64, views=4)
    settings = {"DATASET_DIR": data, "TRAIN_LIST": "all", "TEST_LIST": "", "EPOCHS": 1, "PYTHON_BIN": quick_python}
    short = ("--max_steps", "2", "--num_workers", "0")

    result = run_driver("run_train_unsup.sh", *short, **settings, LOG_DIR=tmp_path / "teacher")
    assert result.returncode == 0, result.stderr
    teacher = tmp_path / "teacher" / "model_000000.ckpt"
    assert teacher.exists()

    rounds = {**settings, "LOG_DIR": tmp_path / "kd", "CKPT_FILE": teacher, "ROUNDS": 2, "THRES_VIEW": "1 0"}
    result = run_driver("run_train_kd.sh", *short, **rounds)
    assert result.returncode == 0, result.stderr
    records = [tmp_path / "kd" / f"round_{n}" / "labels" / "scan1" / "check_and_encode.json" for n in (1, 2)]
    assert [read_json(record)["required"] for record in records] == [[1], [0]]  # THRES_VIEW by round
    students = [tmp_path / "kd" / f"round_{n}" / "student" / "model_000000.ckpt" for n in (1, 2)]
    assert students[0].read_bytes() != students[1].read_bytes()

    files = [change_times(tmp_path / "kd", pattern) for pattern in ("*.pfm", "*.ckpt")]
    result = run_driver("run_train_kd.sh", *short, **rounds)
    assert result.returncode == 0, result.stderr
    assert files == [change_times(tmp_path / "kd", pattern) for pattern in ("*.pfm", "*.ckpt")]

    test = {"TESTPATH": tmp_path / "test data", "TEST_LIST": "all", "CKPT_FILE": students[1], "REPORT": 1}
    test["PYTHON_BIN"] = quick_python
    result = run_driver("run_test_dtu.sh", **test, OUTDIR=tmp_path / "out", DISP_THRESHOLD=2)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "gipuma_pcd" / "garden.ply").exists()
    assert f"report: {tmp_path / 'out' / 'report' / 'index.html'}" in result.stdout
    assert (tmp_path / "out" / "report" / "garden.html").exists()


@pytest.mark.slow
def test_a_round_of_two_processes(tmp_path):
    """NGPUS=2 runs every step under torchrun, by the environment that the driver makes; here they share a CPU."""
    data = tmp_path / "training data"
    write_training_layout(data, {"scan1": 1}, width=64, height=32, views=4, lights=(6,))
    settings = {"DATASET_DIR": data, "TRAIN_LIST": "all", "TEST_LIST": "", "LOG_DIR": tmp_path / "kd", "NGPUS": 2}
    settings |= {"CKPT_FILE": write_checkpoint(tmp_path / "teacher.ckpt", "teacher"), "ROUNDS": 1, "THRES_VIEW": 1}
    short = ("--max_steps", "1", "--num_workers", "0", "--device", "cpu")
    result = run_driver("run_train_kd.sh", *short, **settings, EPOCHS=1)
    assert result.returncode == 0, result.stderr
    student = tmp_path / "kd" / "round_1" / "student" / "model_000000.ckpt"
    assert result.stdout.splitlines()[-1] == f"student: {student}"
    assert result.stdout.count("== round 1 of 1") == 1 and load_model(student).kind == "student"


@pytest.mark.slow
def test_a_student_is_not_resumed_with_other_labels(quick_python, tmp_path):
    """Labels of another teacher in the same folder: the rounds stop and say so, instead of mixing both."""
    data = tmp_path / "data"
    write_training_layout(data, {"scan1": 1}, width=64, height=64, views=4, lights=(6,))
    settings = {"DATASET_DIR": data, "TRAIN_LIST": "all", "TEST_LIST": "", "LOG_DIR": tmp_path / "kd"}
    settings |= {"ROUNDS": 1, "THRES_VIEW": 1, "EPOCHS": 1, "PYTHON_BIN": quick_python}
    short = ("--max_steps", "1", "--num_workers", "0")
    first, second = (write_checkpoint(tmp_path / f"{seed}.ckpt", "teacher", seed) for seed in (1, 2))
    assert run_driver("run_train_kd.sh", *short, **settings, CKPT_FILE=first).returncode == 0
    result = run_driver("run_train_kd.sh", *short, **settings, CKPT_FILE=second)
    assert result.returncode != 0
    assert "other labels" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_signal_ends_a_driver_after_its_program(quick_python, tmp_path, signum, status, whole_group):
    """The training saves, and nothing more is started; so with a signal to the driver alone and from a terminal."""
    data = tmp_path / "data"
    write_training_layout(data, {"scan1": 1}, width=64, height=32, views=4, lights=(6,))
    settings = {"DATASET_DIR": data, "TRAIN_LIST": "all", "TEST_LIST": "", "LOG_DIR": tmp_path / "log"}
    driver = ("bash", ROOT / "scripts" / "run_train_unsup.sh", "--num_workers", 0, "--save_steps", 1, "--nviews", 3)
    process = start_process(*driver, **settings, EPOCHS=1000, PYTHON_BIN=quick_python)
    wait_until(lambda: list((tmp_path / "log").glob("*.ckpt")), process)
    os.killpg(process.pid, signum) if whole_group else process.send_signal(signum)
    result = end_process(process)
    assert result.returncode == status, result.stderr
    assert "saved after step" in result.stdout and "teacher: " not in result.stdout


def test_a_driver_ends_with_its_program(quick_python, tmp_path):
    """A program that fails ends the driver, with its message and status."""
    data = tmp_path / "data"
    write_training_layout(data, {"scan1": 1}, width=64, height=32, views=4, lights=(6,))
    settings = {"DATASET_DIR": data, "TRAIN_LIST": "all", "TEST_LIST": "", "LOG_DIR": tmp_path / "log"}
    result = run_driver("run_train_unsup.sh", "--lr", "-1", **settings, PYTHON_BIN=quick_python)
    assert result.returncode == 1 and result.stderr.startswith("error: --lr -1") and "teacher: " not in result.stdout
