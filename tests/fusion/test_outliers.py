"""Lone points and islands of known clouds go; surfaces of any spacing, and their borders, stay."""

import itertools

import numpy as np
import pytest

from fusion import outliers
from fusion.cells import FAR, CellTable, Grid, coarser_keys
from fusion.clouds import Points
from fusion.outliers import select, spaced_grid
from fusion.store import PointStore


def sheet(count: int, spacing: float, at=(0.0, 0.0, 0.0), seed: int = 0) -> np.ndarray:
    """A square of count x count points in a plane, a tenth of the spacing rough."""
    x, y = np.mgrid[:count, :count] * spacing
    rough = np.random.default_rng(seed).normal(size=(count * count, 3)) * spacing / 10
    return np.stack([x.ravel(), y.ravel(), np.zeros(count * count)], axis=1) + rough + at


def cloud(*parts: np.ndarray) -> Points:
    xyz = np.concatenate(parts).astype(np.float32)
    return Points(xyz, np.zeros(xyz.shape, np.uint8))


def kept(folder, points: Points, isolation: float = 3.0, island: float = 0.0) -> np.ndarray:
    """Which points stay."""
    with PointStore(folder) as store:
        for start in range(0, len(points), 1000):
            store.append(points[start : start + 1000])
        return select(store, isolation, island).mask(points.xyz)


# ---------------------------------------------------------------- cells


