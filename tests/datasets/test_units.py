"""units.json and the similarity in it."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from datasets.camera import Camera
from datasets.files import DataError
from datasets.units import Units, read_units, similarity, transformed, transformed_camera, write_units

T = similarity(2.5, Rotation.from_euler("xyz", [0.3, 1, -2]).as_matrix(), np.array([10.0, -3, 1]))


def test_units_come_back(tmp_path):
    units = Units("metres", "GPS of 12 photos", (0.0, 0.0, 1.0), T, 0.7, (48.1, 11.5, 520.0))
    write_units(tmp_path / "units.json", units)
    found = read_units(tmp_path / "units.json")
    np.testing.assert_array_equal(found.world_T_scan, T)
    assert found.record() == units.record() and abs(found.scale - 2.5) < 1e-12
    assert json.loads((tmp_path / "units.json").read_text())["up"] == [0, 0, 1]
    assert read_units(tmp_path / "other.json") is None


@pytest.mark.parametrize(
    "change",
    [
        {"world_T_scan": [[1, 0], [0, 1]]},
        {"world_T_scan": np.diag([1.0, 1, 2, 1]).tolist()},
        {"world_T_scan": np.diag([1.0, 1, -1, 1]).tolist()},
        {"world_T_scan": None},
        {"units": "feet"},
        {"up": [0, 1]},
        {"up": [0, float("nan"), 1]},
        {"residual": "small"},
    ],
)
def test_damaged_units_are_refused(tmp_path, change):
    """In one line that names the file: a wrong length is worse than none."""
    path = tmp_path / "units.json"
    path.write_text(json.dumps(Units().record() | change))
    with pytest.raises(DataError, match=r"units\.json: is damaged"):
        read_units(path)


def test_a_camera_sees_the_same_points_after():
    """At the same pixels, and at depths times the scale; its depth range scales with them."""
    camera = Camera(
        np.array([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]]), similarity(R=T[:3, :3] / 2.5), (2.0, 0.1, 192.0, 9.0)
    )
    points = np.random.default_rng(0).normal(size=(20, 3)) + np.array([0, 0, 5])
    u, v, z = camera.project(points)
    moved = transformed_camera(T, camera)
    found = moved.project(transformed(T, points)[0])
    np.testing.assert_allclose(found, (u, v, 2.5 * z), rtol=1e-9)
    assert moved.depth_line == (5.0, 0.25, 192.0, 22.5)


def test_normals_turn_and_keep_their_length():
    normals = np.float32([[0, 0, 1], [1, 0, 0]])
    xyz, turned = transformed(T, np.zeros((2, 3), np.float32), normals)
    np.testing.assert_allclose(turned, normals @ T[:3, :3].T / 2.5, atol=1e-6)
    assert xyz.dtype == np.float32 and turned.dtype == np.float32
