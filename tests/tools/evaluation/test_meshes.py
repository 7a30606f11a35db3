"""Meshes are judged by their faces: evenly sampled, whatever their triangles look like."""

import numpy as np
import pytest
from helpers import error_line, run_program, succeed
from plyfile import PlyData, PlyElement
from scipy.spatial import cKDTree

from datasets.files import DataError
from datasets.formats.ply import write_ply
from tools.evaluation.clouds import read_finite_points
from tools.evaluation.meshes import sampled, surface_points

SQUARE = np.array([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]], float)


def write_mesh(path, vertices: np.ndarray, faces) -> None:
    corners = np.array([tuple(row) for row in vertices], [(axis, "f8") for axis in "xyz"])
    triangles = np.empty(len(faces), [("vertex_indices", "i4", (len(faces[0]),))])
    triangles["vertex_indices"] = faces
    PlyData([PlyElement.describe(corners, "vertex"), PlyElement.describe(triangles, "face")]).write(path)


def triangles_of(vertices, faces) -> np.ndarray:
    return vertices[np.array(faces)]


@pytest.mark.parametrize("faces", [[[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]])
def test_a_square_is_covered_evenly(faces):
    """One point for each area of spacing x spacing; no place is farther from a point than one and a half of it."""
    points = sampled(triangles_of(SQUARE, faces), 0.1)
    assert len(points) == 10_000
    y, x = np.mgrid[0:10:0.05, 0:10:0.05]
    grid = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    assert cKDTree(points).query(grid)[0].max() < 0.15
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=10)
    assert abs(counts - 100).max() <= 8  # of random points some square of 100 would hold 70


def test_points_follow_the_area_and_not_the_triangles():
    """A strip of a thousand slivers gets as many points as one triangle of its size, and a flat one gets none."""
    x = np.linspace(0, 10, 1001)
    lower, upper = (np.stack([x, np.full_like(x, y), np.zeros_like(x)], axis=1) for y in (20, 30))
    slivers = np.stack([lower[:-1], lower[1:], upper[:-1]], axis=1)
    flat = np.array([[[0, 0, 0], [1, 1, 1], [2, 2, 2]]], float)
    points = sampled(np.concatenate([slivers, flat, triangles_of(SQUARE, [[0, 1, 2]])]), 0.1)
    assert len(points) == 10_000
    assert np.count_nonzero(points[:, 1] > 15) == pytest.approx(5000, abs=2)
    assert (points[:, 2] == 0).all()


def test_what_cannot_be_sampled(tmp_path):
    """A surface too large for its spacing, and faces without an area; a corner that is not finite drops its faces."""
    write_mesh(tmp_path / "mesh.ply", SQUARE * 1e6, [[0, 1, 2, 3]])
    with pytest.raises(DataError, match=r"mesh\.ply: 1e\+14 of surface need over 30000000 points 0\.1 apart"):
        surface_points(tmp_path / "mesh.ply", SQUARE * 1e6, 0.1)
    write_mesh(tmp_path / "mesh.ply", SQUARE, [[0, 0, 1]])
    with pytest.raises(DataError, match="its faces have no area"):
        read_finite_points(tmp_path / "mesh.ply", 0.1)
    vertices = np.concatenate([SQUARE, [[np.nan, 0, 0]]])
    write_mesh(tmp_path / "mesh.ply", vertices, [[0, 1, 2], [0, 2, 4]])
    points, dropped, _ = read_finite_points(tmp_path / "mesh.ply", 0.1)
    assert len(points) == 5000 and dropped == 1


def test_other_meshes_are_named_with_the_way_to_convert_them(tmp_path):
    with pytest.raises(DataError, match=r"room\.OBJ: is no PLY; convert it, .* trimesh\.load\('a\.obj'"):
        read_finite_points(tmp_path / "room.OBJ", 0.1)


@pytest.mark.parametrize("swapped", [False, True])
def test_eval_cloud_judges_the_surface(tmp_path, swapped):
    """Two triangles and the points of their square: everything is found, not four corners."""
    write_mesh(tmp_path / "mesh.ply", SQUARE, [[0, 1, 2], [0, 2, 3]])
    x, y = np.meshgrid(np.linspace(0, 10, 45), np.linspace(0, 10, 45))
    write_ply(tmp_path / "truth.ply", np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1), np.zeros((45 * 45, 3)))
    names = ("truth.ply", "mesh.ply") if swapped else ("mesh.ply", "truth.ply")
    files = [f"--{flag}={tmp_path / name}" for flag, name in zip(("cloud", "truth"), names, strict=True)]
    printed = succeed(run_program("tools/eval_cloud.py", *files, "--threshold", "0.2"))
    assert printed.splitlines()[-4].split()[1:] == ["100.00%"] * 3
    assert "mesh.ply: is a mesh, judged by 40000 points 0.05 apart" in printed


def test_a_large_mesh_needs_a_larger_threshold(tmp_path):
    write_mesh(tmp_path / "mesh.ply", SQUARE * 1e4, [[0, 1, 2, 3]])
    result = run_program(
        "tools/eval_cloud.py", "--cloud", tmp_path / "mesh.ply", "--truth", tmp_path / "mesh.ply", "--threshold", "0.2"
    )
    assert "judge it with a larger threshold, or give a cloud" in error_line(result)