def test_cells_are_counted_and_found():
    """Each point in the cell that holds it; far ones in none."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-5, 5, (200_000, 3)).astype(np.float32)
    xyz[:3] = [[1e9, 0, 0], [np.nan, 0, 0], [0, -np.inf, 0]]
    grid, table = Grid(np.zeros(3), 0.11), CellTable()
    places = np.concatenate([table.add(grid.keys(part)) for part in np.array_split(xyz, 7)])
    assert (places[:3] == -1).all() and (grid.keys(xyz)[:3] == FAR).all()
    cells, index, counts = np.unique(np.floor(xyz[3:] / 0.11), axis=0, return_inverse=True, return_counts=True)
    assert len(table) == len(cells) and table.counts.sum() == len(xyz) - 3
    np.testing.assert_array_equal(table.counts[places[3:]], counts[index.ravel()])
    np.testing.assert_array_equal(table.find(grid.keys(xyz)), places)
    np.testing.assert_array_equal(table.find(grid.keys(xyz + 100)), -1)


def test_coarser_cells_hold_the_finer_ones():
    """On both sides of the origin, at every level."""
    xyz = np.random.default_rng(1).uniform(-50, 50, (1000, 3))
    keys = Grid(np.zeros(3), 0.25).keys(xyz)
    for level in range(1, 5):
        keys = coarser_keys(keys)
        np.testing.assert_array_equal(keys, Grid(np.zeros(3), 0.25 * 2**level).keys(xyz))


def test_sums_around_a_cell():
    """Over its 27 neighbours, with and without itself."""
    cells = np.array(list(itertools.product(range(4), repeat=3)), float) + 0.5
    table = CellTable()
    places = table.add(Grid(np.zeros(3), 1.0).keys(cells), np.arange(1, 65))
    corner, middle = places[0], places[np.flatnonzero((cells == 1.5).all(axis=1))[0]]
    sums = table.around(table.counts[:, None], np.array([corner, middle], np.int32))[:, 0]
    near = [(np.abs(cells - at).max(axis=1) <= 1) for at in (0.5, 1.5)]
    assert sums.tolist() == [np.arange(1, 65)[mask].sum() for mask in near]
    without = table.around(table.counts[:, None], np.array([corner], np.int32), itself=False)[:, 0]
    assert without[0] == sums[0] - 1


# ---------------------------------------------------------------- points


@pytest.mark.parametrize("spacing", [1e-3, 1.0, 50.0])
def test_a_surface_stays_whole(tmp_path, spacing):
    """With its borders and corners, in any unit."""
    assert kept(tmp_path, cloud(sheet(100, spacing)), island=0.0005).all()


def test_the_spacing_is_the_clouds_own(tmp_path):
    """Cells of twice the spacing, however many points there are beside the sample, and whatever lies far off."""
    with PointStore(tmp_path) as store:
        store.append(cloud(sheet(600, 0.5), np.full((50, 3), 1e6)))
        assert 0.8 < spaced_grid(store).size < 1.3


def test_lone_points_go(tmp_path):
    """Points that float at ten spacings above a surface, and one far off; no point of the surface."""
    surface = sheet(100, 1.0)
    floating = np.array([[x, y, 10.0] for x in range(10, 90, 20) for y in range(10, 90, 20)])
    points = cloud(surface, floating, np.array([[1e5, 0, 0], [0, 0, 3000]]))
    stays = kept(tmp_path, points)
    assert stays[: len(surface)].all() and not stays[len(surface) :].any()


def test_a_sparse_surface_stays_beside_a_dense_one(tmp_path):
    """A wall with a tenth of the density: its points are far apart, but alike. But for a few where both meet."""
    dense, sparse = sheet(150, 1.0), sheet(30, 8.0, at=(200, 0, 0))
    stays = kept(tmp_path, cloud(dense, sparse), island=0.0005)
    assert stays[: len(dense)].all() and stays[len(dense) :].mean() > 0.95


def test_islands_go(tmp_path):
    """A dense clump of 20 points that floats twenty spacings off; not one that touches the surface."""
    rng = np.random.default_rng(3)
    surface = sheet(150, 1.0)
    clump = rng.normal(size=(20, 3)) * 0.5
    floating, touching = clump + np.array([50, 50, 20]), clump + np.array([50, 50, 1])
    stays = kept(tmp_path, cloud(surface, floating, touching), isolation=0, island=0.002)
    assert stays[: len(surface)].all()
    assert not stays[len(surface) : len(surface) + 20].any() and stays[len(surface) + 20 :].all()


def test_rules_that_are_off_take_nothing(tmp_path):
    points = cloud(sheet(20, 1.0), np.array([[500.0, 0, 0]]))
    assert kept(tmp_path, points, isolation=0, island=0).all()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_tiny_clouds(tmp_path, count):
    """There is nothing to compare with: no error."""
    points = cloud(np.arange(3.0 * count).reshape(-1, 3))
    assert kept(tmp_path, points, island=0.0005).shape == (count,)


def test_many_views_of_one_surface_change_nothing(tmp_path):
    """Ten times the points on the surface: the lone points still go, the surface stays."""
    surface = np.concatenate([sheet(80, 1.0, seed=seed) for seed in range(10)])
    stays = kept(tmp_path, cloud(surface, np.array([[40.0, 40, 12], [20, 20, 15]])))
    assert stays[:-2].all() and not stays[-2:].any()


def test_cells_of_a_large_cloud_are_bounded(tmp_path, monkeypatch):
    """They are larger then, the same as if they had been so from the start, and lone points still go."""
    monkeypatch.setattr(outliers, "_MOST_CELLS", 300)
    points = cloud(sheet(60, 1.0), np.array([[30.0, 30.0, 60.0]]))
    with PointStore(tmp_path) as store:
        for start in range(0, len(points), 100):
            store.append(points[start : start + 100])
        chosen = select(store, 3.0, 0.0)
        fine = spaced_grid(store)
    assert len(chosen.table) <= 300 and chosen.grid.size / fine.size in (2, 4, 8)
    expected = CellTable()
    expected.add(chosen.grid.keys(points.xyz))
    assert dict(zip(chosen.table.keys, chosen.table.counts, strict=True)) == dict(
        zip(expected.keys, expected.counts, strict=True)
    )
    assert chosen.mask(points.xyz).tolist() == [True] * 3600 + [False]
