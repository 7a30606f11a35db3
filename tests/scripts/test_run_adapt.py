"""scripts/run_adapt.sh: adapting weights to somebody's own scenes."""

import shlex
import subprocess

import pytest
from helpers import change_times, write_checkpoint
from test_drivers import own_scenes, run_driver

from datasets.files import read_json

TINY = {"TEACHER_STEPS": 4, "STUDENT_STEPS": 4, "MAX_W": 64, "MAX_H": 32, "THRES_VIEW": 1, "NUM_WORKERS": 0}
TINY |= {"NUM_VIEW": 3, "AMP": "off"}


def test_adapting_needs_a_scene_and_weights(tmp_path):
    """What is missing is told in one line, before any work."""
    weights = write_checkpoint(tmp_path / "model.ckpt")
    for flags, settings, message in (
        ((), {}, "give one folder"),
        ((tmp_path / "nowhere",), {}, "nowhere: no such folder"),
        ((tmp_path,), {"CKPT_FILE": weights}, f"{tmp_path}: is no scene and holds none"),
        ((tmp_path,), {"CKPT_FILE": tmp_path / "none.ckpt"}, "none.ckpt: no such file"),
    ):
        result = run_driver("run_adapt.sh", *map(str, flags), **settings, ADAPT_DIR=tmp_path / "out")
        assert result.returncode != 0 and not (tmp_path / "out").exists()
        (line,) = result.stderr.splitlines()
        assert message in line


@pytest.mark.slow
def test_adapt_to_one_scene(quick_python, tmp_path):
    """Start, teacher and student are scored; the best one is handed over, with a command that uses it, which works."""
    scene = own_scenes(tmp_path / "my photos", "garden") / "garden"
    start = write_checkpoint(tmp_path / "start.ckpt", "student")
    settings = {**TINY, "CKPT_FILE": start, "ADAPT_DIR": tmp_path / "adapted", "PYTHON_BIN": quick_python}
    result = run_driver("run_adapt.sh", str(scene), **settings)
    assert result.returncode == 0, result.stderr
    made, lines = tmp_path / "adapted", result.stdout.splitlines()
    trained = {"teacher": made / "teacher", "student": made / "kd" / "round_1" / "student"}
    files = {"start": start} | {name: folder / "model_best.ckpt" for name, folder in trained.items()}
    scores = read_json(made / "scores.json")
    assert scores["checkpoints"].keys() == files.keys()
    (told,) = [line for line in lines if line.startswith(f"best by its score: {scores['best']}, ")]
    assert all(f" above {name}" in told for name in files if name != scores["best"])
    assert f"best checkpoint: {made / 'adapted.ckpt'}" in lines
    assert (made / "adapted.ckpt").read_bytes() == files[scores["best"]].read_bytes()
    assert ("adapting did not help" in result.stdout) == (scores["best"] == "start")
    test = shlex.split(lines[-1])
    assert test[test.index("--max_w") :][:4] == ["--max_w", "64", "--max_h", "32"]  # the size of the scores
    subprocess.run([*test, "--ndepths", "8,8,8"], check=True)
    assert (made / "test" / "garden" / "depth_est" / "00000003.pfm").exists()

    other = write_checkpoint(tmp_path / "other.ckpt", "student", seed=2)
    for change in ({"CKPT_FILE": other}, {"TEACHER_STEPS": 5}, {"THRES_VIEW": 2}):
        result = run_driver("run_adapt.sh", str(scene), **settings | change)
        assert result.returncode != 0 and "holds results of other scenes, weights or settings" in result.stderr


@pytest.mark.slow
def test_adapt_to_a_folder_of_scenes(quick_python, tmp_path):
    """From a teacher's weights; a second run makes nothing anew."""
    scenes = own_scenes(tmp_path / "scenes", "garden", "yard")
    start = write_checkpoint(tmp_path / "start.ckpt", "teacher")
    settings = {**TINY, "CKPT_FILE": start, "ADAPT_DIR": tmp_path / "adapted", "PYTHON_BIN": quick_python}
    result = run_driver("run_adapt.sh", str(scenes), **settings)
    assert result.returncode == 0, result.stderr
    labels = tmp_path / "adapted" / "kd" / "round_1" / "labels"
    assert sorted(path.name for path in labels.iterdir()) == ["garden", "yard"]
    made = change_times(tmp_path / "adapted", "model_*.ckpt")
    result = run_driver("run_adapt.sh", str(scenes), **settings)
    assert result.returncode == 0, result.stderr
    assert change_times(tmp_path / "adapted", "model_*.ckpt") == made
