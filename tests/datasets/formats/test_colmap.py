"""COLMAP models: both formats hold the same, camera models become OpenCV's, what is wrong is named."""

import struct

import numpy as np
import pytest
from colmap_models import Camera, small_model, write_model

from datasets.files import DataError
from datasets.formats.colmap import find_model, read_cameras, read_colmap, read_images, read_points
from datasets.formats.colmap_rows import MODELS
from datasets.photos.remarks import Remarks

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
    ("name", "parameters", "focal", "distortion", "model"),
    [
        ("SIMPLE_PINHOLE", (9, 1, 2), (9, 9), (), "opencv"),
        ("PINHOLE", (8, 9, 1, 2), (8, 9), (), "opencv"),
        ("SIMPLE_RADIAL", (9, 1, 2, 0.3), (9, 9), (0.3, 0, 0, 0, 0, 0, 0, 0), "opencv"),
        ("RADIAL", (9, 1, 2, 0.3, 0.4), (9, 9), (0.3, 0.4, 0, 0, 0, 0, 0, 0), "opencv"),
        ("OPENCV", (8, 9, 1, 2, 0.3, 0.4, 0.5, 0.6), (8, 9), (0.3, 0.4, 0.5, 0.6, 0, 0, 0, 0), "opencv"),
        ("OPENCV_FISHEYE", (8, 9, 1, 2, 0.3, 0.4, 0.5, 0.6), (8, 9), (0.3, 0.4, 0.5, 0.6), "fisheye"),
        ("FULL_OPENCV", (8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (8, 9), (3, 4, 5, 6, 7, 8, 9, 10), "opencv"),
        ("SIMPLE_RADIAL_FISHEYE", (9, 1, 2, 0.3), (9, 9), (0.3, 0, 0, 0), "fisheye"),
        ("RADIAL_FISHEYE", (9, 1, 2, 0.3, 0.4), (9, 9), (0.3, 0.4, 0, 0), "fisheye"),
        ("OPENCV", (8, 9, 1, 2, 0, 0, 0, 0), (8, 9), (), "opencv"),
        ("SIMPLE_FISHEYE", (9, 1, 2), (9, 9), (0, 0, 0, 0), "fisheye"),
        ("FISHEYE", (8, 9, 1, 2), (8, 9), (0, 0, 0, 0), "fisheye"),
        ("FOV", (8, 9, 1, 2, 0.3), (8, 9), (0.3,), "fov"),
        ("SIMPLE_DIVISION", (9, 1, 2, 0.3), (9, 9), (0.3,), "division"),
        ("DIVISION", (8, 9, 1, 2, 0.3), (8, 9), (0.3,), "division"),
        ("EUCM", (8, 9, 1, 2, 0.5, 1.1), (8, 9), (0.5, 1.1), "eucm"),
        ("THIN_PRISM_FISHEYE", (8, 9, 1, 2, *range(3, 11)), (8, 9), tuple(range(3, 11)), "thin_prism_fisheye"),
        (
            "RAD_TAN_THIN_PRISM_FISHEYE",
            (8, 9, 1, 2, *range(3, 15)),
            (8, 9),
            tuple(range(3, 15)),
            "rad_tan_thin_prism_fisheye",
        ),
    ],
)
def test_camera_models(tmp_path, text, name, parameters, focal, distortion, model):
    """Parameters in COLMAP's order become K and the coefficients; without distortion there are none."""
    scene = small_model()._replace(cameras={4: Camera(name, (64, 48), parameters)})
    lens = read_cameras(write_model(tmp_path, scene, text) / f"cameras{'.txt' if text else '.bin'}", text)[4]
    assert lens.K.tolist() == [[focal[0], 0, 1], [0, focal[1], 2], [0, 0, 1]]
    assert (lens.distortion, lens.model, lens.size) == (distortion, model, (64, 48))


@FORMATS
def test_cameras_without_a_pinhole_image(tmp_path, text):
    """Panoramas, and what a later COLMAP may bring, are named, with what to do."""
    model = small_model()._replace(cameras={2: Camera("EQUIRECTANGULAR", (64, 48), (64, 48))})
    with pytest.raises(DataError, match=r"'EQUIRECTANGULAR' is not supported; cut the panoramas"):
        read_colmap(write_model(tmp_path, model, text))
    path = tmp_path / f"cameras{'.txt' if text else '.bin'}"
    content = b"2 NEW 64 48 1 2" if text else struct.pack("<QIiQQ2d", 1, 2, 99, 64, 48, 1, 2)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"'(NEW|number 99)' is not supported; update COLMAP's model"):
        read_cameras(path, text)


def test_every_camera_model_of_pycolmap():
    """The table knows the numbers, names and parameters of the installed pycolmap; the tests know the formulas."""
    pycolmap = pytest.importorskip("pycolmap")
    known = {name: number for name, number in pycolmap.CameraModelId.__members__.items() if name != "INVALID"}
    assert {name: int(number) for name, number in known.items()} == {m[0]: k for k, m in MODELS.items()}
    for name, parameters, _ in MODELS.values():
        camera = pycolmap.Camera.create_from_model_name(1, name, 100.0, 64, 48)
        assert len(camera.params) == len(parameters.split())


