"""The DTU comparison against the official scripts' numbers, and its rules one by one."""

import json

import numpy as np
import pytest
from helpers import GOLDEN
from scipy.io import savemat

from datasets.files import DataError
from tools.evaluation.dtu import ObservedSpace, read_observed_space, scan_files, score_cloud, score_scan

DTU = GOLDEN / "dtu_eval"


def space(mask_shape=(50, 50, 50), resolution=1.0, plane=(0, 0, 1, 1000)) -> ObservedSpace:
    """Observed everywhere from the origin on, with the plane far below."""
    high = np.array(mask_shape) * resolution
    return ObservedSpace(np.ones(mask_shape, bool), np.zeros(3), high, resolution, np.array(plane, np.float64))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_the_official_scripts(seed):
    """Counts are equal, means and medians within 1 %, in whatever order the cloud is thinned."""
    expected = json.loads((DTU / "expected.json").read_text())
    score = score_scan(scan_files(DTU, DTU / "mvsnet001_l3.ply", 1), dst=0.2, max_dist=20.0, seed=seed, threads=1)
    for count in ("n_in", "n_reduced", "n_acc", "n_comp"):
        assert score[count] == expected[count]
    for name in ("acc", "comp"):
        assert score[name] == pytest.approx(expected[f"{name}_mean"], rel=0.01)
        assert score[f"{name}_median"] == pytest.approx(expected[f"{name}_median"], rel=0.01)
    assert score["overall"] == pytest.approx((score["acc"] + score["comp"]) / 2)


def test_the_nearest_voxel_is_observed():
    """Voxel centres lie at whole steps from the corner; half a step outside the array nothing is observed."""
    observed = space((3, 3, 3), resolution=2.0)
    observed.mask[1, 0, 0] = False
    x = np.float32([-1.001, -1.0, 0.999, 1.0, 2.999, 3.0, 4.999, 5.0, 1e30, -1e30])
    points = np.stack([x, 0 * x, 0 * x], axis=1)
    expected = [False, True, True, False, False, True, True, False, False, False]
    assert observed.contains(points).tolist() == expected
    assert not observed.contains(points[:, [1, 2, 0]])[[0, 7, 8, 9]].any()  # along z, as along x


def test_cubes_of_the_search():
    """The search covers the box with whole cubes of 60 mm, so it ends up to one cube behind the box."""
    observed = space((70, 60, 59))
    ends = np.array([120, 120, 60])
    for axis in range(3):
        for offset, expected in ((0, True), (-0.01, False), (ends[axis] - 0.01, True), (ends[axis], False)):
            point = np.ones((1, 3), np.float32)
            point[0, axis] = offset
            assert observed.searched(point).tolist() == [expected]


def test_what_counts():
    """Unobserved points of the cloud and points of the truth below the plane do not count; nor distances from the
    cap on. Truth is not thinned, the cloud is."""
    observed = space(plane=(0, 0, 1, -5))  # counts above z = 5
    observed.mask[:, :, 20] = False
    truth = np.float32([[10, 10, 10], [10, 10, 10.1], [10, 10, 4], [40, 40, 40]])
    cloud = np.float32([[10, 10, 12], [10, 10, 12.1], [10, 10, 20], [10, 45, 10], [70, 10, 10]])
    score = score_cloud(cloud, truth, observed, dst=0.2, max_dist=20.0, seed=1)
    assert (score["n_in"], score["n_reduced"], score["n_truth"]) == (5, 4, 4)
    assert score["n_acc"] == 1 and score["acc"] == pytest.approx(1.95, abs=0.051)  # the kept one of z = 12, 12.1
    assert score["n_comp"] == 2 and score["comp"] == pytest.approx(2.0, abs=0.051)


def test_parallel_planes():
    """A plane 0.5 mm above the true one: accuracy, completeness and overall are 0.5 mm."""
    x, y = np.meshgrid(np.arange(5, 40), np.arange(5, 40))
    truth = np.stack([x.ravel(), y.ravel(), np.full(x.size, 20)], axis=1).astype(np.float32)
    score = score_cloud(truth + np.float32([0, 0, 0.5]), truth, space(), dst=0.2, max_dist=20.0, seed=1)
    assert (score["acc"], score["comp"], score["overall"], score["n_acc"]) == (0.5, 0.5, 0.5, 35 * 35)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("mask", {"ObsMask": np.ones((2, 2))}, "3 dimensions"),
        ("mask", {"BB": np.ones((3, 2))}, "BB 2x3"),
        ("mask", {"BB": np.ones((2, 3))}, "lower and an upper corner"),
        ("mask", {"BB": np.array([[0, 0, 0], [1, 1, np.nan]])}, "lower and an upper corner"),
        ("mask", {"Res": 0.0}, "positive number"),
        ("mask", {"Res": np.ones(2)}, "Res one"),
        ("plane", {"P": np.ones(3)}, "four numbers"),
        ("plane", {"P": np.full(4, np.inf)}, "four numbers"),
        ("plane", {"Q": np.ones(4)}, "no array of numbers named P"),
    ],
)
def test_other_contents_are_refused(tmp_path, name, values, message):
    """Ground truth of another shape is named with what it should hold."""
    contents = {
        "mask": {"ObsMask": np.ones((2, 2, 2)), "BB": np.array([[0, 0, 0], [1, 1, 1]]), "Res": 1.0},
        "plane": {"P": np.ones((4, 1))},
    }
    if name == "plane":
        contents[name] = {}
    contents[name] |= values
    for key, variables in contents.items():
        savemat(tmp_path / f"{key}.mat", variables)
    with pytest.raises(DataError, match=rf"{name}\.mat: .*{message}"):
        read_observed_space(tmp_path / "mask.mat", tmp_path / "plane.mat")
