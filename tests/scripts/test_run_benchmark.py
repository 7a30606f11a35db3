"""The training benchmark's driver and table, on scenes and budgets small enough for a test."""

import numpy as np
import pytest
from helpers import run_program, succeed
from test_drivers import run_driver

from datasets.files import read_json, write_json
from tools.reports.benchmark_page import benchmark_page


def test_an_unknown_variant_is_refused_before_the_work(tmp_path):
    """The message lists those there are."""
    result = run_driver("run_benchmark.sh", "rounds_2", "better", BENCH_DIR=tmp_path / "bench")
    assert result.returncode != 0 and not (tmp_path / "bench").exists()
    assert "no variant better" in result.stderr and "kd_hard" in result.stderr


@pytest.mark.slow
def test_two_variants_share_scenes_and_teacher(quick_python, tmp_path):
    """Scores of both are in the table; a rerun trains nothing anew, and other budgets need another folder."""
    bench = tmp_path / "bench"
    small = {"TRAIN_SCENES": 1, "TEST_SCENES": 1, "WIDTH": 64, "HEIGHT": 64, "TEACHER_STEPS": 1, "STUDENT_STEPS": 1}
    settings = {"BENCH_DIR": bench, "AMP": "off", "PYTHON_BIN": quick_python, **small}
    first = run_driver("run_benchmark.sh", "rounds_1", "kd_hard", **settings)
    assert first.returncode == 0, first.stderr
    assert "(1 of 18 steps)" not in first.stdout and first.stdout.count("trained 1 steps") == 3
    table = (bench / "table.md").read_text()
    assert "kd_hard" in (bench / "benchmark.html").read_text()
    assert "| rounds_1 | 1 |" in table and "| kd_hard | 1 |" in table and "3 trainings" in table
    assert "of 3 checkpoints" in table
    flags = {name: read_json(bench / f"seed_1/{name}/round_1/student/flags.json") for name in ("rounds_1", "kd_hard")}
    assert (flags["rounds_1"]["loss"], flags["kd_hard"]["loss"]) == ("paper", "hard")
    assert flags["rounds_1"]["read_out"] == "local" and flags["rounds_1"]["loadckpt"].endswith(
        "teacher_per_pixel/model_000000.ckpt"
    )
    again = run_driver("run_benchmark.sh", "rounds_1", **settings)
    assert again.returncode == 0 and "trained 1 steps" not in again.stdout
    other = run_driver("run_benchmark.sh", "rounds_1", **{**settings, "STUDENT_STEPS": 2})
    assert other.returncode != 0 and "holds results of other" in other.stderr


def scores(overall: float) -> dict:
    """Scores of a student `overall` times as far off as its teacher."""
    teacher = {"overall": 2.0, "median": 2.0, "mean": 10.0, "within_2": 0.5, "within_8": 0.75}
    student = {"overall": 2 * overall, "median": 2 * overall, "mean": 10.0, "within_2": 1 - 0.5 * overall}
    student["within_8"] = 0.875
    return {
        "teacher": teacher,
        "student": student | {"ratios": {"overall": overall, "median": overall, "beyond_2": overall, "mean": 1.0}},
    }


def test_the_table_averages_over_seeds(tmp_path):
    """Ratios are averaged, not taken of averages, and the extremes are shown."""
    for seed, overall in ((1, 0.5), (2, 0.7)):
        write_json(tmp_path / f"seed_{seed}" / "rounds_1" / "scores.json", scores(overall))
        write_json(
            tmp_path / f"seed_{seed}" / "teacher_per_pixel" / "training.json", {"steps": 3600, "seconds_per_step": 0.5}
        )
    out = succeed(run_program("tools/benchmark_table.py", "--outdir", tmp_path))
    assert "| rounds_1 | 2 | 2.00 → 1.20 |" in out and "0.60 (0.50–0.70)" in out
    assert "2 trainings, 1.0 hours in steps" in out
    page = (tmp_path / "benchmark.html").read_text()
    assert "2.00 → 1.20" in page and 'aria-label="pixels within an error, % over' in page
    assert read_json(tmp_path / "table.json")["variants"]["rounds_1"]["ratios"]["overall"] == pytest.approx(
        [0.6, 0.5, 0.7]
    )


def test_the_page_draws_the_losses_of_all_seeds_together():
    """One chart for each training, a curve for each seed; and the errors' distributions of teacher and student."""
    losses = {"train/total": np.array([[50.0, 9.0], [100.0, 7.0]])}
    trainings = {"seed_1/teacher_per_pixel": losses, "seed_2/teacher_per_pixel": losses, "seed_1/rounds_1": {}}
    page = benchmark_page(
        ["variant"], [["rounds_1"]], {"rounds_1": scores(0.5)}, trainings, {"cores": 2}, "2 trainings"
    ).decode()
    assert page.count("loss of teacher_per_pixel over step") == 1 and "loss of rounds_1" not in page
    assert "seed 1" in page and "seed 2" in page
    assert page.count("<svg") == 2 and "pixels within an error" in page


def test_a_folder_without_scores_is_named(tmp_path):
    result = run_program("tools/benchmark_table.py", "--outdir", tmp_path)
    assert result.returncode == 1 and str(tmp_path) in result.stderr and "run_benchmark.sh" in result.stderr
