"""NeRF's transforms.json and Middlebury's *_par.txt: the same cameras as they were written from."""

import json

import numpy as np
import pytest
from colmap_models import small_model

from datasets.files import DataError
from datasets.formats.images import write_image
from datasets.formats.poses import read_middlebury, read_transforms

POSES = [image.cam_T_world for image in small_model().images.values()]


def gl_matrix(cam_T_world: np.ndarray) -> list[list[float]]:
    """Camera to world as OpenGL has it: y up, looking along -z."""
    return (np.linalg.inv(cam_T_world) * [1, -1, -1, 1]).tolist()


def transforms(**entries: object) -> dict:
    """A transforms.json's content."""
    frames = [{"file_path": f"./images/{k}.png", "transform_matrix": gl_matrix(pose)} for k, pose in enumerate(POSES)]
    lens = {"w": 64, "h": 48, "fl_x": 60.0, "fl_y": 61.0, "cx": 31.0, "cy": 25.0}
    return {**lens, "camera_model": "OPENCV", "k1": 0.1, "k2": 0, "p1": 0.01, "p2": 0, "frames": frames, **entries}


def write(path, content: dict):
    path.write_text(json.dumps(content))
    return path


def test_transforms(tmp_path):
    """Poses turned from OpenGL's axes, intrinsics, OpenCV's distortion."""
    scene = read_transforms(write(tmp_path / "transforms.json", transforms()))
    assert [photo.name for photo in scene.photos] == ["images/0.png", "images/1.png", "images/2.png"]
    for photo, pose in zip(scene.photos, POSES, strict=True):
        np.testing.assert_allclose(photo.cam_T_world, pose, atol=1e-12)
        assert photo.lens.K.tolist() == [[60, 0, 31], [0, 61, 25], [0, 0, 1]]
        assert photo.lens.distortion == (0.1, 0, 0.01, 0, 0, 0, 0, 0)


def test_transforms_by_angle_of_view(tmp_path):
    """As Blender's scenes have it: no sizes, names without a suffix, one angle for both axes."""
    write_image(tmp_path / "train" / "r_0.png", np.zeros((40, 80, 3), np.uint8))
    frames = [{"file_path": "./train/r_0", "transform_matrix": gl_matrix(POSES[0])}]
    content = {"camera_angle_x": np.pi / 2, "frames": frames}
    (photo,) = read_transforms(write(tmp_path / "transforms_train.json", content)).photos
    assert photo.name == "train/r_0.png" and photo.lens.size == (80, 40) and photo.lens.distortion == ()
    np.testing.assert_allclose(photo.lens.K, [[40, 0, 40], [0, 40, 20], [0, 0, 1]], atol=1e-12)


def test_a_frames_own_lens_goes_first(tmp_path):
    """Nerfstudio writes intrinsics per frame where they differ."""
    content = transforms()
    content["frames"][1] |= {"fl_x": 70, "camera_model": "OPENCV_FISHEYE", "k1": 0.2}
    lenses = [photo.lens for photo in read_transforms(write(tmp_path / "a.json", content)).photos]
    assert [lens.K[0, 0] for lens in lenses] == [60, 70, 60]
    assert lenses[1].fisheye and lenses[1].distortion == (0.2, 0, 0, 0)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"frames": 3}, "has no list of frames"),
        ({"frames": []}, "holds no photo"),
        ({"frames": [{"file_path": "a.png"}]}, "is missing"),
        ({"frames": [{"file_path": "../a.png", "transform_matrix": np.eye(4).tolist()}]}, "not a path inside a folder"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": np.eye(3).tolist()}]}, "not 4x4"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": (2 * np.eye(4)).tolist()}]}, "not a rotation"),
        ({"camera_model": "EQUIRECTANGULAR"}, "'EQUIRECTANGULAR' is not supported"),
        ({"fl_x": "long"}, "is missing or not one"),
        ({"fl_x": -1}, "focal length"),
        ({"w": 1e300}, "pixels"),
    ],
)
def test_mistakes_in_transforms(tmp_path, entries, message):
    """Each ends in one line that names the file."""
    path = write(tmp_path / "transforms.json", transforms(**entries))
    with pytest.raises(DataError, match=message) as caught:
        read_transforms(path)
    assert str(caught.value).startswith(str(path)) and len(str(caught.value).splitlines()) == 1


def par_file(tmp_path, K=((60, 0, 31), (0, 61, 25), (0, 0, 1))):
    """A *_par.txt with its images."""
    lines = [str(len(POSES))]
    for k, pose in enumerate(POSES):
        write_image(tmp_path / f"temple{k}.png", np.zeros((48, 64, 3), np.uint8))
        numbers = (*np.array(K, float).ravel(), *pose[:3, :3].ravel(), *pose[:3, 3])
        lines.append(" ".join([f"temple{k}.png", *map(str, numbers)]))
    path = tmp_path / "temple_par.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_middlebury(tmp_path):
    """World to camera as it stands there; pixels whose centres are at integers."""
    scene = read_middlebury(par_file(tmp_path))
    for photo, pose in zip(scene.photos, POSES, strict=True):
        np.testing.assert_array_equal(photo.cam_T_world, pose)
        assert photo.lens.pixel_K().tolist() == [[60, 0, 31], [0, 61, 25], [0, 0, 1]] and photo.lens.size == (64, 48)


def test_mistakes_in_middlebury(tmp_path):
    """A missing image, a missing line, a skewed K."""
    path = par_file(tmp_path)
    (tmp_path / "temple1.png").unlink()
    with pytest.raises(DataError, match=r"temple1\.png: no such file"):
        read_middlebury(path)
    path.write_text("\n".join(par_file(tmp_path).read_text().split("\n")[:3]))
    with pytest.raises(DataError, match="3 images are announced, 2 listed"):
        read_middlebury(path)
    with pytest.raises(DataError, match="skewed"):
        read_middlebury(par_file(tmp_path, ((60, 1, 31), (0, 61, 25), (0, 0, 1))))
