"""NeRF's transforms.json and Middlebury's *_par.txt: the same cameras as they were written from."""

import json

import numpy as np
import pytest
from colmap_models import small_model

from datasets.files import DataError
from datasets.formats.images import write_image
from datasets.formats.ply import write_ply
from datasets.formats.poses import read_middlebury, read_transforms
from datasets.photos.remarks import Remarks

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
    assert lenses[1].model == "fisheye" and lenses[1].distortion == (0.2, 0, 0, 0)


@pytest.mark.parametrize(
    "entries",
    [
        {"fl_x": 60.0, "fl_y": 61.0},
        {"fx": 60.0, "fy": 61.0},
        {"camera_angle_x": 2 * np.arctan(32 / 60), "camera_angle_y": 2 * np.arctan(24 / 61)},
        {"x_fov": np.degrees(2 * np.arctan(32 / 60)), "y_fov": np.degrees(2 * np.arctan(24 / 61))},
        {"K": [[60, 0, 31], [0, 61, 25], [0, 0, 1]]},
        {"intrinsic_matrix": [60, 0, 31, 0, 61, 25, 0, 0, 1]},
        {"intrinsics": [60, 61, 31, 25]},
    ],
)
@pytest.mark.parametrize("place", ["file", "frames"])
def test_names_of_intrinsics(tmp_path, entries, place):
    """In pixels, angles in radians or degrees, or a matrix, of the file or of each frame."""
    content = {key: value for key, value in transforms().items() if key not in ("fl_x", "fl_y")}
    for target in [content] if place == "file" else content["frames"]:
        target.update(entries)
    for photo in read_transforms(write(tmp_path / "transforms.json", content)).photos:
        np.testing.assert_allclose(photo.lens.K, [[60, 0, 31], [0, 61, 25], [0, 0, 1]], atol=1e-9)


@pytest.mark.parametrize(
    ("entries", "model"),
    [
        ({"is_fisheye": True, "p1": 0}, "fisheye"),
        ({"camera_model": "OPENCV_FISHEYE"}, "fisheye"),
        ({"is_fisheye": False}, "opencv"),
        ({"k4": 0.1}, "radial8"),
        ({"k4": 0.1, "camera_model": "FULL_OPENCV"}, "opencv"),
        ({"camera_model": "SIMPLE_RADIAL"}, "opencv"),
    ],
)
def test_models_of_distortion(tmp_path, entries, model):
    """is_fisheye is heeded, and k4 is the coefficient of r^8 unless the model is OpenCV's full one."""
    lens = read_transforms(write(tmp_path / "transforms.json", transforms(**entries))).photos[0].lens
    assert lens.model == model and lens.distortion[0] == 0.1


@pytest.mark.parametrize(
    "entries",
    [
        {"k7": 0.1},
        {"b1": 2.0},
        {"is_equirectangular": True},
        {"rolling_shutter": [0, 0, 0.1, 0]},
        {"crop_x": 10},
        {"lens_mode": "ftheta"},
        {"ftheta_p0": 0.3},
        {"k5": 0.1},
        {"frames_scale": 2.0},
        {"transform_matrix_start": [[1, 0], [0, 1]]},
        {"coordinate_system": "opencv"},
        {"handedness": "left"},
        {"flip_y": True},
        {"normal_mts_args": [1]},
        {"image_orientation": 90},
    ],
)
def test_entries_that_change_the_picture(tmp_path, entries):
    """What is not understood stops the import and is named; where it says nothing, it does not matter."""
    (name,) = entries
    path = write(tmp_path / "transforms.json", transforms(**entries))
    with pytest.raises(DataError, match=name):
        read_transforms(path)
    read_transforms(write(path, transforms(**{name: False})))


def test_entries_of_training(tmp_path):
    """They are passed over; those that are not known, and do not sound like geometry, are named."""
    said = []
    known = {"aabb_scale": 16, "applied_transform": np.eye(3, 4).tolist(), "train_filenames": ["a"], "scale": 0.3}
    content = transforms(**known, weather="sunny")
    read_transforms(write(tmp_path / "transforms.json", content), remarks=Remarks(say=said.append))
    assert len(said) == 1 and "not used: 'weather'" in said[0]


def test_poses_with_a_scale(tmp_path):
    """They are freed of it, places stay, and it is said once."""
    content, said = transforms(), []
    for frame in content["frames"]:
        matrix = np.array(frame["transform_matrix"])
        matrix[:3, :3] *= 0.25
        frame["transform_matrix"] = matrix.tolist()
    scene = read_transforms(write(tmp_path / "transforms.json", content), remarks=Remarks(say=said.append))
    for photo, pose in zip(scene.photos, POSES, strict=True):
        np.testing.assert_allclose(photo.cam_T_world, pose, atol=1e-9)
    assert len(said) == 1 and "scale 0.25; normalised" in said[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda matrix: matrix.T, r"row 0 0 0 1; write its matrix row by row \(frame 0\)"),
        (lambda matrix: matrix.ravel(), "not 4x4; write its rows"),
        (lambda matrix: matrix @ np.diag([-1, 1, 1, 1]), "mirrors; export it with right-handed axes"),
    ],
)
def test_matrices_written_otherwise(tmp_path, change, message):
    """Column by column a matrix would lose its place: it is refused, with what to do."""
    content = transforms()
    for frame in content["frames"]:
        frame["transform_matrix"] = change(np.array(frame["transform_matrix"])).tolist()
    with pytest.raises(DataError, match=message):
        read_transforms(write(tmp_path / "transforms.json", content))


def test_a_cloud_of_points(tmp_path):
    """ply_file_path beside the file; never from elsewhere."""
    points = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    write_ply(tmp_path / "scene" / "sparse_pc.ply", points, np.zeros((30, 3), np.uint8))
    for name in ("sparse_pc.ply", "../../x/sparse_pc.ply"):
        scene = read_transforms(write(tmp_path / "scene" / "transforms.json", transforms(ply_file_path=name)))
        np.testing.assert_array_equal(scene.points, points)
    write_ply(tmp_path / "other.ply", points, np.zeros((30, 3), np.uint8))
    with pytest.raises(DataError, match="is not there"):
        read_transforms(write(tmp_path / "scene" / "transforms.json", transforms(ply_file_path="../other.ply")))


def test_damaged_frames(tmp_path):
    """They are left out, and said; or refused."""
    content, said = transforms(), []
    del content["frames"][1]["transform_matrix"]
    content["frames"][2]["transform_matrix"][0][3] = float("nan")
    path = write(tmp_path / "transforms.json", content)
    assert len(read_transforms(path, remarks=Remarks(strict=False, say=said.append)).photos) == 1
    assert len(said) == 2 and "frame 1 is damaged" in said[0]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"frames": 3}, "has no list of frames"),
        ({"frames": []}, "holds no photo"),
        ({"frames": [{"file_path": "a.png"}]}, "is missing"),
        ({"frames": [{"file_path": "..", "transform_matrix": np.eye(4).tolist()}]}, "not a path inside a folder"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": np.eye(3).tolist()}]}, "not 4x4"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": np.diag([1, 2, 1, 1]).tolist()}]}, "not a rotation"),
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
