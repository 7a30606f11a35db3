"""Prediction: the official programs' maps, what is written, and what a rerun makes anew."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import (
    FAST,
    GOLDEN,
    assert_nothing_half_written,
    change_times,
    error_line,
    run_process,
    run_program,
    succeed,
    write_checkpoint,
)
from PIL import Image
from places import Place

from datasets.formats.images import read_image, write_image
from datasets.formats.pfm import read_pfm
from datasets.io import read_camera
from models.checkpoint import file_digest
from tools.prediction.predictor import combined_confidence

CLI = GOLDEN / "cli"
VIEWS = 6
ON_CPU = Place(torch.device("cpu"))


@pytest.fixture(scope="session")
def student(tmp_path_factory) -> Path:
    """The checkpoint that made the programs' golden files."""
    return write_checkpoint(tmp_path_factory.mktemp("student") / "student.ckpt")


@pytest.fixture(scope="session")
def machine(request) -> tuple[str, ...]:
    """The flags of where and how to predict. In float32, as the golden files, unless the tests are told otherwise: by
    default processors that are fast in bf16 predict in it, which moves depths."""
    precision = {"float32": "off", "bfloat16": "bf16", "float16": "fp16"}[request.config.getoption("dtype")]
    return "--device", request.config.getoption("device"), "--num_workers", "0", "--amp", precision


@pytest.fixture(scope="session")
def predicted(student, machine, tmp_path_factory) -> Path:
    """All views of the golden training scan, predicted once."""
    outdir = tmp_path_factory.mktemp("predicted")
    flags = ("--testpath", CLI / "train", "--testlist", CLI / "train" / "scans.txt", "--loadckpt", student)
    succeed(run_program("tools/predict.py", *flags, *machine, "--outdir", outdir))
    return outdir


@pytest.fixture(scope="session")
def tested(student, machine, tmp_path_factory) -> Path:
    """All views of the golden test scan, predicted by test.py."""
    outdir = tmp_path_factory.mktemp("tested")
    flags = ("--testpath", CLI / "test", "--testlist", CLI / "test" / "scans.txt", "--loadckpt", student)
    succeed(run_program("test.py", *flags, *machine, "--outdir", outdir, "--filter_method", "none"))
    return outdir


@pytest.fixture(params=["expected_infer", "expected_test"])
def golden_case(request, place) -> tuple[Path, dict[str, np.ndarray]]:
    """What we predict, and what the official programs did: label prediction, and test."""
    place.needs(values=True)
    outdir = request.getfixturevalue({"expected_infer": "predicted", "expected_test": "tested"}[request.param])
    return outdir / "scan1", dict(np.load(CLI / f"{request.param}.npz"))


def maps(folder: Path, kind: str) -> np.ndarray:
    """The PFM files of all views [N, H, W]."""
    return np.stack([read_pfm(folder / kind / f"{view:08d}.pfm") for view in range(VIEWS)])


def test_golden_depth(place, golden_case):
    """Of the student in both layouts."""
    folder, golden = golden_case
    expected = np.stack([golden[f"depth_{view:08d}"] for view in range(VIEWS)])
    place.assert_same("chosen depth", maps(folder, "depth_est"), expected)


def test_golden_confidence(place, golden_case):
    """The product of the stages' confidences."""
    folder, golden = golden_case
    expected = np.stack([golden[f"confidence_{view:08d}"] for view in range(VIEWS)])
    place.assert_same("chosen confidence", maps(folder, "confidence"), expected)


def test_golden_camera_and_image(golden_case, tmp_path):
    """Camera and image as the official programs leave them for fusion, at the size of the depth map."""
    folder, golden = golden_case
    (tmp_path / "cam.txt").write_text(str(golden["camera_00000005"]))
    expected, camera = read_camera(tmp_path / "cam.txt"), read_camera(folder / "cams" / "00000005_cam.txt")
    np.testing.assert_allclose(camera.K, expected.K, rtol=1e-6)
    np.testing.assert_allclose(camera.cam_T_world, expected.cam_T_world, rtol=1e-6)
    image = np.asarray(Image.open(io.BytesIO(golden["image_00000005"].tobytes())))
    ours = read_image(folder / "images" / "00000005.jpg")
    assert ours.shape == image.shape == (*maps(folder, "depth_est").shape[1:], 3)
    assert np.abs(ours.astype(int) - image).mean() < 1


