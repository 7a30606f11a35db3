"""COLMAP models: both formats hold the same, camera models become OpenCV's, what is wrong is named."""

import numpy as np
import pytest
from colmap_models import MODEL_NUMBERS, Camera, small_model, write_model

from datasets.files import DataError
from datasets.formats.colmap import find_model, read_cameras, read_colmap, read_images, read_points

FORMATS = pytest.mark.parametrize("text", [True, False], ids=["text", "binary"])


@FORMATS
def test_a_model(tmp_path, text):
    """Photos in the order of their names, with their lenses and poses; every point seen once by each of its photos."""
    model = small_model()
    scene = read_colmap(write_model(tmp_path, model, text))
    assert [photo.name for photo in scene.photos] == ["b.jpg", "c.jpg", "sub folder/a.jpg"]
    for photo, number in zip(scene.photos, (7, 9, 3), strict=True):
        np.testing.assert_allclose(photo.cam_T_world, model.images[number].cam_T_world, atol=1e-12)
        np.testing.assert_allclose(photo.cam_T_world[:3, :3] @ photo.centre, -photo.cam_T_world[:3, 3], atol=1e-12)
    lens = scene.photos[0].lens
    assert lens.size == (64, 48) and lens.K.tolist() == [[60, 0, 32], [0, 60, 24], [0, 0, 1]]
    assert lens.distortion[:2] == (0.1, 0) and scene.photos[2].lens is lens
    assert scene.photos[1].lens.distortion == ()
    np.testing.assert_array_equal(scene.points, model.points)
    seen = [[7, 3], [3, 9, 7], [9], [3, 9], [7, 9]]
    place = {7: 0, 9: 1, 3: 2}
    assert scene.tracks.tolist() == [[k, p] for k, track in enumerate(seen) for p in sorted(place[i] for i in track)]


def test_where_a_model_is_looked_for(tmp_path):
    """A folder itself, its sparse/0, its sparse; binary before text."""
    for name in ("sparse", "sparse/0", "."):
        write_model(tmp_path / name, small_model(), text=True)
        assert find_model(tmp_path) == (tmp_path / name, ".txt")
    write_model(tmp_path, small_model(), text=False)
    assert find_model(tmp_path) == (tmp_path, ".bin")
    assert find_model(tmp_path / "nowhere") is None
    with pytest.raises(DataError, match="holds no COLMAP model"):
        read_colmap(tmp_path / "nowhere")


