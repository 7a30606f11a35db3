"""The DTU evaluation as a program: its results, reruns, and mistakes."""

import json
import shutil
import signal

import numpy as np
import pytest
from helpers import GOLDEN, ROOT, assert_nothing_half_written, error_line, run_process, run_program, succeed
from plyfile import PlyData, PlyElement

from datasets.formats.ply import read_ply, write_ply

DTU = GOLDEN / "dtu_eval"
TRUTH = ("Points/stl/stl{:03d}_total.ply", "ObsMask/ObsMask{}_10.mat", "ObsMask/Plane{}.mat")
METRICS = ("acc", "comp", "overall", "acc_median", "comp_median")


@pytest.fixture
def benchmark(tmp_path):
    """Scans 1 and 4 (a cloud shifted by 1 mm): ground truth in gt, clouds in ply; `flags` evaluates both."""
    for number in (1, 4):
        for name in TRUTH:
            target = tmp_path / "gt" / name.format(number)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(DTU / name.format(1), target)
    points, colors = read_ply(DTU / "mvsnet001_l3.ply")
    write_ply(tmp_path / "ply" / "mvsnet001_l3.ply", points, colors)
    write_ply(tmp_path / "ply" / "mvsnet004_l3.ply", points + np.float32([0, 0, 1]), colors)
    return tmp_path


def flags(folder, *more) -> list:
    """The program and its flags for the scans in a folder."""
    places = ["--data_dir", folder / "gt", "--ply_dir", folder / "ply", "--out", folder / "score.json", "--jobs", 1]
    return ["tools/eval_dtu.py", *places, *more]


def results(folder) -> dict:
    """The content of --out."""
    return json.loads((folder / "score.json").read_text())


def test_results_and_their_table(benchmark):
    """A scan's metrics are the official ones, the mean is over the scans, and the table shows both."""
    (benchmark / "list.txt").write_text("scan4\nscan1\n")
    printed = succeed(run_program(*flags(benchmark, "--scans", benchmark / "list.txt")))
    content, expected = results(benchmark), json.loads((DTU / "expected.json").read_text())
    assert content["scans"].keys() == {"1", "4"}
    assert content["scans"]["1"]["acc"] == pytest.approx(expected["acc_mean"], rel=0.01)
    assert content["scans"]["1"]["n_comp"] == expected["n_comp"]
    assert content["scans"]["4"]["overall"] > content["scans"]["1"]["overall"]
    for metric in METRICS:
        values = [scan[metric] for scan in content["scans"].values()]
        assert content["mean"][metric] == pytest.approx(np.mean(values))
    rows = [line.split() for line in printed.splitlines()[-3:]]
    assert [row[0] for row in rows] == ["4", "1", "mean"]
    assert float(rows[-1][3]) == pytest.approx(content["mean"]["overall"], abs=1e-4)


def test_scans_at_a_time_change_nothing(benchmark):
    """Two processes give what one gives."""
    succeed(run_program(*flags(benchmark)))
    alone = results(benchmark)
    (benchmark / "score.json").unlink()
    succeed(run_process(*flags(benchmark, "--jobs", 2, "--scans", "1,4")))
    assert results(benchmark) == alone


def test_a_rerun_scores_what_changed(benchmark):
    """Nothing at first; then only the scan whose cloud was written anew; with another seed all."""
    succeed(run_program(*flags(benchmark)))
    first = results(benchmark)
    assert "score:" not in succeed(run_program(*flags(benchmark)))
    assert results(benchmark) == first

    cloud = benchmark / "ply" / "mvsnet004_l3.ply"
    points, colors = read_ply(cloud)
    write_ply(cloud, points + np.float32([0, 0, 1]), colors)
    assert "score: 1/1" in succeed(run_program(*flags(benchmark)))
    assert results(benchmark)["scans"]["1"] == first["scans"]["1"]
    assert results(benchmark)["scans"]["4"]["overall"] > first["scans"]["4"]["overall"]
    assert "score: 2/2" in succeed(run_program(*flags(benchmark, "--seed", 5)))


def test_other_scans_stay_in_the_file(benchmark):
    """Scoring one more scan keeps the others' scores, but the mean is of what was asked for."""
    succeed(run_program(*flags(benchmark, "--scans", "1")))
    assert "score: 1/1" in succeed(run_program(*flags(benchmark, "--scans", "4")))
    content = results(benchmark)
    assert content["scans"].keys() == {"1", "4"} and content["mean_of"] == [4]
    assert content["mean"]["acc"] == content["scans"]["4"]["acc"]
    assert "score:" not in succeed(run_program(*flags(benchmark, "--scans", "1,4")))


def test_an_interrupted_evaluation_goes_on(benchmark, monkeypatch):
    """The first scan's score is in the file when the second is interrupted; the rerun makes only the second."""
    from tools.evaluation import dtu as dtu_score

    def interrupted(files, *settings):
        if "004" in files.cloud.name:
            signal.raise_signal(signal.SIGINT)
        return score_scan(files, *settings)

    score_scan = dtu_score.score_scan
    with monkeypatch.context() as patch:
        patch.setattr(dtu_score, "score_scan", interrupted)
        result = run_program(*flags(benchmark))
    assert result.returncode == 130 and result.stderr.splitlines() == ["stopped by SIGINT"]
    content = results(benchmark)
    assert content["scans"].keys() == {"1"} and content["mean"] is None
    assert_nothing_half_written(benchmark)
    assert "score: 1/1" in succeed(run_program(*flags(benchmark)))
    assert results(benchmark)["scans"]["1"] == content["scans"]["1"]


