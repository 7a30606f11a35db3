"""Photos of a capture app that has measured its poses: they and their scale are kept, points are found for them."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import change_times

from datasets.files import DataError, read_json
from datasets.formats.colmap import read_colmap
from datasets.formats.images import read_image, write_image
from datasets.io import read_camera
from datasets.synthetic.scans import Look, render_scene
from tools.photos.importing import Options, import_scan, read_posed_photos
from tools.photos.known import has_known_poses, measured_by, pose_known_photos
from tools.photos.settings import PoseSettings

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None, reason="pycolmap is not installed (requirements-photos.txt)"
)
WIDTH, HEIGHT, VIEWS = 320, 256, 6
SETTINGS = PoseSettings(threads=1)


@pytest.fixture(scope="module")
def scene():
    """Rendered photos a few degrees apart, with their cameras and exact depth, in metres."""
    return render_scene(1, WIDTH, HEIGHT, VIEWS, look=Look(rich=True, rig="arc"))


@pytest.fixture
def capture(scene, tmp_path) -> Path:
    """A folder as capture apps leave it: images/ and transforms.json, with a mask for one of the photos."""
    folder = tmp_path / "my capture"
    frames = []
    for k, (image, camera) in enumerate(zip(scene.images[3], scene.cameras, strict=True)):
        write_image(folder / "images" / f"frame {k}.jpg", image, quality=98)
        pose = np.linalg.inv(camera.cam_T_world) @ np.diag([1, -1, -1, 1])
        frames.append({"file_path": f"images/frame {k}.jpg", "transform_matrix": pose.tolist()})
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, WIDTH // 2 :] = 255
    write_image(folder / "cut" / "5.png", mask)
    frames[5]["mask_path"] = "cut/5.png"
    K = scene.cameras[0].K
    lens = {"w": WIDTH, "h": HEIGHT, "fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    return folder


def test_only_a_capture_app_measures_in_metres(capture):
    """A converter of COLMAP models writes such a file, too; its unit of length is nobody's."""
    assert "transforms.json" in measured_by(capture)
    content = read_json(capture / "transforms.json")
    for k, frame in enumerate(content["frames"]):
        frame["colmap_im_id"] = k + 1
    (capture / "transforms.json").write_text(json.dumps(content))
    assert measured_by(capture) is None


def test_poses_and_scale_are_kept(scene, capture, tmp_path):
    """Bit by bit but for rounding; the points lie on the scene's surface; a rerun does nothing."""
    assert has_known_poses(capture) and not has_known_poses(tmp_path)
    assert pose_known_photos(capture, tmp_path / "poses", SETTINGS) == VIEWS
    model = read_colmap(tmp_path / "poses")
    assert [photo.name for photo in model.photos] == [f"images/frame_{k}.jpg" for k in range(VIEWS)]
    for photo, camera in zip(model.photos, scene.cameras, strict=True):
        np.testing.assert_allclose(photo.cam_T_world, camera.cam_T_world, atol=1e-6)
        np.testing.assert_allclose(photo.lens.pixel_K(), camera.K, atol=1e-6)
    assert len(model.points) > 100
    errors = []
    for k, photo in enumerate(model.photos):
        seen = model.points[model.seen_by(k)]
        u, v, z = scene.cameras[k].project(seen)
        truth = scene.depths[k][np.rint(v).astype(int), np.rint(u).astype(int)]
        errors.append(np.abs(z - truth) / truth)
        assert photo.cam_T_world.shape == (4, 4)
    assert np.median(np.concatenate(errors)) < 0.005
    times = change_times(tmp_path / "poses", "*")
    pose_known_photos(capture, tmp_path / "poses", SETTINGS)
    assert change_times(tmp_path / "poses", "*") == times


def test_poses_are_adjusted_when_asked(scene, capture, tmp_path, capsys):
    """A capture app's directions are off: it is said, and with `adjust` they are turned; places and so metres stay."""
    content = read_json(capture / "transforms.json")
    rng = np.random.default_rng(5)
    for frame in content["frames"]:
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(np.radians(0.4) * rng.choice([-1, 1], size=3) / np.sqrt(3))[0]
        frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ turn).tolist()
    (capture / "transforms.json").write_text(json.dumps(content))
    pose_known_photos(capture, tmp_path / "poses", SETTINGS)
    assert "--adjust_poses" in capsys.readouterr().out
    before = read_colmap(tmp_path / "poses")
    pose_known_photos(capture, tmp_path / "poses", dataclasses.replace(SETTINGS, adjust=True))
    assert "adjusted from those of transforms.json" in capsys.readouterr().out
    after = read_colmap(tmp_path / "poses")
    step = np.linalg.norm(scene.cameras[0].centre - scene.cameras[1].centre)
    for old, new in zip(before.photos, after.photos, strict=True):
        assert np.abs(old.cam_T_world - new.cam_T_world).max() > 1e-3
        centre = -new.cam_T_world[:3, :3].T @ new.cam_T_world[:3, 3]
        assert np.linalg.norm(centre + old.cam_T_world[:3, :3].T @ old.cam_T_world[:3, 3]) < 0.05 * step
    assert len(after.points) > 0.9 * len(before.points)


def test_their_scan(scene, capture, tmp_path):
    """Sources from shared points, ranges around the exact depth, the mask of the one photo that has one."""
    pose_known_photos(capture, tmp_path / "poses", SETTINGS)
    out = tmp_path / "scan"
    posed, folders = read_posed_photos(tmp_path / "poses")
    import_scan(posed, folders, out, Options(), tmp_path / "poses")
    assert read_json(out / "left_out.json") == {}
    for view in range(VIEWS):
        camera = read_camera(out / "cams" / f"{view:08d}_cam.txt")
        low, high = np.percentile(scene.depths[view][scene.depths[view] > 0], (5, 95))
        near, far = camera.depth_range(192)
        assert near < 1.05 * low and far > 0.95 * high
    assert [path.name for path in (out / "masks").iterdir()] == ["00000005.png"]
    mask = read_image(out / "masks" / "00000005.png")[..., 0]
    assert not mask[:, : WIDTH // 2 - 1].any() and mask[:, WIDTH // 2 + 1 :].all()


def test_poses_of_another_capture(capture, tmp_path):
    """They fit no photo: said, instead of a cloud of nothing."""
    content = json.loads((capture / "transforms.json").read_text())
    poses = [frame["transform_matrix"] for frame in content["frames"]]
    for k, frame in enumerate(content["frames"]):
        turned = np.array(poses[(k * 2 + 1) % VIEWS])
        turned[:3, 3] += 700 * np.random.default_rng(k).normal(size=3)
        frame["transform_matrix"] = turned.tolist()
    (capture / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="are photos and poses of one capture"):
        pose_known_photos(capture, tmp_path / "poses", SETTINGS)
