"""scripts/run_demo.sh: what it keeps, what it makes anew, and what it tells of its time limit."""

import pytest
from helpers import change_times
from test_drivers import run_driver

from tools.demo_summary import cut_short


def test_the_demo_does_not_delete_a_folder_that_is_not_its_own(tmp_path):
    """A folder with somebody's files is refused and left alone."""
    (tmp_path / "data").mkdir()
    result = run_driver("run_demo.sh", DEMO_DIR=tmp_path)
    assert result.returncode != 0 and f"DEMO_DIR={tmp_path}: exists and is none of" in result.stderr
    assert (tmp_path / "data").exists()


@pytest.mark.slow
def test_the_demo_goes_on(quick_python, tmp_path):
    """A second run makes nothing anew, whatever its time limit; other settings need another folder."""
    settings = {"DEMO_DIR": tmp_path / "demo", "PYTHON_BIN": quick_python, "AMP": "off", "REPORT": 0}
    settings |= {"TRAIN_SCENES": 1, "TEST_SCENES": 1, "TEACHER_STEPS": 2, "STUDENT_STEPS": 2, "NUM_VIEW": 2}
    result = run_driver("run_demo.sh", **settings)
    assert result.returncode == 0, result.stderr
    assert "Depth error against exact depth" in result.stdout and "the time limit ended" not in result.stdout
    made = [change_times(tmp_path / "demo", pattern) for pattern in ("*.ckpt", "*.pfm", "*.png")]
    result = run_driver("run_demo.sh", **settings | {"TIME_LIMIT": 30})
    assert result.returncode == 0, result.stderr
    again = [change_times(tmp_path / "demo", pattern) for pattern in ("*.ckpt", "*.pfm", "*.png")]
    drawn = {"depth.png", "cloud.png"}
    assert {path for old, new in zip(made, again, strict=True) for path in old if old[path] != new.get(path)} <= drawn

    result = run_driver("run_demo.sh", **settings | {"SEED": 2})
    assert result.returncode != 0 and "set another DEMO_DIR" in result.stderr
    assert change_times(tmp_path / "demo", "*.ckpt") == made[0]


def test_the_demo_tells_what_its_time_limit_cut():
    """The steps that were not made, and how long they would take; nothing where all were."""
    training = {"steps": 150, "seconds_per_step": 2.0}
    told = cut_short(training, {"max_steps": "240"})
    assert "after 150 of 240 steps" in told and "3 min more" in told and "TIME_LIMIT" in told
    assert cut_short(training, {"max_steps": "150"}) == ""
