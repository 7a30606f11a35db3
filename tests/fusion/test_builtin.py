"""The built-in fuser: the golden clouds of the CUDA program's kernel, known geometry, and defined edge cases."""

import numpy as np
import pytest
from fusion_scenes import GOLDEN, camera, plane_depth, write_scan

from datasets.files import DataError
from datasets.io import read_ply, write_image, write_pfm
from fusion.builtin import fuse_scan, fuse_views, read_views
from fusion.predictions import Predictions

SIZE = (24, 32)


def constant(*depths: float) -> np.ndarray:
    """Depth maps [N, H, W] parallel to the image."""
    return np.stack([np.full(SIZE, depth, np.float32) for depth in depths])


def grey(count: int, value: int = 100) -> np.ndarray:
    return np.full((count, *SIZE, 3), value, np.uint8)


@pytest.mark.parametrize("case", ["kd_default", "zero_and_away", "empty", "nc0"])
@pytest.mark.parametrize("gpu_fractions", [False, True])
def test_golden_clouds(case, gpu_fractions):
    """Points matched by (view, pixel) to both variants of the program's arithmetic (specs: fusibile)."""
    name = "expected" if gpu_fractions else "expected_exact_bilinear"
    expected = np.load(GOLDEN / "fusibile" / case / f"{name}.npz")
    per_view = expected["per_view"]
    thresholds = [float(expected[f"{name}"]) for name in ("prob_threshold", "disp_threshold", "num_consistent")]
    depths, images, cameras = read_views(Predictions(GOLDEN / "fusibile" / case), range(len(per_view)), thresholds[0])

    fused = list(fuse_views(depths, images, cameras, *thresholds[1:], gpu_fractions))

    points, colors, ncons, pix = (np.concatenate(field) for field in zip(*fused, strict=True))
    key = np.repeat(range(len(fused)), [len(view.pix) for view in fused]) * depths[0].size + pix
    expected_key = np.repeat(range(len(per_view)), per_view) * depths[0].size + expected["pix"]
    _, ours, theirs = np.intersect1d(key, expected_key, return_indices=True)
    same = ncons[ours] == expected["ncons"][theirs]
    different = len(key) + len(expected_key) - 2 * len(ours) + np.count_nonzero(~same)
    assert different <= max(5, (0.004 if gpu_fractions else 0.0005) * len(expected_key))
    # To keep the golden files small, they hold the coordinates and colours of every `every`-th point only.
    every = int(expected["every"])
    stored = same & (theirs % every == 0)
    ours, theirs = ours[stored], theirs[stored] // every
    distance = np.linalg.norm(points[ours].astype(float) - expected["points"][theirs], axis=1)
    near = distance < (0.06 if gpu_fractions else 0.02)
    assert np.count_nonzero(~near) <= (0.01 if gpu_fractions else 0.005) * len(near)
    assert (np.abs(colors[ours].astype(int) - expected["colors"][theirs]) <= 1).all()


def test_points_of_a_plane_lie_on_the_plane():
    normal, offset = np.array([0.2, 0.1, 1.0]), 600.0
    cameras = [camera((-20, 0, 0), 0.03), camera((0, 2, 0)), camera((25, 3, 0), -0.04)]
    depths = np.stack([plane_depth(view, normal, offset) for view in cameras])
    for fused in fuse_views(depths, grey(3), cameras, 0.2, 1):
        assert len(fused.points) > 0.8 * depths[0].size
        # Agreeing pixels are truncated but their depths are not, so on a slope points are up to a pixel's rise off.
        pixel = 600 / 128
        assert np.abs(fused.points @ normal - offset).max() < np.hypot(0.2, 0.1) * np.sqrt(2) * pixel


