"""Points of a surface: the file they are read from, and their depth in a view."""

import numpy as np
import pytest

from datasets.camera import Camera
from datasets.files import DataError
from datasets.formats.points import read_points
from datasets.layouts.general import GeneralScans, SurfacePoints, nearest_points, without_isolated
from datasets.synthetic.scans import write_test_layout


@pytest.mark.parametrize("text", ["1 2 3\n-4.5 5e1 6\n", "1\t2 3\r\n\r\n -4.5 5e1 6", "\n\n1 2 3 \n-4.5 50 6\n\n"])
def test_points_are_read(tmp_path, text):
    (tmp_path / "points.txt").write_bytes(text.encode())
    np.testing.assert_array_equal(read_points(tmp_path / "points.txt"), [[1, 2, 3], [-4.5, 50, 6]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no point"),
        ("\n \n", "holds no point"),
        ("1 2 3\n4 5\n", "line 2 is not x y z of a point: '4 5'"),
        ("1 2 3 4\n", "line 1 is not"),
        ("x y z\n1 2 3\n", "line 1 is not"),
        ("1 2 nan\n", "line 1 is not"),
        ("nan 2 3\n", "line 1 is not"),
        ("1 -inf 2\n", "line 1 is not"),
        ("1 2 1e39\n", "line 1 is not"),
    ],
)
def test_anything_but_points_is_refused(tmp_path, text, message):
    path = tmp_path / "points.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_points(path)
    assert str(error.value).startswith(f"{path}: ")


CAMERA = Camera(np.array([[10.0, 0, 16], [0, 10, 8], [0, 0, 1]]), np.eye(4))
SIZE = (32, 16)


def test_a_point_lies_at_the_pixel_nearest_to_its_projection():
    depth = nearest_points(np.array([[0.24, -0.14, 5.0]]), CAMERA, SIZE, 8)  # at 16.48, 7.72
    assert depth.shape == (16, 32) and depth.dtype == np.float32
    assert depth[8, 16] == 5 and (depth > 0).sum() == 1


def test_of_points_in_a_cell_the_nearest_to_the_camera_is_kept():
    """Pixels 16..23 x 8..15 are a cell of 8; with cells of one pixel all points stay."""
    pixels = np.array([[17, 9], [23, 15], [20, 12], [24, 9], [17, 7]])
    z = np.array([6.0, 4, 5, 9, 7])
    points = np.column_stack([(pixels - (16, 8)) / 10 * z[:, None], z])
    depth = nearest_points(points, CAMERA, SIZE, 8)
    assert {(x, y): depth[y, x] for y, x in np.argwhere(depth > 0)} == {(23, 15): 4, (24, 9): 9, (17, 7): 7}
    assert sorted(nearest_points(points, CAMERA, SIZE, 1).max(axis=0)[[17, 20, 23, 24]]) == [4, 5, 7, 9]


def test_isolated_points_are_left_out():
    """Of a grid and two points off it these go first; the order of the others stays, and a lone point does too."""
    grid = np.stack(np.mgrid[:7, :7, :2], axis=-1).reshape(-1, 3).astype(float)
    points = np.insert(grid, [20, 60], [[3, 3, 9], [20, 3, 0]], axis=0)
    np.testing.assert_array_equal(without_isolated(points, 0.02), grid)
    np.testing.assert_array_equal(without_isolated(points, 0), points)
    assert len(without_isolated(points, 0.5)) == 50 and len(without_isolated(grid[:1], 0.5)) == 1


def test_points_behind_the_camera_and_outside_the_image_are_left_out():
    """The first pixel's edges are half a pixel from its centre, as everywhere."""
    pixels = np.array([[-0.4, 0], [-0.6, 0], [31.4, 15], [31.6, 15], [16, 15.6]])
    points = np.column_stack([(pixels - (16, 8)) / 10 * 5, np.full(5, 5.0)])
    behind = np.array([[0, 0, -5.0], [0, 0, 0]])
    depth = nearest_points(np.vstack([points, behind]), CAMERA, SIZE, 1)
    assert sorted(map(tuple, np.argwhere(depth > 0))) == [(0, 0), (15, 31)]


def test_depth_of_a_scans_points_at_another_size(tmp_path):
    """Points taken off a view's exact depth have it in that view, also where the image is scaled."""
    write_test_layout(tmp_path, {"scan1": 1}, width=64, height=64, views=3)
    layout = GeneralScans(tmp_path)
    assert layout.depth_of_points("scan1", 0, (64, 64)) is None
    truth, camera = layout.ground_truth("scan1", 0, (64, 64)), layout.camera("scan1", 0)
    y, x = np.mgrid[4:64:8, 4:64:8].reshape(2, -1)
    z = truth[y, x]
    in_world = np.linalg.inv(camera.projection()) @ np.stack([x * z, y * z, z, np.ones_like(z)])
    np.savetxt(tmp_path / "scan1" / "sparse_points.txt", in_world[:3].T)
    depth = layout.depth_of_points("scan1", 0, (64, 64))
    np.testing.assert_allclose(depth[y, x], z, rtol=1e-5)
    assert (depth > 0).sum() == 64
    half = layout.depth_of_points("scan1", 0, (32, 64), SurfacePoints(cell=1))
    np.testing.assert_allclose(half[y, x // 2], z, rtol=1e-5)
