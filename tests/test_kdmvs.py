"""The Python face: the programs' bytes, quick to import, and a line for what cannot be."""

import dataclasses
import gc
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from colmap_models import model_of_scan, write_model
from helpers import FAST, ROOT, change_times, run_program, succeed, write_checkpoint

import kdmvs
from datasets.formats.images import read_image
from datasets.formats.pfm import read_pfm
from datasets.formats.ply import read_ply
from datasets.io import read_camera
from datasets.layouts.general import GeneralScans
from datasets.synthetic.scans import write_test_layout, write_training_layout
from tools.prediction.settings import NetworkOverrides
from tools.training.settings import Inputs, Machine, Saving, Schedule

SMALL = kdmvs.PredictionSettings(views=3, network=NetworkOverrides(ndepths=(8, 8, 8)), workers=1)
FLIP = (1, -1, -1, 1)  # NeRF's cameras look along -z
# With weights by rule depths of different views agree by chance only.
LOOSE = kdmvs.FusionSettings(disp_threshold=50, num_consistent=1, thres_view=1, prob_threshold=0, conf=0)


@pytest.fixture(scope="module")
def garden(tmp_path_factory) -> Path:
    """A rendered scan of five views of 96x64, in the test layout."""
    root = tmp_path_factory.mktemp("data")
    write_test_layout(root, {"garden": 3}, 96, 64, 5)
    return root / "garden"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """A teacher's checkpoint, whose depth is smoother than a student's."""
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "teacher.ckpt", "teacher")


@pytest.fixture(scope="module")
def model(teacher) -> kdmvs.Model:
    return kdmvs.load(teacher, SMALL, device="cpu")


@pytest.fixture(scope="module")
def views(model, garden) -> list[kdmvs.View]:
    return list(kdmvs.predict(model, kdmvs.open_scan(garden)))


@pytest.fixture(scope="module")
def tested(garden, teacher, tmp_path_factory) -> Path:
    """What test.py makes of the same scan; each fusion has a folder of its own."""
    outdir = tmp_path_factory.mktemp("tested")
    for method in ("normal", "gipuma"):
        flags = ("--testpath_single_scene", garden, "--loadckpt", teacher, "--num_view", 3, "--outdir", outdir / method)
        fusion = ("--filter_method", method, "--disp_threshold", 50, "--num_consistent", 1, "--thres_view", 1)
        loose = ("--prob_threshold", 0, "--conf", 0, "--normals")
        succeed(run_program("test.py", *flags, *FAST, *fusion, *loose))
    return outdir


# ---------------------------------------------------------------- the module


def test_import_is_quick():
    """Neither torch nor numba is loaded, nor by the settings; what is missing is told as Python does."""
    names = "kdmvs.PredictionSettings, kdmvs.DistillationSettings, kdmvs.ReconstructionSettings, kdmvs.CheckpointError"
    code = f"import kdmvs, sys; {names}; print(sorted({{'torch', 'numba', 'scipy'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.stdout == "[]\n", result.stderr
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kdmvs.nothing  # noqa: B018


def test_every_name_is_there_and_described():
    """In `__all__`, in dir(), with a docstring, and in docs/python.md."""
    guide = (ROOT / "docs" / "python.md").read_text("utf-8")
    assert set(kdmvs.__all__) <= set(dir(kdmvs))
    for name in kdmvs.__all__:
        assert inspect.getdoc(getattr(kdmvs, name)), name
        assert f"kdmvs.{name}" in guide, name


