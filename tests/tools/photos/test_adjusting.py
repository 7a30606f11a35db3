"""Cameras measured with wrong directions are turned until the photos fit; their places, so the scale, are kept."""

import dataclasses
import importlib.util
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import change_times

from datasets.camera import Camera
from datasets.files import DataError
from datasets.formats.images import read_image, write_image
from datasets.io import read_camera, write_camera, write_pairs
from datasets.layouts import LAYOUTS
from datasets.synthetic.scans import Look, render_scene
from tools.photos.adjusting import adjust_scan

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None, reason="pycolmap is not installed (requirements-photos.txt)"
)
WIDTH, HEIGHT, VIEWS = 320, 256, 6


@pytest.fixture(scope="module")
def scene():
    """Rendered photos a few degrees apart, with their cameras and exact depth."""
    return render_scene(1, WIDTH, HEIGHT, VIEWS, look=Look(rich=True, rig="arc"))


def turned(camera: Camera, degrees: float, rng: np.random.Generator) -> Camera:
    """A camera at the same place that looks elsewhere by an angle."""
    axis = rng.normal(size=3)
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.radians(degrees) * axis / np.linalg.norm(axis))[0]
    return dataclasses.replace(camera, cam_T_world=turn @ camera.cam_T_world)


def write_scan(folder: Path, scene, cameras: list[Camera]) -> None:
    """A scan in the test layout, with a file of the user's own beside its folders."""
    for k, camera in enumerate(cameras):
        write_image(folder / "images" / f"{k:08d}.jpg", scene.images[3][k], quality=98)
        write_camera(folder / "cams" / f"{k:08d}_cam.txt", camera, np.float64)
    views = range(len(cameras))
    write_pairs(folder / "pair.txt", [(k, [(j, 1.0) for j in views if j != k]) for k in views])
    (folder / "notes.txt").write_text("mine")


def angle(a: Camera, b: Camera) -> float:
    """Degrees between the directions of two cameras."""
    between = a.cam_T_world[:3, :3] @ b.cam_T_world[:3, :3].T
    return float(np.degrees(np.arccos(np.clip((np.trace(between) - 1) / 2, -1, 1))))


def misses(cameras: list[Camera], scene) -> float:
    """By how many pixels surface points of view 0 are seen beside where they are, in the mean of the other views."""
    depth = scene.depths[0]
    kept = np.zeros(depth.shape, bool)
    kept[8::16, 8::16] = True
    kept &= depth > 0
    off = []
    for k in range(1, VIEWS):
        true = np.stack(scene.cameras[k].project(scene.cameras[0].lift(depth, kept))[:2])
        shown = np.stack(cameras[k].project(cameras[0].lift(depth, kept))[:2])
        off.append(np.linalg.norm(true - shown, axis=0).mean())
    return float(np.mean(off))


def adjusted_cameras(folder: Path) -> list[Camera]:
    return [read_camera(path) for path in sorted((folder / "cams").glob("*_cam.txt"))]


def longer(camera: Camera, share: float) -> Camera:
    """A camera that says of its focal lengths that they are longer by a share."""
    K = camera.K.copy()
    K[[0, 1], [0, 1]] *= 1 + share
    return dataclasses.replace(camera, K=K)