def test_camera_files_keep_the_depth_range(predicted, tested):
    """Later steps, and other programs, find it there: 192 intervals of 2.5 from 425."""
    for outdir in (predicted, tested):
        camera = read_camera(outdir / "scan1" / "cams" / "00000003_cam.txt")
        assert camera.depth_line == (425, 2.5, 192, 905)


def test_previews(predicted):
    """A picture beside every map, of its size."""
    for kind in ("depth_est", "confidence"):
        paths = sorted((predicted / "scan1" / kind).glob("*.png"))
        assert len(paths) == VIEWS
        assert read_image(paths[0]).shape[:2] == maps(predicted / "scan1", kind).shape[1:]


def test_record(predicted, student):
    """What the results depend on is kept beside them, the weights by their digest."""
    record = json.loads((predicted / "scan1" / "prediction.json").read_text())
    assert record["weights_sha256"] == file_digest(student)
    expected = {"views": 5, "numdepth": 192, "interval_scale": 1.06, "light": 6, "depth_interval_ratios": [4, 1, 0.5]}
    assert expected.items() <= record.items()


def test_combined_confidence():
    """Coarse stages are resized bilinearly to full size; then all are multiplied."""
    coarse, middle, fine = (np.full((h, 2 * h), value, np.float32) for h, value in ((2, 0.5), (4, 0.25), (8, 1.0)))
    fine[0, 0] = 0.5
    combined = combined_confidence([coarse, middle, fine])
    assert combined.shape == (8, 16) and combined[0, 0] == 0.0625 and (combined.flat[1:] == 0.125).all()


# ---------------------------------------------------------------- reruns


@pytest.fixture
def predict(student, tmp_path):
    """A function that predicts the golden training scan fast, into tmp_path/out; returns what is printed."""

    def run(*flags: object, checkpoint: Path = student) -> str:
        paths = ("--testpath", CLI / "train", "--loadckpt", checkpoint, "--outdir", tmp_path / "out")
        return succeed(run_program("tools/predict.py", *paths, *FAST, "--num_view", 3, *flags))

    return run


def test_rerun_makes_only_what_is_missing(predict, tmp_path):
    """A view is finished when its depth map is there."""
    predict()
    before = change_times(tmp_path / "out", "*.pfm")
    assert f"{VIEWS} views are finished already" in predict()
    assert change_times(tmp_path / "out", "*.pfm") == before
    (tmp_path / "out" / "scan1" / "depth_est" / "00000002.pfm").unlink()
    predict()
    after = change_times(tmp_path / "out", "*.pfm")
    changed = {name for name in before if before[name] != after[name]}
    assert before.keys() == after.keys()
    assert changed == {"scan1/depth_est/00000002.pfm", "scan1/confidence/00000002.pfm"}


@pytest.mark.parametrize("flags", [("--num_view", 4), ("--ndepths", "16,8,8"), ("--interval_scale", 1)])
def test_other_settings_start_anew(predict, tmp_path, flags):
    """Results of two settings never stand side by side."""
    predict()
    before = change_times(tmp_path / "out", "*.pfm")
    predict(*flags)
    after = change_times(tmp_path / "out", "*.pfm")
    assert before.keys() == after.keys() and all(before[name] != after[name] for name in before)


def test_another_checkpoint_starts_anew(predict, tmp_path):
    """Also under the same file name: the next round's weights make all depth maps again."""
    checkpoint = write_checkpoint(tmp_path / "model.ckpt", seed=1)
    predict(checkpoint=checkpoint)
    before, first = change_times(tmp_path / "out", "*.pfm"), maps(tmp_path / "out" / "scan1", "depth_est")
    write_checkpoint(checkpoint, seed=2)
    predict(checkpoint=checkpoint)
    after = change_times(tmp_path / "out", "*.pfm")
    assert before.keys() == after.keys() and all(before[name] != after[name] for name in before)
    assert not np.array_equal(maps(tmp_path / "out" / "scan1", "depth_est"), first)


def test_batches_give_the_same(predict, tmp_path):
    """Four views at a time, as far as they go."""
    predict()
    one = maps(tmp_path / "out" / "scan1", "depth_est")
    shutil.rmtree(tmp_path / "out")
    predict("--batch_size", 4)
    ON_CPU.assert_same("depth in a batch", maps(tmp_path / "out" / "scan1", "depth_est"), one)


