"""Thinning to points of even spacing."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from fusion.cells import Grid
from fusion.clouds import Points
from fusion.even import evenly_thinned


def uneven(count: int = 60_000) -> Points:
    """Points on a unit square in z = 0, the left tenth of which holds nine tenths of them."""
    rng = np.random.default_rng(0)
    xyz = np.zeros((count, 3), np.float32)
    xyz[:, :2] = rng.uniform(size=(count, 2))
    xyz[: count * 9 // 10, 0] *= 0.1
    xyz = xyz[rng.permutation(count)]
    normals = np.tile(np.float32([0, 0, 1]), (count, 1))
    colors = np.full((count, 3), 200, np.uint8)
    return Points(xyz, colors, normals, rng.integers(2, 6, count).astype(np.uint8), np.full(count, 0.5, np.float32))


def parts(points: Points):
    return lambda: (points[start : start + 7000] for start in range(0, len(points), 7000))


@pytest.mark.parametrize("most", [100, 2500])
@pytest.mark.parametrize("size", [1e-4, 0.01, 3.0])
def test_number_and_evenness(most, size):
    """Nearly as many points as wanted wherever the search starts, and none crowded: the dense tenth gets a tenth."""
    thinned = evenly_thinned(parts(uneven()), Grid(np.zeros(3), size), most)
    assert 0.85 * most <= len(thinned) <= most
    assert 0.05 < (thinned.xyz[:, 0] < 0.1).mean() < 0.2
    nearest = cKDTree(thinned.xyz).query(thinned.xyz, k=2)[0][:, 1]
    assert np.percentile(nearest, 5) > 0.2 * np.median(nearest)


def test_a_point_is_the_mean_of_its_cell():
    """In place, colour and confidence; the normal has length 1, the number of views is the largest."""
    xyz = np.float32([[0.1, 0.1, 0.1], [0.3, 0.3, 0.5], [5.1, 0.1, 0.1]])
    normals = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    colors = np.uint8([[0, 10, 20], [100, 20, 30], [7, 7, 7]])
    points = Points(xyz, colors, normals, np.uint8([3, 9, 2]), np.float32([0.2, 0.4, 1]))
    thinned = evenly_thinned(lambda: [points], Grid(np.zeros(3), 1.0), 2)
    order = np.argsort(thinned.xyz[:, 0])
    np.testing.assert_allclose(thinned.xyz[order], [[0.2, 0.2, 0.3], [5.1, 0.1, 0.1]], rtol=1e-6)
    np.testing.assert_array_equal(thinned.colors[order], [[50, 15, 25], [7, 7, 7]])
    np.testing.assert_allclose(thinned.normals[order], [[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]], rtol=1e-6)
    assert thinned.views[order].tolist() == [9, 2]
    np.testing.assert_allclose(thinned.confidence[order], [0.3, 1], rtol=1e-6)


def test_columns_that_are_not_there_stay_away():
    points = Points(uneven(1000).xyz, uneven(1000).colors)
    thinned = evenly_thinned(lambda: [points], Grid(np.zeros(3), 0.1), 50)
    assert thinned.normals is None and thinned.views is None and thinned.confidence is None


def test_one_place_a_thousand_times():
    """It becomes one point."""
    points = Points(np.ones((1000, 3), np.float32), np.zeros((1000, 3), np.uint8))
    assert len(evenly_thinned(lambda: [points], Grid(np.zeros(3), 0.1), 10)) == 1


def test_large_worlds_keep_their_digits():
    """Doubles stay doubles, and a mean is exact to a millionth of a cell."""
    xyz = np.array([5e5, 4.5e6, 100.0]) + np.array([[0.25, 0.25, 0.25], [0.75, 0.25, 0.25]])
    points = Points(xyz, np.zeros((2, 3), np.uint8))
    thinned = evenly_thinned(lambda: [points], Grid(xyz[0] - 0.25, 1.0), 1)
    np.testing.assert_allclose(thinned.xyz - [5e5, 4.5e6, 100], [[0.5, 0.25, 0.25]], atol=1e-6)