def test_wrong_directions_are_mended(scene, tmp_path):
    """Half a degree off, which is three pixels here: after it half a pixel at most. All else is as it was."""
    rng = np.random.default_rng(3)
    wrong = [turned(camera, 0.5, rng) for camera in scene.cameras]
    write_scan(tmp_path / "in" / "scan1", scene, wrong)
    result = adjust_scan(LAYOUTS["general_eval"](tmp_path / "in"), "scan1", tmp_path / "out", threads=1)
    better = adjusted_cameras(tmp_path / "out" / "scan1")
    assert misses(wrong, scene) > 2
    assert misses(better, scene) < 0.5
    assert result.after < 0.6 * result.before and 0.1 < result.turned < 1.5
    between = np.linalg.norm(scene.cameras[0].centre - scene.cameras[1].centre)
    for k, camera in enumerate(better):
        assert np.linalg.norm(camera.centre - scene.cameras[k].centre) < 0.05 * between
        np.testing.assert_array_equal(camera.K, wrong[k].K)
        assert camera.depth_line == pytest.approx(wrong[k].depth_line, rel=1e-8)
        name = f"images/{k:08d}.jpg"
        np.testing.assert_array_equal(
            read_image(tmp_path / "out/scan1" / name), read_image(tmp_path / "in/scan1" / name)
        )
    assert (tmp_path / "out/scan1/notes.txt").read_text() == "mine"
    assert (tmp_path / "out/scan1/pair.txt").read_bytes() == (tmp_path / "in/scan1/pair.txt").read_bytes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scan1"]


def test_a_rerun_does_what_has_changed(scene, tmp_path):
    """Nothing where nothing did; anew where any file did: a camera, its depth range, or one that is only copied."""
    cameras = [turned(camera, 0.3, np.random.default_rng(k)) for k, camera in enumerate(scene.cameras)]
    write_scan(tmp_path / "in" / "scan1", scene, cameras)
    layout = LAYOUTS["general_eval"](tmp_path / "in")
    out = tmp_path / "out" / "scan1"
    first = adjust_scan(layout, "scan1", tmp_path / "out", threads=1)
    times = change_times(tmp_path / "out", "*")
    assert adjust_scan(layout, "scan1", tmp_path / "out", threads=1) == first
    assert change_times(tmp_path / "out", "*") == times
    wider = dataclasses.replace(cameras[2], depth_line=(100.0, 5.0))
    write_camera(tmp_path / "in/scan1/cams/00000002_cam.txt", wider, np.float64)
    assert adjust_scan(layout, "scan1", tmp_path / "out", threads=1) == first
    assert read_camera(out / "cams/00000002_cam.txt").depth_line == (100.0, 5.0)
    (tmp_path / "in/scan1/notes.txt").write_text("others")
    adjust_scan(layout, "scan1", tmp_path / "out", threads=1)
    assert (out / "notes.txt").read_text() == "others"
    write_camera(tmp_path / "in/scan1/cams/00000002_cam.txt", scene.cameras[2], np.float64)
    assert adjust_scan(layout, "scan1", tmp_path / "out", threads=1).before < first.before


def test_far_from_the_worlds_origin(scene, tmp_path):
    """In UTM or ECEF coordinates, of millions, as well as near the origin."""
    origin = np.array([4_000_000.0, -3_000_000.0, 5_000_000.0])
    rng = np.random.default_rng(3)
    wrong = [turned(camera, 0.5, rng) for camera in scene.cameras]
    write_scan(tmp_path / "in" / "scan1", scene, [camera.around(-origin) for camera in wrong])
    adjust_scan(LAYOUTS["general_eval"](tmp_path / "in"), "scan1", tmp_path / "out", threads=1)
    better = [camera.around(origin) for camera in adjusted_cameras(tmp_path / "out" / "scan1")]
    assert misses(better, scene) < 0.5


def test_good_cameras_stay(scene, tmp_path):
    """As they are: turning all of them together would fit a little better, and be wrong."""
    write_scan(tmp_path / "in" / "scan1", scene, list(scene.cameras))
    result = adjust_scan(LAYOUTS["general_eval"](tmp_path / "in"), "scan1", tmp_path / "out", threads=1)
    assert result.after == result.before < 0.5 and result.turned == result.moved == 0
    for camera, given in zip(adjusted_cameras(tmp_path / "out" / "scan1"), scene.cameras, strict=True):
        np.testing.assert_array_equal(camera.cam_T_world, given.cam_T_world)