def test_batches_of_images_of_different_sizes(student, tmp_path):
    """Views of one size are batched together; a scan may hold several."""
    scene = Path(shutil.copytree(CLI / "test", tmp_path / "test")) / "scan1"
    for view in (1, 4):
        path = scene / "images" / f"{view:08d}.jpg"
        write_image(path, read_image(path)[:70])
    flags = ("--dataset", "general_eval", "--testpath", scene.parent, "--loadckpt", student)
    succeed(run_program("tools/predict.py", *flags, *FAST, "--batch_size", 4, "--outdir", tmp_path / "out"))
    sizes = [read_pfm(tmp_path / "out" / "scan1" / "depth_est" / f"{view:08d}.pfm").shape for view in range(VIEWS)]
    assert [sizes[view] for view in (0, 1, 4)] == [(96, 160), (64, 160), (64, 160)]


def test_teacher_checkpoint(predict, tmp_path):
    """Round 0 predicts with the teacher: the network is told by the file."""
    predict(checkpoint=write_checkpoint(tmp_path / "teacher.ckpt", "teacher"))
    depth = maps(tmp_path / "out" / "scan1", "depth_est")
    assert np.isfinite(depth).all() and len(np.unique(depth)) > 1000


def test_views_without_sources_are_left_out(student, tmp_path):
    """As pair.txt says with a count of 0."""
    root = Path(shutil.copytree(CLI / "train", tmp_path / "train"))
    lines = (root / "Cameras" / "pair.txt").read_text().splitlines()
    lines[2 + 2 * 4] = "0"
    (root / "Cameras" / "pair.txt").write_text("\n".join(lines) + "\n")
    flags = ("--testpath", root, "--loadckpt", student, "--outdir", tmp_path / "out")
    succeed(run_program("tools/predict.py", *flags, *FAST))
    names = {path.stem for path in (tmp_path / "out" / "scan1" / "depth_est").glob("*.pfm")}
    assert names == {f"{view:08d}" for view in (0, 1, 2, 3, 5)}


# ---------------------------------------------------------------- processes


@pytest.mark.slow
def test_two_processes_share_the_views(predict, student, tmp_path):
    """torchrun with two gloo processes makes the files of one."""
    predict()
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    flags = ("--testpath", CLI / "train", "--loadckpt", student, "--outdir", tmp_path / "two")
    succeed(run_process(*launcher, "tools/predict.py", *flags, *FAST, "--num_view", 3))
    one, two = (sorted(p.relative_to(root) for p in root.rglob("*.*")) for root in (tmp_path / "out", tmp_path / "two"))
    assert one == two
    for kind in ("depth_est", "confidence"):
        ours, theirs = (maps(tmp_path / name / "scan1", kind) for name in ("two", "out"))
        ON_CPU.assert_same("chosen depth", ours, theirs)
    for path in (tmp_path / "out" / "scan1").glob("*/*.txt"):
        assert (tmp_path / "two" / path.relative_to(tmp_path / "out")).read_bytes() == path.read_bytes()


def test_run_as_a_module(student, tmp_path):
    """`python -m tools.predict` works like `python tools/predict.py`; a mistake found by a data worker is one line."""
    root = Path(shutil.copytree(CLI / "train", tmp_path / "train"))
    image = root / "Rectified" / "scan1_train" / "rect_001_6_r5000.png"
    image.write_bytes(image.read_bytes()[:5000])
    flags = ("--testpath", root, "--loadckpt", student, "--outdir", tmp_path / "out", "--num_workers", 1)
    line = error_line(run_process("-m", "tools.predict", *flags, "--device", "cpu", "--ndepths", "8,8,8"))
    assert line.startswith(f"error: {image}: is not a readable image")
    assert_nothing_half_written(tmp_path / "out")


def test_full_disk(student, tmp_path):
    """The file that does not fit is named; those that did are whole, and a rerun goes on."""
    flags = ("--testpath", CLI / "train", "--loadckpt", student, "--outdir", tmp_path / "out", *FAST)
    line = error_line(run_process("tools/predict.py", *flags, file_limit=40))  # a depth map takes 49 KB
    assert "confidence/00000000.pfm: cannot be written: File too large" in line
    assert_nothing_half_written(tmp_path / "out")
    succeed(run_program("tools/predict.py", *flags))
    assert len(list((tmp_path / "out" / "scan1" / "depth_est").glob("*.pfm"))) == VIEWS
