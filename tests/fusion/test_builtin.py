"""The built-in fuser: the golden clouds of the CUDA program's kernel, known geometry, and defined edge cases.

Every test of the fusion itself runs with both implementations: numba, and torch (by default on its CPU device).
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from fusion_scenes import GOLDEN, camera, plane_depth, write_scan
from plyfile import PlyData

from datasets.files import DataError
from datasets.formats.images import write_image
from datasets.formats.pfm import write_pfm
from datasets.formats.ply import read_ply
from datasets.predictions import Predictions
from fusion.builtin import fuse_scan, fuse_views, read_views, rebuilt
from fusion.clouds import CloudOptions
from fusion.others import other_views

SIZE = (24, 32)


def constant(*depths: float) -> np.ndarray:
    """Depth maps [N, H, W] parallel to the image."""
    return np.stack([np.full(SIZE, depth, np.float32) for depth in depths])


def grey(count: int, value: int = 100) -> np.ndarray:
    return np.full((count, *SIZE, 3), value, np.uint8)


@pytest.fixture
def torch_device(place) -> torch.device:
    """Where torch fuses."""
    place.needs(values=True, float64=True, dtype=torch.float32)
    return place.device


@pytest.fixture(params=["numba", "torch"])
def device(request, place, torch_device) -> torch.device | None:
    """What chooses the implementation."""
    if request.param == "torch":
        return torch_device
    place.needs(device="cpu")
    return None


@pytest.fixture
def fuse(device) -> Callable:
    """`fuse_views` of one implementation."""
    return functools.partial(fuse_views, device=device)


@pytest.mark.parametrize("case", ["kd_default", "zero_and_away", "empty", "nc0"])
@pytest.mark.parametrize("gpu_fractions", [False, True])
def test_golden_clouds(fuse, case, gpu_fractions):
    """Points matched by (view, pixel) to both variants of the program's arithmetic (docs/method.md, section 9)."""
    name = "expected" if gpu_fractions else "expected_exact_bilinear"
    expected = np.load(GOLDEN / "fusibile" / case / f"{name}.npz")
    per_view = expected["per_view"]
    thresholds = [float(expected[f"{name}"]) for name in ("prob_threshold", "disp_threshold", "num_consistent")]
    depths, images, cameras = read_views(Predictions(GOLDEN / "fusibile" / case), range(len(per_view)), thresholds[0])

    fused = list(fuse(depths, images, cameras, *thresholds[1:], gpu_fractions))

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


def test_points_of_a_plane_lie_on_the_plane(fuse):
    normal, offset = np.array([0.2, 0.1, 1.0]), 600.0
    cameras = [camera((-20, 0, 0), 0.03), camera((0, 2, 0)), camera((25, 3, 0), -0.04)]
    depths = np.stack([plane_depth(view, normal, offset) for view in cameras])
    for fused in fuse(depths, grey(3), cameras, 0.2, 1):
        assert len(fused.points) > 0.8 * depths[0].size
        # Agreeing pixels are truncated but their depths are not, so on a slope points are up to a pixel's rise off.
        pixel = 600 / 128
        assert np.abs(fused.points @ normal - offset).max() < np.hypot(0.2, 0.1) * np.sqrt(2) * pixel


def test_rectified_cameras_agree_in_every_row(fuse):
    # Positions are whole numbers here: rounding errors must neither move them to a neighbour nor out of the image.
    cameras = [camera(), camera((8, 0, 0))]
    first, second = fuse(constant(512, 512), grey(2), cameras, 0.1, 1)
    disparity = 2
    y, x = np.mgrid[: SIZE[0], disparity : SIZE[1]]
    off_axes = ((x != 16) & (y != 12)).ravel()  # there a coordinate is exactly 0, see below
    np.testing.assert_array_equal(first.pix, (y * SIZE[1] + x).ravel()[off_axes])
    expected = np.stack([(x - 16) * 4.0, (y - 12) * 4.0, np.full(x.shape, 512.0)], axis=-1).reshape(-1, 3)[off_axes]
    np.testing.assert_allclose(first.points, expected, atol=1e-4)
    assert (first.ncons == 1).all() and (np.diff(first.pix) > 0).all()
    assert (second.pix % SIZE[1] < SIZE[1] - disparity).all()


