"""Dense workspaces of COLMAP: read back by a small reader of their own, and fused by COLMAP where it is installed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from exact_results import HEIGHT, UNSURE_ROWS, VIEWS, WIDTH, write_exact_result
from helpers import error_line, run_process, run_program, succeed
from scipy.spatial.transform import Rotation

from datasets.formats.images import read_image
from datasets.io import read_camera, write_camera
from datasets.layouts.general import GeneralScans
from fusion.normals import depth_normals
from tools.evaluation.scan_results import ScanResult

SCAN = "my scan"

FUSE = """
import sys, numpy, pycolmap
options = pycolmap.StereoFusionOptions()
options.min_num_pixels, options.max_num_pixels, options.num_threads = 1, 1, 1
model = pycolmap.stereo_fusion(sys.argv[1], sys.argv[2], input_type="geometric", options=options)
numpy.save(sys.argv[1] + "/points.npy", [point.xyz for point in model.points3D.values()])
"""


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """(testpath, outdir, workspace) of one scan."""
    root = tmp_path_factory.mktemp("colmap")
    testpath, outdir = write_exact_result(root, {SCAN: 1})
    flags = ("--outdir", outdir, "--testpath", testpath, "--workspace", root / "dense", "--thres_view", 2)
    assert "workspaces: " in succeed(run_program("tools/export_colmap.py", *flags))
    return testpath, outdir, root / "dense" / SCAN


def read_map(path: Path) -> np.ndarray:
    """A map [H, W] or [H, W, 3], value by value as COLMAP's description says it: column-major order of (W, H, C)."""
    content = path.read_bytes()
    width, height, channels = (int(word) for word in content.split(b"&", 3)[:3])
    values = np.frombuffer(content.split(b"&", 3)[3], "<f4")
    return values.reshape((width, height, channels), order="F").transpose(1, 0, 2).squeeze()


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def name(view: int) -> str:
    return f"{view:08d}.jpg"


def test_maps_come_back(exact):
    """Depths of enough confidence; geometric ones are fewer and the same; normals in the camera's axes, towards it."""
    testpath, outdir, dense = exact
    layout = GeneralScans(testpath)
    for view in range(VIEWS):
        truth = layout.ground_truth(SCAN, view, (WIDTH, HEIGHT))
        truth[:UNSURE_ROWS] = 0
        depth = read_map(dense / "stereo" / "depth_maps" / f"{name(view)}.photometric.bin")
        np.testing.assert_array_equal(depth, truth)
        confirmed = read_map(dense / "stereo" / "depth_maps" / f"{name(view)}.geometric.bin")
        assert 0.3 < (confirmed > 0).mean() < (depth > 0).mean()
        np.testing.assert_array_equal(confirmed[confirmed > 0], depth[confirmed > 0])

        camera = layout.camera(SCAN, view)
        normals = read_map(dense / "stereo" / "normal_maps" / f"{name(view)}.photometric.bin")
        world = depth_normals(depth, camera)
        np.testing.assert_allclose(normals @ camera.cam_T_world[:3, :3], world, atol=1e-5)
        y, x = np.nonzero(normals.any(axis=2))
        rays = np.linalg.inv(camera.K) @ np.stack([x, y, np.ones_like(x)])
        assert (np.einsum("nk,kn->n", normals[y, x], rays) <= 1e-6).all() and len(x) > 1000
        assert (dense / "images" / name(view)).read_bytes() == (outdir / SCAN / "images" / name(view)).read_bytes()


def test_the_model_has_the_cameras(exact):
    """Intrinsics as they are, and the pose of every image."""
    testpath, _, dense = exact
    cameras, images = lines(dense / "sparse" / "cameras.txt"), lines(dense / "sparse" / "images.txt")[::2]
    assert len(cameras) == len(images) == VIEWS
    for view, (camera, image) in enumerate(zip(cameras, images, strict=True)):
        expected = GeneralScans(testpath).camera(SCAN, view)
        assert camera[:4] == [str(view + 1), "PINHOLE", str(WIDTH), str(HEIGHT)]
        fx, fy, cx, cy = map(float, camera[4:])
        np.testing.assert_allclose([fx, fy], expected.K[[0, 1], [0, 1]])
        np.testing.assert_allclose([cx, cy], expected.K[:2, 2])
        assert (image[0], image[8:]) == (str(view + 1), [str(view + 1), name(view)])
        w, x, y, z, *translation = map(float, image[1:8])
        R = Rotation.from_quat([x, y, z, w]).as_matrix()
        np.testing.assert_allclose(R, expected.cam_T_world[:3, :3], atol=1e-6)
        np.testing.assert_allclose(translation, expected.cam_T_world[:3, 3])


