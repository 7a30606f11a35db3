"""What becomes of fused points: boxes, voxels, thinning, normals, and flags that cannot be."""

import itertools

import numpy as np
import pytest
from plyfile import PlyData

from datasets.files import DataError
from datasets.formats.ply import read_ply
from fusion.clouds import CloudOptions, Points, merge_voxels, thin, write_cloud


def random_points(count: int, seed: int = 1, normals: bool = False) -> Points:
    """Points in the cube from -50 to 50."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32) if normals else None
    xyz = rng.uniform(-50, 50, (count, 3)).astype(np.float32)
    return Points(xyz, rng.integers(0, 256, (count, 3), dtype=np.uint8), vectors)


def split(points: Points, *sizes: int) -> list[Points]:
    """The points in parts of these sizes, and a last one with the rest."""
    bounds = np.cumsum([0, *sizes, len(points) - sum(sizes)])
    return [points[low:high] for low, high in itertools.pairwise(bounds)]


def one(*numbers: float) -> np.ndarray:
    return np.array([numbers], np.float32)


# ---------------------------------------------------------------- box


def test_box_keeps_what_lies_in_it_faces_included(tmp_path):
    points = random_points(1000)
    points.xyz[:3] = [[-10, 0, 0], [20, 30, 40], [20.001, 0, 0]]
    bbox = (-10.0, -20.0, -30.0, 20.0, 30.0, 40.0)
    count = write_cloud(tmp_path / "c.ply", split(points, 100, 0, 500), CloudOptions(bbox=bbox))
    inside = ((points.xyz >= bbox[:3]) & (points.xyz <= bbox[3:])).all(axis=1)
    assert inside[:3].tolist() == [True, True, False] and count == inside.sum()
    xyz, colors = read_ply(tmp_path / "c.ply")
    np.testing.assert_array_equal(xyz, points.xyz[inside])
    np.testing.assert_array_equal(colors, points.colors[inside])


# ---------------------------------------------------------------- voxels


@pytest.mark.parametrize("sizes", [(), (1,), (700, 0, 1), (100,) * 9])
@pytest.mark.parametrize("normals", [False, True])
def test_a_voxel_becomes_the_mean_of_its_points(sizes, normals):
    """However the cloud is divided into parts."""
    points = random_points(1000, normals=normals)
    (merged,) = merge_voxels(split(points, *sizes), 12.5)
    groups = {}
    for index, xyz in enumerate(points.xyz):
        groups.setdefault(tuple(np.floor(xyz.astype(float) / 12.5)), []).append(index)
    assert len(merged) == len(groups) < 520
    # -50 to 50 is 8 voxels along each axis; a mean lies in its points' voxel.
    found = {tuple(np.floor(xyz.astype(float) / 12.5)): i for i, xyz in enumerate(merged.xyz)}
    for cell, members in groups.items():
        i = found[cell]
        np.testing.assert_allclose(merged.xyz[i], points.xyz[members].mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(merged.colors[i], points.colors[members].mean(axis=0), atol=0.51)
        if normals:
            mean = points.normals[members].mean(axis=0)
            np.testing.assert_allclose(merged.normals[i], mean / np.linalg.norm(mean), atol=1e-5)
    assert (merged.normals is None) is not normals


def test_voxels_do_not_depend_on_the_parts():
    points = random_points(3000, normals=True)
    (whole,), (parts,) = merge_voxels([points], 7.0), merge_voxels(split(points, 10, 1000, 30), 7.0)
    np.testing.assert_allclose(parts.xyz, whole.xyz, atol=1e-5)
    assert np.abs(parts.colors.astype(int) - whole.colors).max() <= 1


def test_voxels_on_both_sides_of_zero_are_different_and_far_points_have_theirs():
    xyz = np.concatenate([one(-0.1, 0.1, 0.1), one(0.1, 0.1, 0.1), one(3e38, 0, 0), one(3e38, 0, 0)])
    (merged,) = merge_voxels([Points(xyz, np.zeros((4, 3), np.uint8))], 1e-3)
    np.testing.assert_allclose(merged.xyz[np.argsort(merged.xyz[:, 0])], xyz[:3], rtol=1e-6)


def test_opposite_normals_have_no_mean():
    normals = np.concatenate([one(0, 0, 1), one(0, 0, -1)])
    points = Points(np.ones((2, 3), np.float32), np.zeros((2, 3), np.uint8), normals)
    (merged,) = merge_voxels([points], 1.0)
    np.testing.assert_array_equal(merged.normals, [[0, 0, 0]])


# ---------------------------------------------------------------- thinning


@pytest.mark.parametrize("sizes", [(), (1,), (700, 0, 1), (100,) * 9])
def test_thinning_does_not_depend_on_the_parts(sizes):
    points = random_points(1000, normals=True)
    (whole,), (parts,) = thin([points], 150, seed=3), thin(split(points, *sizes), 150, seed=3)
    assert len(whole) == 150
    for name in ("xyz", "colors", "normals"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    order = [int(np.flatnonzero((points.xyz == xyz).all(axis=1))[0]) for xyz in whole.xyz]
    assert order == sorted(set(order))  # each at most once, in the cloud's order


def test_thinning_is_uniform_over_the_whole_cloud():
    """Early and late points are kept alike: of 100,000 in ten parts, 10,000, about 1000 of each part."""
    xyz = np.repeat(np.arange(10, dtype=np.float32), 10_000)[:, None].repeat(3, axis=1)
    parts = [Points(chunk, np.zeros(chunk.shape, np.uint8)) for chunk in np.split(xyz, 10)]
    (kept,) = thin(parts, 10_000, seed=0)
    per_part = np.bincount(kept.xyz[:, 0].astype(int))
    assert per_part.sum() == 10_000 and np.abs(per_part - 1000).max() < 5 * np.sqrt(1000 * 0.9)


def test_thinning_by_seed():
    points = random_points(1000)
    (first,), (again,), (other,) = (thin([points], 100, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.xyz, again.xyz)
    assert not np.array_equal(first.xyz, other.xyz)


@pytest.mark.parametrize("max_points", [1000, 5000])
def test_few_points_all_stay(max_points):
    points = random_points(1000)
    (kept,) = thin(split(points, 300, 300), max_points, seed=0)
    np.testing.assert_array_equal(kept.xyz, points.xyz)


# ---------------------------------------------------------------- whole clouds


def test_box_then_voxels_then_thinning(tmp_path):
    points = random_points(5000, normals=True)
    options = CloudOptions(normals=True, bbox=(-20.0, -20.0, -20.0, 20.0, 20.0, 20.0), voxel=10.0, max_points=40)
    assert write_cloud(tmp_path / "c.ply", split(points, 1000, 2000), options) == 40  # of 4^3 voxels
    vertices = PlyData.read(tmp_path / "c.ply")["vertex"].data
    xyz = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    assert len(np.unique(np.floor(xyz / 10), axis=0)) == 40 and np.abs(xyz).max() < 20
    normals = np.stack([vertices[name] for name in ("nx", "ny", "nz")], axis=1)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        CloudOptions(),
        CloudOptions(normals=True),
        CloudOptions(bbox=(90.0, 90.0, 90.0, 99.0, 99.0, 99.0), voxel=1.0, max_points=5),
        CloudOptions(voxel=1.0),
        CloudOptions(max_points=5),
    ],
)
@pytest.mark.parametrize("parts", [0, 2])
def test_empty_clouds_are_valid_files(tmp_path, options, parts):
    nothing = random_points(0, normals=options.normals)
    assert write_cloud(tmp_path / "c.ply", [nothing] * parts, options) == 0
    xyz, colors = read_ply(tmp_path / "c.ply")
    assert xyz.shape == colors.shape == (0, 3)


@pytest.mark.parametrize("options", [CloudOptions(), CloudOptions(voxel=1000.0), CloudOptions(max_points=10)])
def test_points_that_are_not_finite_are_left_out(tmp_path, options):
    points = random_points(5)
    points.xyz[1, 0], points.xyz[3, 2] = np.nan, -np.inf
    write_cloud(tmp_path / "c.ply", [points], options)
    xyz, _ = read_ply(tmp_path / "c.ply")
    np.testing.assert_allclose(xyz.astype(float).mean(axis=0), points.xyz[[0, 2, 4]].mean(axis=0), rtol=0.9)
    assert np.isfinite(xyz).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bbox": (0.0, 0.0, 0.0, 1.0, 1.0)}, "--bbox=0,0,0,1,1: needs six numbers x0,y0,z0,x1,y1,z1"),
        ({"bbox": (0.0, 0.0, 0.0, 1.0, 1.0, float("nan"))}, "--bbox=0,0,0,1,1,nan: needs six numbers"),
        ({"bbox": (0.0, 0.0, 0.0, 1.0, 0.0, 1.0)}, "--bbox=0,0,0,1,0,1: is an empty box; x0 < x1"),
        ({"bbox": (0.0, 2.0, 0.0, 1.0, 1.0, 1.0)}, "--bbox=0,2,0,1,1,1: is an empty box"),
        ({"voxel": 0.0}, "--voxel 0: must be a positive size"),
        ({"voxel": -1.5}, "--voxel -1.5: must be a positive size"),
        ({"voxel": float("nan")}, "--voxel nan: must be a positive size"),
        ({"voxel": float("inf")}, "--voxel inf: must be a positive size"),
        ({"max_points": 0}, "--max_points 0: must be at least 1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(DataError) as error:
        CloudOptions(**options)
    assert message in str(error.value)