@FORMATS
@pytest.mark.parametrize(
    ("name", "parameters", "focal", "distortion", "fisheye"),
    [
        ("SIMPLE_PINHOLE", (9, 1, 2), (9, 9), (), False),
        ("PINHOLE", (8, 9, 1, 2), (8, 9), (), False),
        ("SIMPLE_RADIAL", (9, 1, 2, 0.3), (9, 9), (0.3, 0, 0, 0, 0, 0, 0, 0), False),
        ("RADIAL", (9, 1, 2, 0.3, 0.4), (9, 9), (0.3, 0.4, 0, 0, 0, 0, 0, 0), False),
        ("OPENCV", (8, 9, 1, 2, 0.3, 0.4, 0.5, 0.6), (8, 9), (0.3, 0.4, 0.5, 0.6, 0, 0, 0, 0), False),
        ("OPENCV_FISHEYE", (8, 9, 1, 2, 0.3, 0.4, 0.5, 0.6), (8, 9), (0.3, 0.4, 0.5, 0.6), True),
        ("FULL_OPENCV", (8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (8, 9), (3, 4, 5, 6, 7, 8, 9, 10), False),
        ("SIMPLE_RADIAL_FISHEYE", (9, 1, 2, 0.3), (9, 9), (0.3, 0, 0, 0), True),
        ("RADIAL_FISHEYE", (9, 1, 2, 0.3, 0.4), (9, 9), (0.3, 0.4, 0, 0), True),
        ("OPENCV", (8, 9, 1, 2, 0, 0, 0, 0), (8, 9), (), False),
    ],
)
def test_camera_models(tmp_path, text, name, parameters, focal, distortion, fisheye):
    """Parameters in COLMAP's order become K and OpenCV's coefficients; without distortion there are none."""
    model = small_model()._replace(cameras={4: Camera(name, (64, 48), parameters)})
    lens = read_cameras(write_model(tmp_path, model, text) / f"cameras{'.txt' if text else '.bin'}", text)[4]
    assert lens.K.tolist() == [[focal[0], 0, 1], [0, focal[1], 2], [0, 0, 1]]
    assert (lens.distortion, lens.fisheye, lens.size) == (distortion, fisheye, (64, 48))


@FORMATS
def test_a_camera_model_that_opencv_lacks(tmp_path, text):
    """It is named, with what to do."""
    model = small_model()._replace(cameras={2: Camera("FOV", (64, 48), (8, 9, 1, 2, 0.3))})
    with pytest.raises(DataError, match=r"is not supported; run COLMAP's image_undistorter") as caught:
        read_colmap(write_model(tmp_path, model, text))
    assert ("FOV" if text else f"number {MODEL_NUMBERS['FOV']}") in str(caught.value)


def test_text_as_people_write_it(tmp_path):
    """Comments, blank lines, CRLF, names with spaces, images without points, a last line without an end."""
    write_model(tmp_path, small_model(), text=True)
    (tmp_path / "images.txt").write_bytes(
        b"# a\r\n\r\n3 2 0 0 0 1 2 3 2 my photo.jpg\r\n\r\n# b\r\n9 1 0 0 0 0 0 0 5 c.jpg"
    )
    poses = read_images(tmp_path / "images.txt", text=True)
    assert {number: pose.name for number, pose in poses.items()} == {3: "my photo.jpg", 9: "c.jpg"}
    np.testing.assert_array_equal(poses[3].cam_T_world, [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


@FORMATS
def test_what_does_not_belong_together(tmp_path, text):
    """Images of unknown cameras, points seen in unknown images, names given twice."""
    model = small_model()
    with pytest.raises(DataError, match=r"c\.jpg has camera 5, which .* lacks"):
        read_colmap(write_model(tmp_path, model._replace(cameras={2: model.cameras[2]}), text))
    with pytest.raises(DataError, match=r"a point is seen in image 8, which .* lacks"):
        read_colmap(write_model(tmp_path, model._replace(tracks=[*model.tracks[:4], (7, 8)]), text))
    twice = {**model.images, 9: model.images[9]._replace(name="b.jpg")}
    with pytest.raises(DataError, match=r"holds two photos named b\.jpg"):
        read_colmap(write_model(tmp_path, model._replace(images=twice), text))


@FORMATS
@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "a/../../b.jpg", "a\\b.jpg", "..", "a" * 300])
def test_names_cannot_leave_their_folder(tmp_path, text, name):
    """They are used as paths below the folder of images."""
    model = small_model()
    images = {**model.images, 9: model.images[9]._replace(name=name)}
    with pytest.raises(DataError, match="is not a path inside a folder"):
        read_colmap(write_model(tmp_path, model._replace(images=images), text))


@pytest.mark.parametrize("read", [read_cameras, read_images, read_points])
def test_truncated_files(tmp_path, read):
    """Wherever a binary file ends too early, the message names it."""
    name = {read_cameras: "cameras", read_images: "images", read_points: "points3D"}[read]
    path = write_model(tmp_path, small_model(), text=False) / f"{name}.bin"
    content = path.read_bytes()
    read(path, text=False)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=rf"^{path}: is damaged or incomplete"):
            read(path, text=False)


def test_a_model_without_points(tmp_path):
    """It is read: known poses often come so."""
    model = small_model()._replace(points=np.empty((0, 3)), tracks=[])
    for text in (True, False):
        scene = read_colmap(write_model(tmp_path / str(text), model, text))
        assert len(scene.photos) == 3 and scene.points.shape == (0, 3) and scene.tracks.shape == (0, 2)
