"""F-score, accuracy and completeness of two clouds, as a program."""

import json

import numpy as np
import pytest
from helpers import error_line, run_process, run_program, succeed

from datasets.formats.ply import write_ply


@pytest.fixture
def clouds(tmp_path):
    """A plane of 40 x 40 points 1 apart as truth.ply, and the same 0.3 higher, its last 400 points 10 higher."""
    x, y = np.meshgrid(np.arange(40.0), np.arange(40.0))
    truth = np.stack([x.ravel(), y.ravel(), np.zeros(1600)], axis=1)
    cloud = truth.copy()
    cloud[:1200, 2], cloud[1200:, 2] = 0.3, 10
    write_ply(tmp_path / "truth.ply", truth, np.zeros((1600, 3)))
    write_ply(tmp_path / "cloud.ply", cloud, np.zeros((1600, 3)))
    return tmp_path


def flags(folder, *more) -> list:
    """The program and its flags for the two clouds."""
    places = ["--cloud", folder / "cloud.ply", "--truth", folder / "truth.ply", "--out", folder / "out.json"]
    return ["tools/eval_cloud.py", *places, *more]


def results(folder) -> dict:
    """The content of --out."""
    return json.loads((folder / "out.json").read_text())


def test_scores_of_a_known_shift(clouds):
    """Three quarters are right to 0.5; the missing quarter of the truth is 1, 2, ... from the rest."""
    printed = succeed(run_process(*flags(clouds, "--threshold", "0.2,0.5", "--max_dist", "5")))
    content = results(clouds)
    assert content["f_scores"]["0.2"] == {"precision": 0.0, "recall": 0.0, "f_score": 0.0}
    assert content["f_scores"]["0.5"] == {"precision": 0.75, "recall": 0.75, "f_score": 0.75}
    assert content["acc"] == pytest.approx(0.3) and content["n_acc"] == 1200
    rows = np.hypot([0] * 30 + [1, 2, 3, 4], 0.3)  # of the truth, as far as they are below 5
    assert content["comp"] == pytest.approx(rows.mean()) and content["n_comp"] == 34 * 40
    assert content["overall"] == pytest.approx((content["acc"] + content["comp"]) / 2)
    assert printed.splitlines()[2].split() == ["0.5", "75.00%", "75.00%", "75.00%"]


def test_the_box_cuts_both_clouds(clouds):
    """Inside it, borders included, both clouds agree everywhere."""
    succeed(run_program(*flags(clouds, "--threshold", "0.5", "--bbox=-1,0,-1,50,29,1")))
    assert results(clouds)["f_scores"]["0.5"]["f_score"] == 1
    assert results(clouds)["n_cloud"] == results(clouds)["n_truth"] == 1200


def test_voxels_thin_both_clouds(clouds):
    """Voxels of 2 hold four points of each cloud."""
    succeed(run_program(*flags(clouds, "--threshold", "0.5", "--voxel", "2")))
    content = results(clouds)
    assert content["n_cloud"] == content["n_truth"] == 400
    assert content["f_scores"]["0.5"]["precision"] == 0.75


def test_nothing_within_the_cap(clouds):
    """Undefined means are null in the file, which stays valid JSON."""
    succeed(run_program(*flags(clouds, "--threshold", "0.1", "--max_dist", "0.1")))
    assert "NaN" not in (clouds / "out.json").read_text()
    assert results(clouds)["acc"] is None and results(clouds)["n_acc"] == 0


def test_points_that_are_not_finite(clouds):
    """They are dropped and told."""
    write_ply(clouds / "cloud.ply", np.float32([[0, 0, 0], [np.nan, 0, 0]]), np.zeros((2, 3)))
    printed = succeed(run_program(*flags(clouds, "--threshold", "0.1")))
    assert "cloud.ply: dropped 1 points" in printed and results(clouds)["f_scores"]["0.1"]["precision"] == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--cloud", "none.ply"], "none.ply: no such file"),
        (["--truth", "README.md"], "README.md: is not a readable PLY"),
        (["--threshold", "0"], "--threshold 0.0: must be positive"),
        (["--threshold", "1,nan"], "--threshold 1.0,nan"),
        (["--threshold", ","], "--threshold"),
        (["--voxel", "-1"], "--voxel -1: must be a positive size"),
        (["--max_dist", "inf"], "--max_dist inf"),
        (["--bbox", "0,0,0,1,1"], "--bbox=0,0,0,1,1: needs six numbers"),
        (["--bbox", "0,0,0,1,1,-1"], "is an empty box; x0 < x1"),
        (["--bbox", "100,100,100,101,101,101"], "cloud.ply: has no point inside --bbox 100,100"),
    ],
)
def test_mistakes(clouds, more, message):
    """Each is one line that names the flag or the file; nothing is written."""
    assert message in error_line(run_program(*flags(clouds, "--threshold", "1", *more)))
    assert not (clouds / "out.json").exists()


def test_an_empty_cloud_is_named(clouds):
    """Neither side may be empty."""
    write_ply(clouds / "truth.ply", np.empty((0, 3)), np.empty((0, 3)))
    assert "truth.ply: holds no point" in error_line(run_program(*flags(clouds, "--threshold", "1")))


@pytest.mark.parametrize("place", [(5e5, 4.5e6, 100), (4.36e6, 5.07e5, 4.61e6)])
def test_scores_do_not_depend_on_where_the_clouds_lie(clouds, place):
    """Doubles are compared as doubles, although float32 rounds such coordinates to halves."""
    rng = np.random.default_rng(1)
    truth = np.stack([*rng.uniform(0, 20, (2, 2000)), rng.normal(0, 0.01, 2000)], axis=1)
    cloud = truth + rng.normal(0, 0.05, truth.shape)
    scores = []
    for shift in ((0, 0, 0), place):
        write_ply(clouds / "truth.ply", truth + shift, np.zeros((2000, 3)))
        write_ply(clouds / "cloud.ply", cloud + shift, np.zeros((2000, 3)))
        printed = succeed(run_program(*flags(clouds, "--threshold", "0.05,0.2")))
        assert "warning" not in printed
        scores.append(results(clouds))
    near, far = scores
    assert 0.1 < near["f_scores"]["0.05"]["precision"] < 0.6
    for threshold in ("0.05", "0.2"):
        assert far["f_scores"][threshold] == pytest.approx(near["f_scores"][threshold], abs=1e-3)
    assert far["overall"] == pytest.approx(near["overall"], rel=1e-6)


def test_coordinates_that_were_rounded_already_are_told(clouds):
    """A cloud of floats at 4.5 million is on a grid of a half."""
    points = np.float32(np.random.default_rng(1).uniform(0, 20, (100, 3)) + np.array([5e5, 4.5e6, 100]))
    write_ply(clouds / "cloud.ply", points, np.zeros((100, 3)))
    write_ply(clouds / "truth.ply", points, np.zeros((100, 3)))
    printed = succeed(run_program(*flags(clouds, "--threshold", "0.2")))
    assert "cloud.ply: its coordinates are rounded to 0.5, as float32 is at 4.50001e+06" in printed