def test_tracks_and_sights_agree(exact):
    """Every point names where it is seen, that sight names the point, and lies where the camera shows it."""
    testpath, _, dense = exact
    projections = [GeneralScans(testpath).camera(SCAN, view).projection() for view in range(VIEWS)]
    sights = lines(dense / "sparse" / "images.txt")[1::2]
    points = lines(dense / "sparse" / "points3D.txt")
    assert len(points) > 500
    for row in points:
        number, xyz, track = row[0], np.array(row[1:4], float), list(map(int, row[8:]))
        assert len(track) >= 4
        for image, sight in zip(track[::2], track[1::2], strict=True):
            x, y, point = sights[image - 1][3 * sight : 3 * sight + 3]
            assert point == number
            u, v, z = (projections[image - 1] @ [*xyz, 1])[:3]
            assert (float(x), float(y)) == pytest.approx((u / z, v / z), abs=1e-3)
    assert sum(len(row) for row in sights) / 3 == sum(len(row) - 8 for row in points) / 2


def test_settings_name_the_sources(exact):
    testpath, _, dense = exact
    rows = (dense / "stereo" / "patch-match.cfg").read_text().splitlines()
    pairs = GeneralScans(testpath).pairs(SCAN)
    assert rows == [text for view, of in pairs for text in (name(view), ", ".join(map(name, of)))]
    assert (dense / "stereo" / "fusion.cfg").read_text().split() == [name(view) for view in range(VIEWS)]


@pytest.mark.skipif(importlib.util.find_spec("pycolmap") is None, reason="pycolmap is not installed")
def test_colmap_fuses_it(exact, tmp_path):
    """COLMAP's own fusion reads the workspace. Told to fuse nothing, it gives back the depth maps' very points."""
    testpath, _, dense = exact
    succeed(run_process("-c", FUSE, tmp_path, dense))
    points = np.load(tmp_path / "points.npy")
    normals = (dense / "stereo" / "normal_maps").glob("*.geometric.bin")
    assert len(points) == sum(read_map(path).any(axis=2).sum() for path in normals)  # those with a normal
    layout, errors = GeneralScans(testpath), []
    for view in range(VIEWS):
        u, v, z = layout.camera(SCAN, view).projection()[:3] @ np.vstack([points.T, np.ones(len(points))])
        x, y = np.rint(u / z).astype(int).clip(0, WIDTH - 1), np.rint(v / z).astype(int).clip(0, HEIGHT - 1)
        depth = layout.ground_truth(SCAN, view, (WIDTH, HEIGHT))[y, x]
        errors.append(np.max([np.abs(u / z - x), np.abs(v / z - y), np.abs(depth - z)], axis=0))
    assert np.min(errors, axis=0).max() < 1e-2  # each point is a pixel of one of the views


def test_without_a_pair_file_the_nearest_views_are_sources(exact):
    testpath, outdir, _ = exact
    result = ScanResult(outdir, SCAN, None)
    centers = [np.linalg.inv(GeneralScans(testpath).camera(SCAN, view).cam_T_world)[:3, 3] for view in range(VIEWS)]
    for view, sources in result.pairs:
        distances = [np.linalg.norm(centers[view] - centers[source]) for source in sources]
        assert sorted(sources) == [i for i in range(VIEWS) if i != view] and distances == sorted(distances)


def test_a_model_without_points_is_told(exact, tmp_path):
    """Where nothing is confirmed."""
    testpath, outdir, _ = exact
    flags = ("--outdir", outdir, "--testpath", testpath, "--workspace", tmp_path, "--thres_view", 9)
    assert f"{SCAN}: no depth is confirmed, so its model has no point" in succeed(
        run_program("tools/export_colmap.py", *flags)
    )


def test_cameras_that_colmap_cannot_describe(tmp_path):
    """Skew and scaled axes are one line that names the image, and no model is written."""
    _, outdir = write_exact_result(tmp_path, {"scan1": 1})
    path = outdir / "scan1" / "cams" / "00000002_cam.txt"
    good = read_camera(path)
    for change, words in ((("K", 0, 1, 5.0), "skew"), (("cam_T_world", 0, 0, 1.5), "rotation")):
        camera = read_camera(path)
        matrix, row, column, value = change
        getattr(camera, matrix)[row, column] = value
        write_camera(path, camera)
        flags = ("--outdir", outdir, "--workspace", tmp_path / "dense")
        line = error_line(run_program("tools/export_colmap.py", *flags))
        assert "00000002.jpg" in line and words in line
        assert not (tmp_path / "dense" / "scan1" / "sparse").exists()
        write_camera(path, good)
    assert read_image(outdir / "scan1" / "images" / name(2)).shape == (HEIGHT, WIDTH, 3)
    line = error_line(run_program("tools/export_colmap.py", "--outdir", tmp_path / "none", "--workspace", tmp_path))
    assert "none" in line