@pytest.mark.parametrize("angle", [0.1, 0.2, 0.3])
def test_rows_of_rectified_cameras_stay_together_whatever_their_pose(fuse, angle):
    """v = y by construction, but not in floating point: the first row must neither leave the image nor move."""
    along_rows = 9.7 * np.array([np.cos(angle), 0, -np.sin(angle)])
    cameras = [camera((1.1, 2.3, 3.7) + step * along_rows, angle, focal=361.3) for step in range(2)]
    for fused in fuse(constant(577, 577), grey(2), cameras, 0.1, 1):
        per_row = np.bincount(fused.pix // SIZE[1], minlength=SIZE[0])
        assert (per_row == per_row[1]).all() and per_row[1] > 0
        expected = (fused.pix // SIZE[1] - 12) * 577 / 361.3 + 2.3
        np.testing.assert_allclose(fused.points[:, 1], expected, atol=1e-3)


def test_disparity_threshold_is_strict(fuse):
    # f * baseline = 1024: disparity 1 at depth 1024, 2 at depth 512.
    cameras = [camera(), camera((8, 0, 0))]
    assert all(len(view.pix) == 0 for view in fuse(constant(1024, 512), grey(2), cameras, 1.0, 1))
    assert all(len(view.pix) > 0 for view in fuse(constant(1024, 512), grey(2), cameras, 1.0 + 1e-6, 1))


@pytest.mark.parametrize(("off", "widths", "agree"), [(7, 0, False), (7, 0.7, False), (7, 1, True), (11, 1, False)])
def test_depths_agree_within_widths_of_a_pixel_however_far_apart_cameras_are(fuse, off, widths, agree):
    """One camera 200 behind the other; at depth 1024 and 1224 a pixel covers 8 and 9.6."""
    cameras = [camera(), camera((0, 0, -200))]
    fused = fuse(constant(1024, 1224 + off), grey(2), cameras, 0.05, 1, agree_widths=widths)
    assert all((len(view.pix) > 100) == agree for view in fused)


def test_points_with_a_coordinate_of_exactly_zero_are_dropped(fuse):
    (only,) = fuse(constant(512), grey(1), [camera()], 0.1, 0)
    y, x = np.divmod(only.pix, SIZE[1])
    assert len(only.pix) == (SIZE[0] - 1) * (SIZE[1] - 1)
    assert (x != 16).all() and (y != 12).all()  # the principal point's column and row


def test_num_consistent_is_cut_to_a_whole_number(fuse):
    cameras = [camera((8 * i, 0, 0)) for i in range(3)]
    needs_two = [len(view.pix) for view in fuse(constant(512, 512, 512), grey(3), cameras, 0.1, 2)]
    assert [len(view.pix) for view in fuse(constant(512, 512, 512), grey(3), cameras, 0.1, 2.9)] == needs_two
    assert min(needs_two) > 0


def test_more_views_than_there_are_agree_nowhere(fuse):
    cameras = [camera((8 * i, 0, 0)) for i in range(2)]
    assert all(len(view.pix) == 0 for view in fuse(constant(512, 512), grey(2), cameras, 0.1, 1e300))


def test_fewer_views_than_none_are_none(fuse):
    cameras = [camera((8 * i, 0, 0)) for i in range(2)]
    none, fewer = ([view.pix for view in fuse(constant(512, 512), grey(2), cameras, 0.1, n)] for n in (0, -1e300))
    np.testing.assert_array_equal(np.concatenate(fewer), np.concatenate(none))


def test_coinciding_centres_accept_any_depth(fuse):
    first, _ = fuse(constant(400, 600), grey(2), [camera(), camera()], 0.1, 1)
    np.testing.assert_allclose(first.points[:, 2], 500, atol=1e-3)


def test_all_cameras_take_the_first_ones_intrinsics(fuse):
    cameras = [camera(), camera((8, 0, 0), focal=1000.0)]
    same = [camera(), camera((8, 0, 0))]
    for fused, expected in zip(
        fuse(constant(512, 512), grey(2), cameras, 0.1, 1),
        fuse(constant(512, 512), grey(2), same, 0.1, 1),
        strict=True,
    ):
        np.testing.assert_array_equal(fused.points, expected.points)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_depth_that_is_not_finite_never_agrees_and_gives_no_point(fuse, bad):
    depths = constant(512, 512)
    depths[1, 5, 7] = bad
    cameras = [camera(), camera((8, 0, 0))]
    first, second = fuse(depths, grey(2), cameras, 1e9, 0)
    assert 5 * SIZE[1] + 7 not in second.pix
    assert first.ncons[first.pix == 5 * SIZE[1] + 9] == 0  # 9 - disparity 2 = 7
    assert np.isfinite(first.points).all() and np.isfinite(second.points).all()


def test_depth_zero_is_the_camera_centre_and_agrees_with_nobody(fuse):
    depths = constant(512, 0)
    _, second = fuse(depths, grey(2), [camera((1, 2, 3)), camera((9, 2, 3))], 0.1, 0)
    np.testing.assert_allclose(second.points, np.tile([9, 2, 3], (len(second.points), 1)))
    assert len(second.points) == depths[0].size and (second.ncons == 0).all()


def test_colours_are_means_cut_to_whole_numbers(fuse):
    cameras = [camera(), camera((8, 0, 0))]
    images = np.concatenate([grey(1, 100), grey(1, 103)])
    images[..., 2] = 200
    first, _ = fuse(constant(512, 512), images, cameras, 0.1, 1)
    np.testing.assert_array_equal(first.colors, np.tile([101, 101, 200], (len(first.colors), 1)))


def test_confidence_threshold_in_float32_and_nan_keeps_the_depth(tmp_path):
    confidence = np.full(SIZE, 0.7, np.float32)  # as float32 equal to the threshold 0.7, as float64 below it
    confidence[0, 0] = np.nan
    confidence[0, 1] = 0.69
    folder = write_scan(tmp_path / "scan 1", constant(512), [camera()], [confidence])
    depths, _, _ = read_views(Predictions(folder), [0], 0.7)
    assert depths[0, 0, 1] == 0 and (depths == 0).sum() == 1


# ---------------------------------------------------------------- sizes


def mixed_scene(normal, offset: float) -> tuple[list, list, list]:
    """Depths, grey images and cameras of a plane: a landscape, a portrait and a smaller landscape view."""
    sizes = [(24, 32), (40, 24), (18, 24)]
    cameras = [
        camera((-20, 0, 0), 0.03, 128.0, sizes[0]),
        camera((0, 2, 0), 0.0, 160.0, sizes[1]),
        camera((25, 3, 0), -0.04, 96.0, sizes[2]),
    ]
    depths = [plane_depth(view, normal, offset, size) for view, size in zip(cameras, sizes, strict=True)]
    return depths, [np.full((*size, 3), 100 + 50 * k, np.uint8) for k, size in enumerate(sizes)], cameras


def test_views_of_different_sizes_keep_their_own_intrinsics(fuse):
    """Every view agrees with the others, its points lie on the plane, and its pixels are counted by its own width."""
    normal, offset = np.array([0.02, 0.01, 1.0]), 600.0
    depths, images, cameras = mixed_scene(normal, offset)
    for depth, view, fused in zip(depths, cameras, fuse(depths, images, cameras, 0.2, 1), strict=True):
        assert len(fused.points) > 0.6 * depth.size and fused.pix.max() < depth.size
        assert np.abs(fused.points @ normal - offset).max() < np.hypot(0.02, 0.01) * np.sqrt(2) * 600 / 96
        alone = fused.ncons == fused.ncons.min()
        u, v, _ = view.project(fused.points)
        y, x = np.divmod(fused.pix, depth.shape[1])
        assert np.abs(u - x)[alone].max() < 1.5 and np.abs(v - y)[alone].max() < 1.5


def test_what_lies_beside_a_smaller_view_is_nothing(fuse):
    """A view's border is its own: the larger view's pixels beside the smaller one's image agree with nobody."""
    large, small = camera(), camera((8, 0, 0), size=(12, 16))
    depths = [np.full(SIZE, 512, np.float32), np.full((12, 16), 512, np.float32)]
    images = [np.full((*depth.shape, 3), 100, np.uint8) for depth in depths]
    first, _ = fuse(depths, images, [large, small], 0.1, 1)
    y, x = np.divmod(first.pix, SIZE[1])
    # The small image is the middle of the large one, seen 2 pixels to the left.
    assert {x.min(), x.max() + 1} == {8 + 2, 24 + 2} and {y.min(), y.max() + 1} == {6, 18}


def test_a_scan_of_different_sizes_becomes_one_cloud(device, tmp_path):
    depths, images, cameras = mixed_scene((0.02, 0.01, 1.0), 600.0)
    folder = write_scan(tmp_path / "scan 1", depths, cameras, images=images)
    options = CloudOptions(normals=True)
    count = fuse_scan(folder, [0, 1, 2], tmp_path / "cloud.ply", 0.3, 0.2, 1, device, options)
    vertices = PlyData.read(tmp_path / "cloud.ply")["vertex"].data
    assert count == len(vertices) > 0.6 * sum(depth.size for depth in depths)
    normals = np.stack([vertices[name] for name in ("nx", "ny", "nz")], axis=1)
    expected = -np.array([0.02, 0.01, 1.0]) / np.linalg.norm([0.02, 0.01, 1.0])
    np.testing.assert_allclose(normals, np.tile(expected, (count, 1)), atol=2e-3)


def random_scene(seed: int) -> tuple[np.ndarray, np.ndarray, list]:
    """Depths of a slanted plane with noise, holes and nonsense, random images, and cameras around it."""
    rng = np.random.default_rng(seed)
    normal, offset = np.append(rng.uniform(-0.4, 0.4, 2), 1.0), rng.uniform(400, 800)
    cameras = [camera(rng.uniform(-30, 30, 3), rng.uniform(-0.1, 0.1), rng.uniform(90, 300)) for _ in range(5)]
    depths = np.stack([plane_depth(view, normal, offset) for view in cameras])
    depths *= 1 + 0.002 * rng.normal(size=depths.shape).astype(np.float32)
    for bad in (0, np.nan, np.inf, -np.inf, -500, 1e4):
        depths[rng.random(depths.shape) < 0.01] = bad
    return depths, rng.integers(0, 256, (*depths.shape, 3), dtype=np.uint8), cameras


def same_views(some, others) -> None:
    """Fused views are equal to the last bit."""
    for ours, expected in zip(some, others, strict=True):
        for values, expected_values in zip(ours, expected, strict=True):
            assert values.dtype == expected_values.dtype
            np.testing.assert_array_equal(values, expected_values)


@pytest.mark.parametrize("seed", range(3))
def test_a_limit_that_no_view_reaches_changes_nothing(fuse, seed):
    depths, images, cameras = random_scene(seed)
    for most in (0, 4, 9):
        others = other_views(depths, cameras, most)
        same_views(fuse(depths, images, cameras, 0.7, 2, others=others), fuse(depths, images, cameras, 0.7, 2))


def test_a_view_is_compared_with_the_chosen_ones_alone(fuse):
    """Its points are those of a fusion in which there are no more views."""
    depths, images, cameras = random_scene(1)
    cameras = rebuilt(cameras, depths)
    others = other_views(depths, cameras, 2)
    for reference, fused in enumerate(fuse(depths, images, cameras, 0.7, 1, others=others)):
        views = sorted([reference, *others[reference]])
        alone = list(fuse(depths[views], images[views], [cameras[view] for view in views], 0.7, 1))
        same_views([fused], [alone[views.index(reference)]])
        assert 0 < fused.ncons.max() <= 2


@pytest.mark.parametrize("gpu_fractions", [False, True])
@pytest.mark.parametrize("num_consistent", [0, 2])
@pytest.mark.parametrize(("seed", "widths"), [(0, 0), (1, 0), (2, 1.5), (3, 3)])
def test_torch_gives_what_numba_gives(torch_device, seed, widths, num_consistent, gpu_fractions):
    """All but the points where the two roundings of one number lie on either side of a threshold."""
    arguments = (*random_scene(seed), 0.7, num_consistent, gpu_fractions)
    points = 0
    torchs, numbas = (fuse_views(*arguments, device=device, agree_widths=widths) for device in (torch_device, None))
    for ours, expected in zip(torchs, numbas, strict=True):
        assert [values.dtype for values in ours] == [values.dtype for values in expected]
        _, i, j = np.intersect1d(ours.pix, expected.pix, return_indices=True)
        same = ours.ncons[i] == expected.ncons[j]
        assert len(ours.pix) + len(expected.pix) - 2 * np.count_nonzero(same) <= 2
        i, j = i[same], j[same]
        np.testing.assert_allclose(ours.points[i], expected.points[j], rtol=1e-6)
        assert np.abs(ours.colors[i].astype(int) - expected.colors[j]).max(initial=0) <= 1
        points += len(i)
    assert points > 400


def test_a_device_without_memory_is_named(monkeypatch):
    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("fusion.builtin_torch._Views.fuse", fail)
    with pytest.raises(DataError, match="cpu: has no memory for 1 depth maps of 32x24; fuse them with --device cpu"):
        list(fuse_views(constant(512), grey(1), [camera()], 0.1, 0, device=torch.device("cpu")))


def test_fuse_scan_writes_what_the_views_give(device, fuse, tmp_path):
    cameras = [camera((8 * i, 0, 0)) for i in range(3)]
    folder = write_scan(tmp_path / "scan 1", constant(512, 512, 512), cameras)
    ply = tmp_path / "new folder" / "cloud.ply"
    count = fuse_scan(folder, [2, 0, 1], ply, 0.3, 0.1, 2, device)
    points, colors = read_ply(ply)
    expected = [view.points for view in fuse(constant(512, 512, 512), grey(3), cameras, 0.1, 2)]
    assert count == len(points) > 0
    np.testing.assert_array_equal(points, np.concatenate(expected))
    assert np.abs(colors.astype(int) - 100).max() <= 1


def test_normals_are_those_of_the_emitting_view(device, tmp_path):
    """All cameras take the first one's K, for the points as for their normals."""
    normal = np.array([0.2, 0.1, -1.0])
    cameras = [camera((-20, 0, 0), 0.03), camera((25, 3, 0), -0.04)]
    depths = [plane_depth(view, normal, -600.0) for view in cameras]
    cameras[1] = dataclasses.replace(cameras[1], K=np.diag([999, 999, 1.0]))
    ply = tmp_path / "cloud.ply"
    count = fuse_scan(
        write_scan(tmp_path / "scan", depths, cameras), [0, 1], ply, 0.3, 0.2, 1, device, CloudOptions(normals=True)
    )
    vertices = PlyData.read(ply)["vertex"].data
    assert count == len(vertices) > depths[0].size
    normals = np.stack([vertices[name] for name in ("nx", "ny", "nz")], axis=1)
    np.testing.assert_allclose(normals, np.tile(normal / np.linalg.norm(normal), (count, 1)), atol=1e-3)


def test_one_view_alone(device, tmp_path):
    folder = write_scan(tmp_path / "scan 1", constant(512), [camera()])
    assert fuse_scan(folder, [0], tmp_path / "all.ply", 0.3, 0.1, 0, device) > 0
    assert fuse_scan(folder, [0], tmp_path / "none.ply", 0.3, 0.1, 1, device) == 0
    points, _ = read_ply(tmp_path / "none.ply")
    assert points.shape == (0, 3)


def test_mistakes_name_the_file_and_leave_no_cloud(tmp_path):
    folder = write_scan(tmp_path / "scan 1", constant(512, 512), [camera(), camera((8, 0, 0))])
    ply = tmp_path / "cloud.ply"
    with pytest.raises(DataError, match="no view to fuse"):
        fuse_scan(folder, [], ply, 0.3, 0.1, 1)
    with pytest.raises(DataError, match=r"depth_est/00000007\.pfm: no such file"):
        fuse_scan(folder, [0, 7], ply, 0.3, 0.1, 1)
    write_pfm(folder / "confidence" / "00000001.pfm", np.ones((24, 31), np.float32))
    with pytest.raises(DataError, match=r"confidence/00000001\.pfm: is 31x24, but .* is 32x24"):
        fuse_scan(folder, [0, 1], ply, 0.3, 0.1, 1)
    write_pfm(folder / "confidence" / "00000001.pfm", np.ones(SIZE, np.float32))
    write_image(folder / "images" / "00000001.jpg", np.zeros((24, 30, 3), np.uint8))
    with pytest.raises(DataError, match=r"images/00000001\.jpg: is 30x24, but .* is 32x24"):
        fuse_scan(folder, [0, 1], ply, 0.3, 0.1, 1)
    write_pfm(folder / "depth_est" / "00000001.pfm", np.ones((20, 32), np.float32))
    with pytest.raises(DataError, match=r"confidence/00000001\.pfm: is 32x24, but .* is 32x20"):
        fuse_scan(folder, [0, 1], ply, 0.3, 0.1, 1)
    assert not ply.exists()
