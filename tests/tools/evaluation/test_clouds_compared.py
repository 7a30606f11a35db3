"""Thinning, distances and scores of clouds, against brute force and known geometry."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from datasets.files import DataError
from datasets.formats.ply import write_ply
from tools.evaluation.clouds import compare_clouds, kept_apart, nearest_distances, read_finite_points, summarize

DST = 0.2


def blob(count: int, seed: int = 1) -> np.ndarray:
    """Points so dense that most have many neighbours within DST; with duplicates and far outliers."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
    points[: count // 10] = points[0]
    points[-4:] = [[1e30, 0, 0], [1e30, 0, 0], [-3e38, 3e38, 1e9], [5e5, 5e5, -5e5]]
    return points


def plane(side: int, height: float, spacing: float = 1.0) -> np.ndarray:
    """side x side points on a plane of constant z."""
    x, y = np.meshgrid(np.arange(side) * spacing, np.arange(side) * spacing)
    return np.stack([x.ravel(), y.ravel(), np.full(side * side, height)], axis=1).astype(np.float32)


# ---------------------------------------------------------------- thinning


@pytest.mark.parametrize("seed", [1, 2])
def test_thinning_separates_and_covers(seed):
    """No two kept points lie within the distance of each other, and every point has a kept one within it."""
    points = blob(3000)
    kept = kept_apart(points, DST, seed)
    distances = cdist(points.astype(np.float64), points[kept].astype(np.float64))
    assert (distances.min(axis=1) <= DST).all()
    np.fill_diagonal(between := distances[kept], np.inf)
    assert between.min() > DST
    assert 100 < kept.sum() < 1500


def test_thinning_is_random_by_seed():
    """The same seed keeps the same points, another one others."""
    points = blob(3000)
    np.testing.assert_array_equal(kept_apart(points, DST, 1), kept_apart(points, DST, 1))
    assert (kept_apart(points, DST, 1) != kept_apart(points, DST, 2)).any()


def test_thinning_visits_in_random_order():
    """Of three points in a row the middle one survives alone when it comes first, else the outer two stay."""
    row = np.float32([[0, 0, 0], [0.15, 0, 0], [0.3, 0, 0]])
    survivors = {tuple(kept_apart(row, DST, seed)) for seed in range(50)}
    assert survivors == {(False, True, False), (True, False, True)}


def test_the_thinning_distance_itself_is_too_near():
    """Points exactly at the distance go; just beyond it they stay. Distance 0 removes duplicates only."""
    grid = plane(20, -3.0, spacing=0.25)
    assert kept_apart(grid, 0.2499, 1).all()
    kept = grid[kept_apart(grid, 0.25, 1)].astype(np.float64)
    between = cdist(kept, kept)
    np.fill_diagonal(between, np.inf)
    assert between.min() > 0.25
    assert kept_apart(np.concatenate([grid, grid]), 0.0, 1).sum() == 400


def test_no_points():
    """Nothing in, nothing out."""
    none = np.empty((0, 3), np.float32)
    assert kept_apart(none, DST, 1).shape == (0,)
    assert nearest_distances(none, blob(10)).shape == (0,)


# ---------------------------------------------------------------- distances and scores


@pytest.mark.parametrize("cap", [0.05, 1.0, np.inf])
def test_nearest_distances(monkeypatch, cap):
    """As by brute force, in blocks, and never above the cap."""
    monkeypatch.setattr("tools.evaluation.clouds._BLOCK", 100)
    points, targets = blob(777, seed=1), blob(500, seed=2)
    expected = cdist(points.astype(np.float64), targets.astype(np.float64)).min(axis=1)
    np.testing.assert_allclose(nearest_distances(points, targets, cap), np.minimum(expected, cap), rtol=1e-12)


def test_distances_to_nothing():
    """Without a target every distance is the cap."""
    assert (nearest_distances(blob(10), np.empty((0, 3), np.float32), 20.0) == 20.0).all()


def test_only_distances_below_the_cap_are_summarized():
    """The cap itself does not count; without any distance there is no mean."""
    assert summarize(np.array([1.0, 2.0, 6.0, 20.0]), 20.0) == {"mean": 3.0, "median": 2.0, "count": 3}
    empty = summarize(np.array([20.0]), 20.0)
    assert empty["count"] == 0 and np.isnan(empty["mean"]) and np.isnan(empty["median"])


def test_parallel_planes():
    """Two planes at distance h: accuracy, completeness and overall are h; F jumps from 0 to 1 there."""
    h = 0.25
    score = compare_clouds(plane(30, 5.0), plane(30, 5.0 + h), thresholds=(h, h + 0.01), threads=2)
    for metric in ("acc", "comp", "overall", "acc_median", "comp_median"):
        assert score[metric] == pytest.approx(h)
    assert score["n_acc"] == score["n_comp"] == score["n_cloud"] == score["n_truth"] == 900
    assert score["f_scores"]["0.25"] == {"precision": 0.0, "recall": 0.0, "f_score": 0.0}
    assert score["f_scores"]["0.26"] == {"precision": 1.0, "recall": 1.0, "f_score": 1.0}


def test_precision_and_recall_are_told_apart():
    """All of the truth's left half is found, a quarter of the cloud is an outlier: P 3/4, R 1/2, F their mean."""
    truth = plane(60, 0.0)
    half = truth[truth[:, 0] < 30]
    cloud = np.concatenate([half, half[:600] + np.float32([0, 0, 50])])
    score = compare_clouds(cloud, truth, thresholds=(0.5,), max_dist=20.0)
    assert score["f_scores"]["0.5"] == pytest.approx({"precision": 0.75, "recall": 0.5, "f_score": 0.6})
    assert (score["n_cloud"], score["n_acc"], score["acc"]) == (2400, 1800, 0.0)
    assert score["n_comp"] == 60 * 49 and score["comp"] == pytest.approx(sum(range(20)) / 49)


def test_thresholds_beyond_the_cap():
    """A cap on accuracy does not cut the F-score's distances."""
    score = compare_clouds(plane(5, 0.0), plane(5, 3.0), thresholds=(4.0,), max_dist=1.0)
    assert score["n_acc"] == 0 and np.isnan(score["overall"])
    assert score["f_scores"]["4"]["f_score"] == 1.0


def test_empty_clouds_are_not_compared():
    """Neither side may be empty."""
    with pytest.raises(ValueError, match="empty"):
        compare_clouds(np.empty((0, 3), np.float32), blob(5))


def test_reading_drops_what_is_not_finite(tmp_path):
    """NaN and infinity are dropped and counted; a cloud of nothing else, or of nothing, is refused."""
    points = np.float32([[1, 2, 3], [np.nan, 0, 0], [0, np.inf, 0], [4, 5, 6]])
    write_ply(tmp_path / "cloud.ply", points, np.zeros((4, 3), np.uint8))
    finite, dropped, _ = read_finite_points(tmp_path / "cloud.ply")
    assert finite.tolist() == [[1, 2, 3], [4, 5, 6]] and dropped == 2
    write_ply(tmp_path / "cloud.ply", points[1:3], np.zeros((2, 3), np.uint8))
    with pytest.raises(DataError, match=r"cloud\.ply: holds no point \(2 are not finite\)"):
        read_finite_points(tmp_path / "cloud.ply")
    write_ply(tmp_path / "cloud.ply", points[:0], np.zeros((0, 3), np.uint8))
    with pytest.raises(DataError, match=r"cloud\.ply: holds no point$"):
        read_finite_points(tmp_path / "cloud.ply")