def test_another_package_named_datasets(tmp_path):
    """Names are common: who has such a package in front is told, instead of a missing module."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").touch()
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import kdmvs"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stderr.splitlines()[-1].startswith("ImportError: kdmvs: another package named datasets")


# ---------------------------------------------------------------- the bytes of test.py


def test_maps_are_those_of_test_py(views, tested):
    """Depth and confidence bit by bit, camera and image as far as files hold them."""
    folder = tested / "gipuma" / "garden"
    assert [view.number for view in views] == sorted(int(path.stem) for path in folder.glob("depth_est/*.pfm"))
    for view in views:
        name = f"{view.number:08d}"
        np.testing.assert_array_equal(view.depth, read_pfm(folder / "depth_est" / f"{name}.pfm"))
        np.testing.assert_array_equal(view.confidence, read_pfm(folder / "confidence" / f"{name}.pfm"))
        camera = read_camera(folder / "cams" / f"{name}_cam.txt")
        np.testing.assert_allclose(view.camera.K, camera.K, rtol=1e-6)
        assert view.camera.depth_line == pytest.approx(camera.depth_line)
        assert np.abs(view.image.astype(int) - read_image(folder / "images" / f"{name}.jpg")).mean() < 3


@pytest.mark.parametrize("method", ["gipuma", "normal"])
def test_clouds_are_those_of_test_py(views, tested, tmp_path, method):
    """The PLY, byte by byte, with normals."""
    settings = dataclasses.replace(LOOSE, method=method, cloud=kdmvs.CloudOptions(normals=True))
    cloud = kdmvs.fuse(iter(views), settings, device="cpu")
    cloud.write(tmp_path / "garden.ply")
    cloud.write(tmp_path / "garden.glb")
    assert (tmp_path / "garden.glb").read_bytes().startswith(b"glTF")
    with pytest.raises(kdmvs.DataError, match=r"a\.xyz: a cloud is written as \.ply, \.laz, \.glb; end it so"):
        cloud.write(tmp_path / "a.xyz")
    ply = tested / method / "gipuma_pcd" / "garden.ply"
    assert (tmp_path / "garden.ply").read_bytes() == ply.read_bytes()
    assert len(cloud) == len(cloud.colours) == len(cloud.normals) == len(read_ply(ply)[0]) > 100


def test_one_view_from_memory(model, views, garden):
    """Images and cameras as arrays give the depth that the files give."""
    layout = GeneralScans(garden.parent)
    (first, sources), *_ = layout.pairs("garden")
    chosen = [first, *sources[:2]]
    images = [read_image(layout.image_path("garden", view)) for view in chosen]
    cameras = [layout.camera("garden", view) for view in chosen]
    depth_range = cameras[0].depth_range(192)
    depth, confidence = kdmvs.predict_view(model, images, cameras, depth_range)
    assert depth.dtype == confidence.dtype == np.float32
    np.testing.assert_array_equal(depth, views[0].depth)
    np.testing.assert_array_equal(confidence, views[0].confidence)
    again, _ = kdmvs.predict_view(model, images, [(camera.K, camera.cam_T_world) for camera in cameras], depth_range)
    np.testing.assert_array_equal(again, depth)


def test_defaults_are_those_of_test_py():
    """Without settings: the shipped weights as test.py uses them."""
    loaded = kdmvs.load(device="cpu")
    assert loaded.checkpoint == ROOT / "ckpt" / "kdmvs.ckpt" and loaded.settings == kdmvs.PredictionSettings()
    assert loaded.network.settings.kind == "student" and not loaded.network.training


# ---------------------------------------------------------------- scans


def test_scans_are_found_in_any_layout(garden, tmp_path):
    """A scan's own folder, a data set's folder with a name where there are several, and DTU's training layout."""
    assert kdmvs.open_scan(garden).name == "garden"
    assert kdmvs.open_scan(garden.parent).name == "garden"
    assert kdmvs.open_scan(str(garden)).views == [0, 1, 2, 3, 4]
    write_training_layout(tmp_path / "dtu", {"scan1": 1, "scan2": 2}, 64, 32, 3)
    assert kdmvs.open_scan(tmp_path / "dtu", "scan2").layout.lights("scan2") == [3, 6]
    with pytest.raises(kdmvs.DataError, match="holds 2 scans, scan1, scan2"):
        kdmvs.open_scan(tmp_path / "dtu")
    with pytest.raises(kdmvs.DataError, match="has no scan scan3"):
        kdmvs.open_scan(tmp_path / "dtu", "scan3")
    with pytest.raises(kdmvs.DataError, match="layout dtu: must be one of"):
        kdmvs.open_scan(tmp_path / "dtu", "scan1", layout="dtu")
    with pytest.raises(kdmvs.DataError, match="nowhere: no such folder"):
        kdmvs.open_scan(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(kdmvs.DataError, match="holds no COLMAP model"):
        kdmvs.open_scan(tmp_path / "empty")


def test_a_scan_in_several_lights_is_predicted_in_one(model, tmp_path):
    """Each view once: in light 6, as tools/predict.py does, or in the first that there is."""
    write_training_layout(tmp_path / "both", {"scan1": 1}, 64, 32, 3, lights=(3, 6))
    write_training_layout(tmp_path / "six", {"scan1": 1}, 64, 32, 3, lights=(6,))
    both, six = (list(kdmvs.predict(model, kdmvs.open_scan(tmp_path / name))) for name in ("both", "six"))
    assert [view.number for view in both] == [view.number for view in six]
    np.testing.assert_array_equal(both[0].depth, six[0].depth)


def test_photos_with_poses(model, views, garden, tmp_path):
    """A COLMAP model or a transforms.json become a scan of the same views, in a folder that goes with the scan."""
    shutil.copytree(garden / "images", tmp_path / "garden" / "images")
    with pytest.raises(kdmvs.DataError, match="holds no COLMAP model"):
        kdmvs.open_scan(tmp_path / "garden")
    view = GeneralScans(garden.parent).camera("garden", 0)
    depth = read_pfm(garden / "gt" / "00000000.pfm")
    chosen = np.zeros(depth.shape, bool)
    chosen[::8, ::8] = True
    colmap = model_of_scan(garden, view.lift(depth, chosen))
    write_model(tmp_path / "garden" / "sparse" / "0", colmap, text=False)
    frames = [
        {"file_path": f"images/{image.name}", "transform_matrix": (np.linalg.inv(image.cam_T_world) * FLIP).tolist()}
        for image in colmap.images.values()
    ]
    K = view.K
    lens = {"w": 96, "h": 64, "fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}
    (tmp_path / "garden" / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    for source in (tmp_path / "garden", tmp_path / "garden" / "transforms.json"):
        scan = kdmvs.open_scan(source)
        assert scan.name == "garden" and scan.views == [0, 1, 2, 3, 4]
        assert next(kdmvs.predict(model, scan)).depth.shape == views[0].depth.shape
        made = scan.layout.root
        assert (made / "garden" / "pair.txt").exists()
        del scan
        gc.collect()
        assert not made.exists()
    kept = kdmvs.open_scan(tmp_path / "garden", folder=tmp_path / "kept")
    assert kept.name == "kept" and (tmp_path / "kept" / "pair.txt").exists()


def test_a_scan_changes_on_disk(garden, tmp_path):
    """A notebook lives long: what is opened again is read again."""
    folder = Path(shutil.copytree(garden, tmp_path / "garden"))
    assert len(kdmvs.open_scan(folder).views) == 5
    (folder / "pair.txt").write_text("2\n0\n1 1 1.0\n1\n1 0 1.0\n")
    assert kdmvs.open_scan(folder).views == [0, 1]


# ---------------------------------------------------------------- mistakes


def arrays(count: int = 2, height: int = 32, width: int = 64) -> tuple[list, list]:
    """Images and cameras of some views."""
    K = np.array([[60.0, 0, width / 2], [0, 60, height / 2], [0, 0, 1]])
    poses = [np.eye(4) for _ in range(count)]
    for number, pose in enumerate(poses):
        pose[0, 3] = 10 * number
    return [np.full((height, width, 3), 128, np.uint8) for _ in poses], [(K, pose) for pose in poses]


def wrong_arrays() -> dict[str, tuple]:
    """By what the message says: images, cameras and depth range that cannot be."""
    images, cameras = arrays()
    floats = [image.astype(np.float32) for image in images]
    grey = [image[..., 0] for image in images]
    lists = [image.tolist() for image in images]
    odd, _ = arrays(height=40)
    larger, _ = arrays(height=64)
    K, pose = cameras[1]
    flat, unknown, turned = np.zeros((3, 3)), np.full((4, 4), np.nan), np.eye(4)
    turned[3] = (1, 2, 3, 1)
    return {
        "2 images, but 1 cameras": (images, cameras[:1], (1, 2)),
        "1 images: depth of the first one needs": (images[:1], cameras[:1], (1, 2)),
        r"image 0: is an array of float32 \[32, 64, 3\], must be an array of uint8": (floats, cameras, (1, 2)),
        r"image 0: is an array of uint8 \[32, 64\], must be": (grey, cameras, (1, 2)),
        "image 0: is a list, must be an array": (lists, cameras, (1, 2)),
        "image 0: is 64x40; its sides must be multiples of 32": (odd, cameras, (1, 2)),
        "image 1: is 64x64, image 0 is 64x32": ([images[0], larger[1]], cameras, (1, 2)),
        r"K of camera 1: is an array of float64 \[4, 4\]": (images, [cameras[0], (pose, pose)], (1, 2)),
        "K of camera 1: must be finite and invertible": (images, [cameras[0], (flat, pose)], (1, 2)),
        "cam_T_world of camera 1: must be finite": (images, [cameras[0], (K, unknown)], (1, 2)),
        "cam_T_world of camera 1: its last row": (images, [cameras[0], (K, turned)], (1, 2)),
        "camera 1: must be a Camera, or K": (images, [cameras[0], pose], (1, 2)),
        r"depth_range \(2, 1\): must be positive": (images, cameras, (2, 1)),
        "depth_range: must be two numbers": (images, cameras, 5),
    }


@pytest.mark.parametrize("message", list(wrong_arrays()))
def test_arrays_that_cannot_be(model, message):
    """Are refused at the border, in words that say which one and what it must be."""
    with pytest.raises(kdmvs.DataError, match=message):
        kdmvs.predict_view(model, *wrong_arrays()[message])


def test_views_that_cannot_be(views):
    """Maps and images of different sizes or types; too few, or one twice; a fusion that is not there."""
    for change, message in (
        ({"depth": views[0].depth[:32]}, "confidence of view 0: is an array of float32"),
        ({"depth": views[0].depth.astype(float)}, "depth of view 0: is an array of float64"),
        ({"image": views[0].image[:, :32]}, "image of view 0: is an array of uint8"),
    ):
        with pytest.raises(kdmvs.DataError, match=message):
            dataclasses.replace(views[0], **change)
    for wrong, message in ((views[:1], "1 views: fusion needs two"), (views + views[:1], "view 0: is there twice")):
        with pytest.raises(kdmvs.DataError, match=message):
            kdmvs.fuse(wrong)
    with pytest.raises(kdmvs.DataError, match="are for test"):
        kdmvs.fuse(views, kdmvs.FusionSettings(method="none"))


def test_settings_of_numpys_numbers():
    """Are those of Python's, in records too; what is no number, or no precision, is refused."""
    odd = {
        "views": np.int64(3),
        "numdepth": np.int32(96),
        "max_size": np.array([64, 64]),
        "interval_scale": np.float32(1),
    }
    plain = {"views": 3, "numdepth": 96, "max_size": (64, 64), "interval_scale": 1.0}
    settings = kdmvs.PredictionSettings(**odd)
    assert settings == kdmvs.PredictionSettings(**plain) and type(settings.max_size[0]) is type(settings.views) is int
    for wrong, message in (
        ({"views": "5"}, "--num_view '5': must be a whole number"),
        ({"views": 5.0}, "--num_view 5.0: must be a whole number"),
        ({"amp": "fp32"}, "--amp fp32: must be one of auto, off, bf16, fp16"),
    ):
        with pytest.raises(kdmvs.DataError, match=message):
            kdmvs.PredictionSettings(**wrong)


def test_some_views_are_fused(views):
    """Sources that are not among them do not matter; views of one's own need none."""
    some = [dataclasses.replace(view, sources=()) for view in views[:3]]
    own, chosen = kdmvs.fuse(some, LOOSE), kdmvs.fuse(views[:3], LOOSE)
    np.testing.assert_array_equal(own.points, chosen.points)
    nothing = kdmvs.fuse(some, dataclasses.replace(LOOSE, prob_threshold=2.0))
    assert len(nothing) == 0 and nothing.points.shape == (0, 3) and nothing.normals is None


def test_weights_that_cannot_be(tmp_path):
    """CheckpointError, as the programs' line."""
    with pytest.raises(kdmvs.CheckpointError, match="no such checkpoint"):
        kdmvs.load(tmp_path / "none.ckpt")


# ---------------------------------------------------------------- rounds


def small_rounds() -> kdmvs.DistillationSettings:
    """Two steps a student."""
    student = kdmvs.StudentSettings(
        Saving(""), inputs=Inputs(nviews=3), schedule=Schedule(1, max_steps=2), machine=Machine("cpu", num_workers=0)
    )
    labels = (kdmvs.LabelSettings(thres_view=1), kdmvs.LabelSettings(thres_view=0, conf=0))
    return kdmvs.DistillationSettings(
        dataclasses.replace(kdmvs.PredictionSettings(), views=3, light=6), labels, student
    )


def test_two_rounds(teacher, tmp_path):
    """The first round's student teaches in the second; a second call makes nothing anew."""
    write_training_layout(tmp_path / "dtu", {"scan1": 1, "scan2": 2}, 64, 32, 3, lights=(6,))
    scans = [kdmvs.open_scan(tmp_path / "dtu", name) for name in ("scan1", "scan2")]
    first, second = kdmvs.distil(teacher, scans, 2, tmp_path / "kd", small_rounds())
    assert (first.number, first.teacher, second.teacher) == (1, teacher, first.student)
    assert first.summary.views == 6 and second.summary.kept == 1  # no source has to agree in the second round
    assert kdmvs.load(second.student).network.settings.kind == "student"
    made = change_times(tmp_path / "kd", "*.pfm") | change_times(tmp_path / "kd", "*.ckpt")
    again = kdmvs.distil(teacher, tmp_path / "dtu", 2, tmp_path / "kd", small_rounds())
    assert [result.student for result in again] == [first.student, second.student]
    assert again[0].summary.finished == 6
    assert change_times(tmp_path / "kd", "*.pfm") | change_times(tmp_path / "kd", "*.ckpt") == made
    other = dataclasses.replace(small_rounds().student, loss="paper")
    with pytest.raises(kdmvs.DataError, match=r"student: was trained with loss official \(now paper\)"):
        kdmvs.distil(teacher, scans, 1, tmp_path / "kd", dataclasses.replace(small_rounds(), student=other))