def test_a_wrong_focal_length_is_mended(tmp_path):
    """Where the camera goes far enough round things: 1.5 % off before, 0.3 % at most after."""
    scene = render_scene(2, WIDTH, HEIGHT, 12, look=Look(rich=True, rig="arc"))
    rng = np.random.default_rng(3)
    write_scan(tmp_path / "in/scan1", scene, [longer(turned(camera, 0.4, rng), 0.015) for camera in scene.cameras])
    result = adjust_scan(LAYOUTS["general_eval"](tmp_path / "in"), "scan1", tmp_path / "out", threads=1)
    assert result.focal == pytest.approx(0.015, abs=0.003)
    for camera, true in zip(adjusted_cameras(tmp_path / "out/scan1"), scene.cameras, strict=True):
        np.testing.assert_allclose(camera.K[[0, 1], [0, 1]], true.K[[0, 1], [0, 1]], rtol=0.003)
        np.testing.assert_array_equal(camera.K[:2, 2], true.K[:2, 2])


def test_a_focal_length_that_nothing_tells_stays(tmp_path):
    """A hand-held video of a room turns and moves too little. The directions are mended all the same."""
    scene = render_scene(1, WIDTH, HEIGHT, 12, look=Look(rich=True, rig="video", place="room"))
    rng = np.random.default_rng(3)
    wrong = [longer(turned(camera, 0.4, rng), 0.015) for camera in scene.cameras]
    write_scan(tmp_path / "in/scan1", scene, wrong)
    result = adjust_scan(LAYOUTS["general_eval"](tmp_path / "in"), "scan1", tmp_path / "out", threads=1)
    assert result.focal == 0 and result.after < 0.5 * result.before
    for camera, given in zip(adjusted_cameras(tmp_path / "out/scan1"), wrong, strict=True):
        np.testing.assert_array_equal(camera.K, given.K)


def test_a_view_that_shows_nothing_keeps_its_camera(scene, tmp_path):
    """Nothing tells how to turn it; the others are turned as ever."""
    rng = np.random.default_rng(3)
    wrong = [turned(camera, 0.5, rng) for camera in scene.cameras]
    write_scan(tmp_path / "in" / "scan1", scene, wrong)
    write_image(tmp_path / "in/scan1/images/00000005.jpg", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    adjust_scan(LAYOUTS["general_eval"](tmp_path / "in"), "scan1", tmp_path / "out", threads=1)
    better = adjusted_cameras(tmp_path / "out" / "scan1")
    np.testing.assert_allclose(better[5].cam_T_world, wrong[5].cam_T_world, atol=1e-6)
    assert all(angle(better[k], wrong[k]) > 0.1 for k in range(5))


def test_what_is_masked_does_not_count(scene, tmp_path):
    """All but a corner masked: too little is left to adjust by."""
    write_scan(tmp_path / "in" / "scan1", scene, list(scene.cameras))
    corner = np.zeros((HEIGHT, WIDTH), np.uint8)
    corner[:8, :8] = 255
    for k in range(VIEWS):
        write_image(tmp_path / "in/scan1/masks" / f"{k:08d}.png", corner)
    with pytest.raises(DataError, match="too few to adjust"):
        adjust_scan(LAYOUTS["general_eval"](tmp_path / "in"), "scan1", tmp_path / "out", threads=1)
    assert list((tmp_path / "out").iterdir()) == []


def test_refused(scene, tmp_path):
    """Cameras that scans share, and a folder that would be overwritten by its own result."""
    write_scan(tmp_path / "in" / "scan1", scene, list(scene.cameras))
    with pytest.raises(DataError, match="another folder"):
        adjust_scan(LAYOUTS["general_eval"](tmp_path / "in"), "scan1", tmp_path / "in", threads=1)
    train = tmp_path / "train"
    shutil.copytree(tmp_path / "in" / "scan1" / "cams", train / "Cameras")
    shutil.copy(tmp_path / "in" / "scan1" / "pair.txt", train / "Cameras")
    with pytest.raises(DataError, match="several scans share"):
        adjust_scan(LAYOUTS["dtu_yao"](train), "scan1", tmp_path / "out", threads=1)