def test_rectified_cameras_agree_in_every_row():
    # Positions are whole numbers here: rounding errors must neither move them to a neighbour nor out of the image.
    cameras = [camera(), camera((8, 0, 0))]
    first, second = fuse_views(constant(512, 512), grey(2), cameras, 0.1, 1)
    disparity = 2
    y, x = np.mgrid[: SIZE[0], disparity : SIZE[1]]
    off_axes = ((x != 16) & (y != 12)).ravel()  # there a coordinate is exactly 0, see below
    np.testing.assert_array_equal(first.pix, (y * SIZE[1] + x).ravel()[off_axes])
    expected = np.stack([(x - 16) * 4.0, (y - 12) * 4.0, np.full(x.shape, 512.0)], axis=-1).reshape(-1, 3)[off_axes]
    np.testing.assert_allclose(first.points, expected, atol=1e-4)
    assert (first.ncons == 1).all() and (np.diff(first.pix) > 0).all()
    assert (second.pix % SIZE[1] < SIZE[1] - disparity).all()


@pytest.mark.parametrize("angle", [0.1, 0.2, 0.3])
def test_rows_of_rectified_cameras_stay_together_whatever_their_pose(angle):
    """v = y by construction, but not in floating point: the first row must neither leave the image nor move."""
    along_rows = 9.7 * np.array([np.cos(angle), 0, -np.sin(angle)])
    cameras = [camera((1.1, 2.3, 3.7) + step * along_rows, angle, focal=361.3) for step in range(2)]
    for fused in fuse_views(constant(577, 577), grey(2), cameras, 0.1, 1):
        per_row = np.bincount(fused.pix // SIZE[1], minlength=SIZE[0])
        assert (per_row == per_row[1]).all() and per_row[1] > 0
        expected = (fused.pix // SIZE[1] - 12) * 577 / 361.3 + 2.3
        np.testing.assert_allclose(fused.points[:, 1], expected, atol=1e-3)


def test_disparity_threshold_is_strict():
    # f * baseline = 1024: disparity 1 at depth 1024, 2 at depth 512.
    cameras = [camera(), camera((8, 0, 0))]
    assert all(len(view.pix) == 0 for view in fuse_views(constant(1024, 512), grey(2), cameras, 1.0, 1))
    assert all(len(view.pix) > 0 for view in fuse_views(constant(1024, 512), grey(2), cameras, 1.0 + 1e-6, 1))


def test_points_with_a_coordinate_of_exactly_zero_are_dropped():
    (only,) = fuse_views(constant(512), grey(1), [camera()], 0.1, 0)
    y, x = np.divmod(only.pix, SIZE[1])
    assert len(only.pix) == (SIZE[0] - 1) * (SIZE[1] - 1)
    assert (x != 16).all() and (y != 12).all()  # the principal point's column and row


def test_num_consistent_is_cut_to_a_whole_number():
    cameras = [camera((8 * i, 0, 0)) for i in range(3)]
    needs_two = [len(view.pix) for view in fuse_views(constant(512, 512, 512), grey(3), cameras, 0.1, 2)]
    assert [len(view.pix) for view in fuse_views(constant(512, 512, 512), grey(3), cameras, 0.1, 2.9)] == needs_two
    assert min(needs_two) > 0


def test_coinciding_centres_accept_any_depth():
    first, _ = fuse_views(constant(400, 600), grey(2), [camera(), camera()], 0.1, 1)
    np.testing.assert_allclose(first.points[:, 2], 500, atol=1e-3)


def test_all_cameras_take_the_first_ones_intrinsics():
    cameras = [camera(), camera((8, 0, 0), focal=1000.0)]
    same = [camera(), camera((8, 0, 0))]
    for fused, expected in zip(
        fuse_views(constant(512, 512), grey(2), cameras, 0.1, 1),
        fuse_views(constant(512, 512), grey(2), same, 0.1, 1),
        strict=True,
    ):
        np.testing.assert_array_equal(fused.points, expected.points)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_depth_that_is_not_finite_never_agrees_and_gives_no_point(bad):
    depths = constant(512, 512)
    depths[1, 5, 7] = bad
    cameras = [camera(), camera((8, 0, 0))]
    first, second = fuse_views(depths, grey(2), cameras, 1e9, 0)
    assert 5 * SIZE[1] + 7 not in second.pix
    assert first.ncons[first.pix == 5 * SIZE[1] + 9] == 0  # 9 - disparity 2 = 7
    assert np.isfinite(first.points).all() and np.isfinite(second.points).all()


def test_depth_zero_is_the_camera_centre_and_agrees_with_nobody():
    depths = constant(512, 0)
    _, second = fuse_views(depths, grey(2), [camera((1, 2, 3)), camera((9, 2, 3))], 0.1, 0)
    np.testing.assert_allclose(second.points, np.tile([9, 2, 3], (len(second.points), 1)))
    assert len(second.points) == depths[0].size and (second.ncons == 0).all()


def test_colours_are_means_cut_to_whole_numbers():
    cameras = [camera(), camera((8, 0, 0))]
    images = np.concatenate([grey(1, 100), grey(1, 103)])
    images[..., 2] = 200
    first, _ = fuse_views(constant(512, 512), images, cameras, 0.1, 1)
    np.testing.assert_array_equal(first.colors, np.tile([101, 101, 200], (len(first.colors), 1)))


def test_confidence_threshold_in_float32_and_nan_keeps_the_depth(tmp_path):
    confidence = np.full(SIZE, 0.7, np.float32)  # as float32 equal to the threshold 0.7, as float64 below it
    confidence[0, 0] = np.nan
    confidence[0, 1] = 0.69
    folder = write_scan(tmp_path / "scan 1", constant(512), [camera()], [confidence])
    depths, _, _ = read_views(Predictions(folder), [0], 0.7)
    assert depths[0, 0, 1] == 0 and (depths == 0).sum() == 1


def test_fuse_scan_writes_what_the_views_give(tmp_path):
    cameras = [camera((8 * i, 0, 0)) for i in range(3)]
    folder = write_scan(tmp_path / "scan 1", constant(512, 512, 512), cameras)
    ply = tmp_path / "new folder" / "cloud.ply"
    count = fuse_scan(folder, [2, 0, 1], ply, 0.3, 0.1, 2)
    points, colors = read_ply(ply)
    expected = [view.points for view in fuse_views(constant(512, 512, 512), grey(3), cameras, 0.1, 2)]
    assert count == len(points) > 0
    np.testing.assert_array_equal(points, np.concatenate(expected))
    assert np.abs(colors.astype(int) - 100).max() <= 1


def test_one_view_alone(tmp_path):
    folder = write_scan(tmp_path / "scan 1", constant(512), [camera()])
    assert fuse_scan(folder, [0], tmp_path / "all.ply", 0.3, 0.1, 0) > 0
    assert fuse_scan(folder, [0], tmp_path / "none.ply", 0.3, 0.1, 1) == 0
    points, _ = read_ply(tmp_path / "none.ply")
    assert points.shape == (0, 3)


def test_mistakes_name_the_file_and_leave_no_cloud(tmp_path):
    folder = write_scan(tmp_path / "scan 1", constant(512, 512), [camera(), camera((8, 0, 0))])
    ply = tmp_path / "cloud.ply"
    with pytest.raises(DataError, match="no view to fuse"):
        fuse_scan(folder, [], ply, 0.3, 0.1, 1)
    with pytest.raises(DataError, match=r"depth_est/00000007\.pfm: no such file"):
        fuse_scan(folder, [0, 7], ply, 0.3, 0.1, 1)
    write_image(folder / "images" / "00000001.jpg", np.zeros((24, 30, 3), np.uint8))
    with pytest.raises(DataError, match=r"images/00000001\.jpg: is 30x24, but .* is 32x24"):
        fuse_scan(folder, [0, 1], ply, 0.3, 0.1, 1)
    write_pfm(folder / "depth_est" / "00000001.pfm", np.ones((20, 32), np.float32))
    with pytest.raises(DataError, match=r"depth_est/00000001\.pfm: is 32x20, but view 0 is 32x24"):
        fuse_scan(folder, [0, 1], ply, 0.3, 0.1, 1)
    assert not ply.exists()