def test_a_scan_that_fails_stops_no_other(benchmark):
    """Its file is named at the end; the other scan is scored, the mean is not made."""
    write_ply(benchmark / "ply" / "mvsnet001_l3.ply", np.empty((0, 3)), np.empty((0, 3)))
    result = run_program(*flags(benchmark))
    assert "mvsnet001_l3.ply: holds no point" in error_line(result)
    assert results(benchmark)["scans"].keys() == {"4"} and results(benchmark)["mean"] is None
    assert "4 " in result.stdout.splitlines()[-2]


def test_a_cloud_somewhere_else_is_no_score(benchmark):
    """A cloud of which no point is observed has no accuracy; the error asks for its frame."""
    write_ply(benchmark / "ply" / "mvsnet001_l3.ply", np.full((9, 3), 5e6), np.zeros((9, 3)))
    line = error_line(run_program(*flags(benchmark, "--scans", "1")))
    assert "mvsnet001_l3.ply: no observed point lies within 20 mm" in line


def test_points_that_are_not_finite(benchmark):
    """They are dropped, counted in the results, and told; the scores are those without them."""
    succeed(run_program(*flags(benchmark, "--scans", "1")))
    clean = results(benchmark)["scans"]["1"]
    points, _ = read_ply(DTU / "mvsnet001_l3.ply")
    bad = np.full((7, 3), np.nan, np.float32)
    write_ply(benchmark / "ply" / "mvsnet001_l3.ply", np.concatenate([points, bad]), np.zeros((len(points) + 7, 3)))
    assert "dropped 7 points" in succeed(run_program(*flags(benchmark, "--scans", "1")))
    score = results(benchmark)["scans"]["1"]
    assert score["n_not_finite"] == 7 and clean["n_not_finite"] == 0
    assert [score[metric] for metric in METRICS] == [clean[metric] for metric in METRICS]


def test_a_mesh_is_judged_by_its_faces(benchmark):
    """A large square through the truth: its many points are thinned like those of a cloud, and not its four corners."""
    low, high = (np.percentile(read_ply(DTU / "mvsnet001_l3.ply")[0], q, axis=0) for q in (20, 80))
    corners = [
        (low[0], low[1], low[2]),
        (high[0], low[1], low[2]),
        (high[0], high[1], low[2]),
        (low[0], high[1], low[2]),
    ]
    vertices = np.array(corners, [(axis, "f4") for axis in "xyz"])
    faces = np.array([([0, 1, 2],), ([0, 2, 3],)], [("vertex_indices", "i4", (3,))])
    path = benchmark / "ply" / "mvsnet001_l3.ply"
    PlyData([PlyElement.describe(vertices, "vertex"), PlyElement.describe(faces, "face")]).write(path)
    succeed(run_program(*flags(benchmark, "--scans", "1", "--dst", "1")))
    score, area = results(benchmark)["scans"]["1"], (high[0] - low[0]) * (high[1] - low[1])
    assert score["n_in"] == pytest.approx(4 * area, rel=0.01)
    assert 0.5 * area < score["n_reduced"] < 0.9 * area  # random points that keep a distance of 1: 0.7 on average


@pytest.mark.parametrize("missing", ["ply/mvsnet004_l3.ply", *(f"gt/{name.format(4)}" for name in TRUTH)])
def test_a_missing_file_shows_before_the_work(benchmark, missing):
    """One line that names it, although another scan is complete; nothing is scored or written."""
    (benchmark / missing).unlink()
    result = run_program(*flags(benchmark, "--scans", "1,4"))
    assert f"{benchmark / missing}: no such file" in error_line(result)
    assert result.stdout == "" and not (benchmark / "score.json").exists()


@pytest.mark.parametrize(
    "name", ["ply/mvsnet001_l3.ply", "gt/Points/stl/stl001_total.ply", "gt/ObsMask/ObsMask1_10.mat"]
)
def test_a_truncated_file_is_named(benchmark, name):
    """Clouds and masks that broke off."""
    path = benchmark / name
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path}: is not a readable" in error_line(run_program(*flags(benchmark, "--scans", "1")))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--scans", "garden.txt"], "garden.txt: no such file"),
        (["--scans", ROOT / "lists/tanks/advanced.txt"], "'Auditorium' is not a DTU scan"),
        (["--max_dist", "61"], "--max_dist 61.0: must be above 0 and at most 60 mm"),
        (["--max_dist", "nan"], "--max_dist nan"),
        (["--dst", "-1"], "--dst -1.0"),
        (["--memory_gb", "0"], "--memory_gb 0.0"),
        (["--ply_dir", "nowhere"], "nowhere: cannot list this folder"),
        (["--ply_dir", "lists"], "lists: holds no cloud named like mvsnet001_l3.ply"),
        (["--out", "README.md"], "README.md: is not valid JSON"),
    ],
)
def test_mistakes(benchmark, more, message):
    """Each is one line that names the flag or the file."""
    assert message in error_line(run_program(*flags(benchmark, *more)))


def test_a_result_of_something_else_is_not_overwritten(benchmark):
    """JSON of another kind is refused and stays."""
    (benchmark / "score.json").write_text("[1]")
    assert "score.json: exists and is no result" in error_line(run_program(*flags(benchmark)))
    assert (benchmark / "score.json").read_text() == "[1]"
