"""Depth errors against known depth, and the pictures of them."""

import numpy as np
import pytest

from datasets.files import DataError
from datasets.general import GeneralScans
from datasets.io import read_image_size, write_pfm
from datasets.synthetic import write_test_layout
from tools.eval_depth import depth_metrics, format_table
from tools.pictures import depth_sheet, render_cloud, turned


@pytest.fixture
def scenes(tmp_path):
    """A folder with one scan in the test layout, and predictions that are off by 3 mm on the left half."""
    write_test_layout(tmp_path / "scenes", {"scan1": 1}, width=64, height=64, views=5)
    layout = GeneralScans(tmp_path / "scenes")
    for view, _ in layout.pairs("scan1"):
        depth = layout.ground_truth("scan1", view, (64, 64)).copy()
        depth[:, :32] += 3
        write_pfm(tmp_path / "out" / "scan1" / "depth_est" / f"{view:08d}.pfm", depth)
    return layout, tmp_path / "out"


def test_metrics_of_a_known_error(scenes):
    """Half of the pixels exact and half off by 3 mm: mean 1.5, half within 2 mm, all within 4 mm."""
    layout, out = scenes
    metrics = depth_metrics(layout, out, ["scan1"], (2.0, 4.0))
    assert metrics["mean"] == pytest.approx(1.5, abs=1e-3)
    assert metrics["within_2"] == pytest.approx(0.5)
    assert metrics["within_4"] == 1.0
    assert metrics["pixels"] == 5 * 64 * 64
    assert "50.0%" in format_table({"network": metrics})


def test_a_missing_prediction_is_named(scenes):
    """A view that was not predicted is an error with its path."""
    layout, out = scenes
    (out / "scan1" / "depth_est" / "00000002.pfm").unlink()
    with pytest.raises(DataError, match=r"00000002\.pfm"):
        depth_metrics(layout, out, ["scan1"], (2.0,))


def test_scans_without_ground_truth_are_refused(scenes):
    """Nothing to compare with is an error, not a table of nothing."""
    layout, out = scenes
    for path in (layout.root / "scan1" / "gt").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no ground truth"):
        depth_metrics(layout, out, ["scan1"], (2.0,))


def test_sheet_shows_every_prediction(scenes):
    """One row per scan: image, true depth, and two tiles for each prediction, with a frame of a pixel."""
    layout, out = scenes
    sheet = depth_sheet(layout, {"a": out, "b": out}, ["scan1"])
    assert sheet.shape == (66, 66 * 6, 3)
    assert read_image_size(layout.image_path("scan1", 0)) == (64, 64)


def test_nearer_points_hide_farther_ones(scenes):
    """Of two points on one line of sight the nearer one's colour is drawn, at the pixel where the camera sees it."""
    layout, _ = scenes
    camera = layout.camera("scan1", 0)
    world_T_cam = np.linalg.inv(camera.cam_T_world)
    directions = np.linalg.inv(camera.K) @ np.array([20.0, 30.0, 1.0])
    points = np.stack([(world_T_cam @ np.append(directions * z, 1))[:3] for z in (500, 600)]).astype(np.float32)
    colors = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    for order in ([0, 1], [1, 0]):
        picture = render_cloud(points[order], colors[order], camera, (64, 64), splat=1)
        assert tuple(picture[30, 20]) == (255, 0, 0)
        assert (picture == 255).all(axis=2).sum() == 64 * 64 - 1


def test_a_turned_camera_still_looks_at_the_centre(scenes):
    """The centre keeps its place in the camera, a full turn changes nothing, and a half turn shows the other side."""
    layout, _ = scenes
    camera, center = layout.camera("scan1", 0), np.array([10.0, -20.0, 650.0])
    place = camera.cam_T_world @ np.append(center, 1)
    half = turned(camera, center, 180)
    np.testing.assert_allclose(half.cam_T_world @ np.append(center, 1), place, atol=1e-9)
    np.testing.assert_allclose(turned(half, center, 180).cam_T_world, camera.cam_T_world, atol=1e-9)
    nearer = np.linalg.inv(camera.cam_T_world) @ (place - [0, 0, 50, 0])
    assert (half.cam_T_world @ nearer)[2] == pytest.approx(place[2] + 50)