@pytest.mark.parametrize("points", ["missing", "blank", "some"])
def test_one_or_two_lines_per_image(tmp_path, points):
    """The second line, of points, may be missing altogether, and any may be blank."""
    write_model(tmp_path, small_model(), text=True)
    lines = [line for line in (tmp_path / "images.txt").read_text().split("\n") if line.endswith(".jpg")]
    second = {"missing": "", "blank": "\n", "some": "1.5 2.5 3 4 5 -1 7 8 9 10 11 12\n"}[points]
    (tmp_path / "images.txt").write_text("# comment\n" + "".join(f"{line}\n{second}" for line in lines))
    assert {pose.name for pose in read_images(tmp_path / "images.txt", text=True).values()} == {
        "b.jpg",
        "sub folder/a.jpg",
        "c.jpg",
    }


def test_the_largest_of_several_models(tmp_path):
    """It is taken, wherever programs put it, and the others are named."""
    said = []
    model = small_model()
    write_model(
        tmp_path / "colmap" / "sparse" / "0", model._replace(images={7: model.images[7]}, tracks=[()] * 5), True
    )
    write_model(tmp_path / "colmap" / "sparse" / "1", model, text=False)
    write_model(
        tmp_path / "colmap" / "sparse" / "2", model._replace(images={9: model.images[9]}, tracks=[()] * 5), False
    )
    assert len(read_colmap(tmp_path, Remarks(say=said.append)).photos) == 3
    assert "colmap/sparse/1: the largest of 3 models" in said[0] and "not used: 0, 2" in said[0]


def test_a_model_above_others(tmp_path):
    """Of a model in a folder and those in its numbered folders the largest is taken; a text beside that differs is
    named."""
    said, model = [], small_model()
    small = model._replace(images={k: model.images[k] for k in (7, 9)}, tracks=[()] * 5)
    write_model(tmp_path / "sparse", model, text=True)
    write_model(tmp_path / "sparse" / "0", small, text=True)
    assert len(read_colmap(tmp_path, Remarks(say=said.append)).photos) == 3
    assert "sparse: the largest of 2 models" in said[0] and said[0].endswith("not used: 0")
    write_model(tmp_path / "sparse", model, text=False)
    write_model(tmp_path / "sparse", small, text=True)
    assert len(read_colmap(tmp_path / "sparse", Remarks(say=said.append)).photos) == 3
    assert "images.bin of 3 images is read, not images.txt of 2" in said[-1]


def test_a_damaged_line_among_images_of_one_line(tmp_path):
    """It is no line of points, and named."""
    said = []
    write_model(tmp_path, small_model(), text=True)
    lines = [line for line in (tmp_path / "images.txt").read_text().split("\n") if line.endswith(".jpg")]
    (tmp_path / "images.txt").write_text("\n".join([lines[0], lines[1].replace("0.", "O."), lines[2]]))
    assert len(read_images(tmp_path / "images.txt", True, Remarks(strict=False, say=said.append))) == 2
    assert len(said) == 1 and "1 of its lines are damaged" in said[0] and "O." in said[0]


def test_damaged_elements(tmp_path):
    """A pose of zeros, a point of nan, a track to nowhere, lines that are none: left out, and said; or refused."""
    write_model(tmp_path, small_model(), text=True)
    images, points = tmp_path / "images.txt", tmp_path / "points3D.txt"
    images.write_text(images.read_text() + "8 0 0 0 0 1 2 3 2 bad.jpg\n\n17 nonsense\n")
    points.write_text(points.read_text() + "90 nan 1 2 0 0 0 1 7 0\n91 1 2 3 0 0 0 1 77 0\n92 1 2\n")
    said = []
    scene = read_colmap(tmp_path, Remarks(strict=False, say=said.append))
    assert len(scene.photos) == 3 and len(scene.points) == 6 and np.isfinite(scene.points).all()
    for problem in ("bad.jpg", "17 nonsense", "1 of 7 points", "image 77", "92 1 2"):
        assert sum(problem in line and line.endswith("left out") for line in said) == 1
    with pytest.raises(DataError, match="nonsense"):
        read_colmap(tmp_path)


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
@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("../a.jpg", "a.jpg"),
        ("/home/me/a.jpg", "home/me/a.jpg"),
        ("a/../../d.jpg", "d.jpg"),
        ("a\\d.jpg", "a/d.jpg"),
        ("C:\\Users\\me\\d.jpg", "Users/me/d.jpg"),
        ("./a//d.jpg", "a/d.jpg"),
    ],
)
def test_names_of_other_machines(tmp_path, text, name, inside):
    """They are cut to what may lie below the folder of images."""
    model = small_model()
    images = {**model.images, 9: model.images[9]._replace(name=name)}
    scene = read_colmap(write_model(tmp_path, model._replace(images=images), text))
    assert inside in [photo.name for photo in scene.photos]


@FORMATS
@pytest.mark.parametrize("name", ["..", "/", "a/..", "a" * 300, "\x1b[2J.jpg"])
def test_names_that_are_none(tmp_path, text, name):
    """They are refused."""
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
    for length in range(1, len(content), 7):  # an empty file of points has none
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=rf"^{path}: is damaged or incomplete"):
            read(path, text=False)


def test_a_model_without_points(tmp_path):
    """It is read: known poses often come so."""
    model = small_model()._replace(points=np.empty((0, 3)), tracks=[])
    for text in (True, False):
        scene = read_colmap(write_model(tmp_path / str(text), model, text))
        assert len(scene.photos) == 3 and scene.points.shape == (0, 3) and scene.tracks.shape == (0, 2)
