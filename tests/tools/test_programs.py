"""Whole programs on the golden scan: depth to cloud, and mistakes that end in one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import (
    FAST,
    GOLDEN,
    PATIENCE,
    ROOT,
    assert_nothing_half_written,
    change_times,
    error_line,
    run_process,
    run_program,
    succeed,
    write_checkpoint,
)
from plyfile import PlyData

from datasets.formats.images import read_image, write_image
from datasets.formats.pfm import write_pfm
from datasets.formats.ply import read_ply
from datasets.io import write_pairs
from datasets.layouts.general import GeneralScans
from fusion.clouds import CloudOptions
from tools.prediction import fuse
from tools.prediction.settings import FusionSettings

CLI = GOLDEN / "cli"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> Path:
    """student.ckpt and teacher.ckpt."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for kind in ("student", "teacher"):
        write_checkpoint(folder / f"{kind}.ckpt", kind)
    return folder


@pytest.fixture
def scans(tmp_path) -> Path:
    """A copy of the golden test scans, to damage or rename."""
    return Path(shutil.copytree(CLI / "test", tmp_path / "scans"))


@pytest.fixture
def train_scans(tmp_path) -> Path:
    """A copy of the golden training scans."""
    return Path(shutil.copytree(CLI / "train", tmp_path / "train_scans"))


@pytest.fixture(scope="session")
def fused(checkpoints, tmp_path_factory) -> Path:
    """Output of `python test.py` on the golden scan, as a process of its own with the official settings."""
    outdir = tmp_path_factory.mktemp("fused")
    flags = ("--testpath", CLI / "test", "--testlist", CLI / "test" / "scans.txt", "--outdir", outdir)
    result = run_process("test.py", *flags, "--loadckpt", checkpoints / "student.ckpt", "--device", "cpu")
    assert "points in" in succeed(result) and result.stderr == ""
    return outdir


def make_planes(folder: Path) -> Path:
    """Give every view of a scan the same confident plane, so that the cross-view checks keep points."""
    for path in (folder / "depth_est").glob("*.pfm"):
        write_pfm(path, np.full((96, 160), 650, np.float32))
        write_pfm(folder / "confidence" / path.name, np.ones((96, 160), np.float32))
    return folder


# ---------------------------------------------------------------- depth to cloud


def test_depth_to_cloud(fused):
    """One command gives maps of all views and a cloud under the official name."""
    for kind in ("depth_est", "confidence"):
        assert len(list((fused / "scan1" / kind).glob("*.pfm"))) == 6
    points, colors = read_ply(fused / "gipuma_pcd" / "mvsnet001_l3.ply")
    assert points.shape == colors.shape and np.isfinite(points).all()


@pytest.mark.parametrize("method", ["gipuma", "normal", "dynamic"])
def test_fuse_again_with_every_filter(fused, tmp_path, method):
    """--skip_depth needs no checkpoint, touches no depth map and takes any filter."""
    outdir = Path(shutil.copytree(fused, tmp_path / "out"))
    make_planes(outdir / "scan1")
    before = change_times(outdir, "*.pfm")
    flags = ("--testpath", CLI / "test", "--outdir", outdir, "--skip_depth", "--filter_method", method)
    # A fronto-parallel plane for every camera is no one surface; loose thresholds keep where they meet.
    loose = ("--thres_view", 1, "--num_consistent", 1, "--disp_threshold", 1)
    out = succeed(run_program("test.py", *flags, *loose))
    points, _ = read_ply(outdir / "gipuma_pcd" / "mvsnet001_l3.ply")
    assert f"scan1: {len(points)} points in " in out and len(points) > 0
    assert change_times(outdir, "*.pfm") == before


@pytest.mark.parametrize("method", ["gipuma", "normal", "dynamic"])
def test_options_for_clouds(fused, tmp_path, method):
    """A box, voxels, a number of points, normals: the same flags whatever fuses."""
    outdir = Path(shutil.copytree(fused, tmp_path / "out"))
    make_planes(outdir / "scan1")
    flags = ("--testpath", CLI / "test", "--outdir", outdir, "--skip_depth", "--filter_method", method)
    loose = ("--thres_view", 1, "--num_consistent", 1, "--disp_threshold", 1)
    ply = outdir / "gipuma_pcd" / "mvsnet001_l3.ply"
    succeed(run_program("test.py", *flags, *loose))
    low, high = np.percentile(read_ply(ply)[0], (20, 80), axis=0)
    bbox = "--bbox=" + ",".join(f"{value:.9g}" for value in (*low, *high))
    options = (bbox, "--voxel", 2, "--max_points", 30, "--normals")
    assert "scan1: 30 points in " in succeed(run_program("test.py", *flags, *loose, *options))
    vertices = PlyData.read(ply)["vertex"].data
    points = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    assert len(points) == 30 and (points >= low - 1e-3).all() and (points <= high + 1e-3).all()
    normals = np.stack([vertices[name] for name in ("nx", "ny", "nz")], axis=1)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    first = ply.read_bytes()
    succeed(run_program("test.py", *flags, *loose, *options))
    assert ply.read_bytes() == first
    succeed(run_program("test.py", *flags, *loose, *options, "--cloud_seed", 1))
    assert ply.read_bytes() != first


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (("--prob_threshold", 2), "lower --prob_threshold or --num_consistent, or raise --disp_threshold"),
        (("--filter_method", "normal", "--conf", 2), "lower --conf or --thres_view"),
        (("--filter_method", "dynamic", "--conf", 2, "--bbox", "0,0,0,1,1,1"), "lower --conf, or enlarge --bbox"),
    ],
)
def test_empty_cloud(fused, tmp_path, options, advice):
    """It is written, and test.py says which flags of this fusion to change."""
    outdir = Path(shutil.copytree(fused, tmp_path / "out"))
    out = succeed(run_program("test.py", "--testpath", CLI / "test", "--outdir", outdir, "--skip_depth", *options))
    assert "scan1: 0 points in " in out and f"scan1: no point survived; {advice}\n" in out
    assert len(read_ply(outdir / "gipuma_pcd" / "mvsnet001_l3.ply")[0]) == 0


@pytest.mark.parametrize(("device", "expected"), [("cuda:1", torch.device("cuda:1")), ("cpu", None)])
def test_the_chosen_device_fuses(tmp_path, monkeypatch, device, expected):
    """With CUDA the built-in fuser is torch's, without it numba's; whether one is there does not matter here."""
    chosen = []
    monkeypatch.setattr(fuse, "scan_points", lambda *arguments: iter(chosen.append(arguments[5:7]) or ()))
    settings = FusionSettings(cloud=CloudOptions(normals=True))
    assert fuse.fuse(tmp_path, GeneralScans(CLI / "test"), "scan1", settings, torch.device(device)).points == 0
    assert chosen == [(expected, settings.cloud)]


def test_time_limit_of_the_fusibile_program(fused, tmp_path):
    """A program that hangs is stopped, and the cloud of before stays."""
    outdir = Path(shutil.copytree(fused, tmp_path / "out"))
    before = change_times(outdir / "gipuma_pcd", "*")
    exe = tmp_path / "fusibile"
    exe.write_text("#!/bin/sh\nsleep 60\n")
    exe.chmod(0o755)
    flags = ("--testpath", CLI / "test", "--outdir", outdir, "--skip_depth", "--fusibile_exe_path", exe)
    line = error_line(run_program("test.py", *flags, "--fusibile_timeout", 1))
    assert "fusibile: was stopped after 1 s without a result; allow more with --fusibile_timeout" in line
    assert list(before) == ["mvsnet001_l3.ply"] and change_times(outdir / "gipuma_pcd", "*") == before


def test_views_of_different_sizes_are_fused(checkpoints, scans, tmp_path):
    """A landscape and a portrait view in one scan: the built-in fuser takes both, the CUDA program stops at once."""
    path = scans / "scan1" / "images" / "00000002.jpg"
    write_image(path, np.ascontiguousarray(read_image(path)[:, :96]))
    flags = ("--testpath", scans, "--loadckpt", checkpoints / "student.ckpt", "--outdir", tmp_path / "out", *FAST)
    line = error_line(run_program("test.py", *flags, "--fusibile_exe_path", "sh"))
    assert "scan1: view 0 is 160x96, view 2 is 96x96, but the fusibile program needs one size; leave out" in line
    assert not list((tmp_path / "out").rglob("*.pfm"))  # before the work
    printed = succeed(
        run_program("test.py", *flags, "--prob_threshold", 0, "--disp_threshold", 1e9, "--num_consistent", 1)
    )
    assert "scan1: 0 points" not in printed and len(list((tmp_path / "out" / "scan1" / "depth_est").glob("*.pfm"))) == 6


@pytest.mark.parametrize("value", ["-1", "nan", "1e300", "two", "99999999999999999999"])
def test_views_that_agree_are_counted(value):
    """What is no count is refused where the flags are read."""
    result = run_program("test.py", "--testpath", "nowhere", "--thres_view", value)
    assert result.returncode == 2 and f"argument --thres_view: {value!r} is not a whole number" in result.stderr


def test_more_views_than_can_agree_keep_nothing(fused, tmp_path):
    """Also more than the check's own numbers hold."""
    outdir = Path(shutil.copytree(fused, tmp_path / "out"))
    make_planes(outdir / "scan1")
    flags = ("--testpath", CLI / "test", "--outdir", outdir, "--skip_depth", "--filter_method", "normal")
    assert "scan1: 0 points" not in succeed(run_program("test.py", *flags, "--thres_view", 0))
    assert "scan1: 0 points" in succeed(run_program("test.py", *flags, "--thres_view", 65536))


def test_no_filter_no_cloud(checkpoints, scans, tmp_path):
    """--filter_method none ends after the depth maps."""
    flags = ("--testpath", scans, "--loadckpt", checkpoints / "student.ckpt", "--outdir", tmp_path / "out")
    succeed(run_program("test.py", *flags, *FAST, "--filter_method", "none"))
    assert len(list((tmp_path / "out" / "scan1" / "depth_est").glob("*.pfm"))) == 6
    assert not (tmp_path / "out" / "gipuma_pcd").exists()


@pytest.mark.parametrize("name", ["Family", "my photos", "scan1b"])
def test_any_scan_name(checkpoints, scans, tmp_path, name):
    """Scans that are not called scan<number> give a cloud under their own name."""
    (scans / "scan1").rename(scans / name)
    (scans / "scans.txt").write_text(name)
    flags = ("--testpath", scans, "--testlist", scans / "scans.txt", "--loadckpt", checkpoints / "student.ckpt")
    succeed(run_program("test.py", *flags, *FAST, "--outdir", tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out" / "gipuma_pcd").iterdir()] == [f"{name}.ply"]


def test_scans_of_one_number_get_clouds_of_their_own(checkpoints, scans, tmp_path):
    """scan1 has the official name; scan01 and scan001 keep theirs."""
    for name in ("scan01", "scan001"):
        shutil.copytree(scans / "scan1", scans / name)
    flags = ("--testpath", scans, "--loadckpt", checkpoints / "student.ckpt", "--outdir", tmp_path / "out")
    succeed(run_program("test.py", *flags, *FAST, "--num_view", 2))
    names = {path.name for path in (tmp_path / "out" / "gipuma_pcd").iterdir()}
    assert names == {"mvsnet001_l3.ply", "scan01.ply", "scan001.ply"}
    (scans / "scan01").rename(scans / "mvsnet001_l3")
    line = error_line(run_program("test.py", *flags, *FAST, "--num_view", 2))
    assert "scans mvsnet001_l3 and scan1: both clouds would be mvsnet001_l3.ply; rename one of them" in line


def test_single_scene(checkpoints, scans, tmp_path):
    """One scan's own folder, without a list; a teacher's checkpoint will do."""
    flags = ("--testpath_single_scene", scans / "scan1", "--loadckpt", checkpoints / "teacher.ckpt")
    succeed(run_program("test.py", *flags, *FAST, "--outdir", tmp_path / "out"))
    assert (tmp_path / "out" / "gipuma_pcd" / "mvsnet001_l3.ply").exists()


def test_max_size(checkpoints, scans, tmp_path):
    """--max_w and --max_h hold for every layout that scales images."""
    flags = ("--testpath", scans, "--loadckpt", checkpoints / "student.ckpt", "--outdir", tmp_path / "out")
    succeed(run_program("test.py", *flags, *FAST, "--max_w", 128, "--max_h", 64))
    assert read_image(tmp_path / "out" / "scan1" / "images" / "00000000.jpg").shape == (64, 96, 3)


# ---------------------------------------------------------------- mistakes in the test layout


def cut(path: Path, share: float = 0.5) -> None:
    """Leave only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def missing_image(root: Path) -> str:
    (root / "scan1" / "images" / "00000003.jpg").unlink()
    return "images/00000003.jpg is missing"


def truncated_image(root: Path) -> str:
    cut(root / "scan1" / "images" / "00000000.jpg")
    return "images/00000000.jpg: is not a readable image"


def small_image(root: Path) -> str:
    path = root / "scan1" / "images" / "00000000.jpg"
    write_image(path, read_image(path)[:20])
    return "images/00000000.jpg: is 170x20; its sides must be multiples of 32"


def missing_camera(root: Path) -> str:
    (root / "scan1" / "cams" / "00000002_cam.txt").unlink()
    return "cams/00000002_cam.txt is missing"


def truncated_camera(root: Path) -> str:
    cut(root / "scan1" / "cams" / "00000000_cam.txt")
    return "cams/00000000_cam.txt: is not a camera file"


def camera_without_a_range(root: Path) -> str:
    path = root / "scan1" / "cams" / "00000000_cam.txt"
    path.write_text(path.read_text().replace("425.0 2.5", ""))
    return "cams/00000000_cam.txt: its last line must be 'depth_min depth_interval"


def missing_pairs(root: Path) -> str:
    (root / "scan1" / "pair.txt").unlink()
    return "scan1/pair.txt: no such file"


def truncated_pairs(root: Path) -> str:
    cut(root / "scan1" / "pair.txt")
    return "scan1/pair.txt: is damaged or incomplete"


def pair_with_a_view_that_is_not_there(root: Path) -> str:
    write_pairs(root / "scan1" / "pair.txt", [(0, [(1, 1.0), (77, 0.5)])])
    return "pair.txt: names view 77 of scan1"


def empty_list(root: Path) -> str:
    (root / "scans.txt").write_text("\n")
    return "scans.txt: lists no scan"


def mistyped_list(root: Path) -> str:
    (root / "scans.txt").write_text("scan1\nscan2\n")
    return "scans/scan2: no such scan; check the scan list"


def name_that_leaves_the_folder(root: Path) -> str:
    (root / "scans.txt").write_text("../scans/scan1\n")
    return "scans.txt: scan name '../scans/scan1' is not a plain folder name"


def missing_list(root: Path) -> str:
    (root / "scans.txt").unlink()
    return "scans.txt: no such file"


MISTAKES = (
    missing_image,
    truncated_image,
    small_image,
    missing_camera,
    truncated_camera,
    camera_without_a_range,
    missing_pairs,
    truncated_pairs,
    pair_with_a_view_that_is_not_there,
    empty_list,
    mistyped_list,
    name_that_leaves_the_folder,
    missing_list,
)


@pytest.fixture
def flags(checkpoints, scans, tmp_path) -> list:
    """Flags of test.py on the scans that a test damages."""
    paths = ["--testpath", scans, "--testlist", scans / "scans.txt", "--outdir", tmp_path / "out"]
    return [*paths, "--loadckpt", checkpoints / "student.ckpt", *FAST]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_a_test_scan(flags, scans, tmp_path, mistake):
    """test.py names the file in one line and leaves nothing half-written."""
    message = mistake(scans)
    assert message in error_line(run_program("test.py", *flags))
    assert_nothing_half_written(tmp_path)
    assert not list(tmp_path.rglob("*.ply"))


def other_network(path: Path) -> str:
    torch.save({"epoch": 0, "model": {"fc.weight": torch.zeros(2, 2)}, "optimizer": {}}, path)
    return "model.ckpt: is of another network"


def other_version_of_the_network(path: Path) -> str:
    content = torch.load(write_checkpoint(path), weights_only=True)
    del content["model"]["feature.out1.weight"]
    torch.save(content, path)
    return "model.ckpt: is of another network: lacks feature.out1.weight"


def truncated_checkpoint(path: Path) -> str:
    cut(write_checkpoint(path))
    return "model.ckpt: is damaged or not a checkpoint"


def not_a_checkpoint(path: Path) -> str:
    path.write_text("weights")
    return "model.ckpt: is damaged or not a checkpoint"


def missing_checkpoint(path: Path) -> str:
    return "model.ckpt: no such checkpoint"


CHECKPOINT_MISTAKES = (
    other_network,
    other_version_of_the_network,
    truncated_checkpoint,
    not_a_checkpoint,
    missing_checkpoint,
)


@pytest.mark.parametrize("mistake", CHECKPOINT_MISTAKES)
def test_mistaken_checkpoints(flags, tmp_path, mistake):
    """A checkpoint that cannot be used is named before anything is written."""
    message = mistake(tmp_path / "model.ckpt")
    assert message in error_line(run_program("test.py", *flags, "--loadckpt", tmp_path / "model.ckpt"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (("--ndepths", "48,32,8,8"), "--ndepths 48,32,8,8: needs three multiples of 8"),
        (("--num_view", "1"), "1 views are too few"),
        (("--device", "cuda:77"), "--device cuda:77: "),
        (("--bbox", "0,0,0,1,1"), "--bbox=0,0,0,1,1: needs six numbers"),
        (("--bbox", "0,0,0,1,0,1"), "--bbox=0,0,0,1,0,1: is an empty box"),
        (("--voxel", "0"), "--voxel 0: must be a positive size"),
        (("--max_points", "0"), "--max_points 0: must be at least 1"),
        (("--fusibile_exe_path", "/nowhere/fusibile"), "/nowhere/fusibile: no such program"),
        (("--fusibile_exe_path", "sh", "--normals"), "sh: its points do not tell their views"),
        (("--fusibile_exe_path", "sh", "--fusion_sources", 5), "sh: compares each view with all others"),
        (("--fusibile_exe_path", "sh", "--agree_widths", 1), "sh: compares disparities alone; --agree_widths 1 needs"),
        (("--agree_widths", -1), "--agree_widths -1: must be 0, as in fusibile, or more"),
        (("--fusion_sources", 1), "--fusion_sources 1: fewer than the views that must agree (--num_consistent 2)"),
        (("--testpath", "nowhere"), "nowhere: no such folder"),
        (("--testpath_single_scene", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_mistaken_flags(flags, tmp_path, mistake, message):
    """Each is named, before any work is done."""
    assert message in error_line(run_program("test.py", *flags, *mistake))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "mistake",
    [("--num_consistent", "nan"), ("--disp_threshold", "inf"), ("--fusibile_timeout", "0"), ("--max_points", "many")],
)
def test_flags_that_are_no_numbers(flags, mistake):
    """The flag and what it holds are in the last line."""
    result = run_program("test.py", *flags, *mistake)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert f"argument {mistake[0]}: " in result.stderr.splitlines()[-1] and f"'{mistake[1]}'" in result.stderr


def test_missing_flags():
    """Where the scans are; the weights have a default."""
    assert "--testpath or --testpath_single_scene must say" in error_line(run_program("test.py"))


def test_output_folder_that_cannot_be(flags, tmp_path):
    """A file stands where the results should go."""
    (tmp_path / "out").write_text("")
    assert f"{tmp_path}/out/scan1/" in error_line(run_program("test.py", *flags))


# ---------------------------------------------------------------- mistakes before fusion


def missing_depth(scan: Path) -> str:
    (scan / "depth_est" / "00000004.pfm").unlink()
    return "depth_est/00000004.pfm"


def truncated_depth(scan: Path) -> str:
    cut(scan / "depth_est" / "00000001.pfm")
    return "depth_est/00000001.pfm: holds "


def truncated_confidence(scan: Path) -> str:
    cut(scan / "confidence" / "00000000.pfm")
    return "confidence/00000000.pfm: holds "


def nothing_predicted(scan: Path) -> str:
    shutil.rmtree(scan)
    return "scan1"


@pytest.mark.parametrize("method", ["gipuma", "normal"])
@pytest.mark.parametrize("mistake", [missing_depth, truncated_depth, truncated_confidence, nothing_predicted])
def test_mistakes_before_fusion(fused, tmp_path, mistake, method):
    """With --skip_depth the maps are what is read; no cloud is left then."""
    outdir = Path(shutil.copytree(fused, tmp_path / "out", ignore=shutil.ignore_patterns("gipuma_pcd")))
    message = mistake(outdir / "scan1")
    flags = ("--testpath", CLI / "test", "--outdir", outdir, "--skip_depth", "--filter_method", method)
    assert message in error_line(run_program("test.py", *flags))
    assert not list(outdir.rglob("*.ply")) and not list(outdir.rglob("*.tmp"))


# ---------------------------------------------------------------- mistakes in the training layout


def sides_that_do_not_fit(root: Path) -> str:
    path = root / "Rectified" / "scan1_train" / "rect_001_6_r5000.png"
    write_image(path, read_image(path)[:90])
    return "rect_001_6_r5000.png: is 128x90; its sides must be multiples of 32"


def source_of_another_size(root: Path) -> str:
    for path in (root / "Rectified" / "scan1_train").glob("rect_00[2-6]*"):
        write_image(path, read_image(path)[:64])
    return "_6_r5000.png: is 128x64, its reference view 128x96"


def missing_training_image(root: Path) -> str:
    (root / "Rectified" / "scan1_train" / "rect_004_6_r5000.png").unlink()
    return "rect_004_6_r5000.png is missing"


def light_that_is_not_there(root: Path) -> str:
    for path in (root / "Rectified" / "scan1_train").glob("*_6_*"):
        path.rename(path.with_name(path.name.replace("_6_", "_2_")))
    return "scan1 has no light 6, only [2]"


def missing_training_pairs(root: Path) -> str:
    (root / "Cameras" / "pair.txt").unlink()
    return "Cameras/pair.txt: no such file"


@pytest.mark.parametrize(
    "mistake",
    [
        sides_that_do_not_fit,
        source_of_another_size,
        missing_training_image,
        light_that_is_not_there,
        missing_training_pairs,
    ],
)
def test_mistakes_in_a_training_scan(checkpoints, train_scans, tmp_path, mistake):
    """tools/predict.py names the file in one line."""
    message = mistake(train_scans)
    flags = ("--testpath", train_scans, "--loadckpt", checkpoints / "student.ckpt", "--outdir", tmp_path / "out")
    assert message in error_line(run_program("tools/predict.py", *flags, *FAST))
    assert_nothing_half_written(tmp_path)


@pytest.mark.parametrize("mistake", [sides_that_do_not_fit, missing_training_image, missing_training_pairs])
def test_mistakes_end_a_training(train_scans, tmp_path, mistake):
    """train_unsup.py does too, and leaves no checkpoint."""
    message = mistake(train_scans)
    flags = ("--trainpath", train_scans, "--trainlist", "all", "--logdir", tmp_path / "log", *FAST)
    assert message in error_line(run_program("train_unsup.py", *flags))
    assert not list(tmp_path.rglob("*.ckpt"))


def test_truncated_label_ends_a_training(train_scans, tmp_path):
    """train_kd.py names a label that broke off, as a process of its own with data workers."""
    labels = tmp_path / "labels" / "scan1"
    for view in range(6):
        for kind in ("checked_depth", "fused_sigma"):
            write_pfm(labels / kind / f"{view:08d}.pfm", np.full((96, 128), 600, np.float32))
            cut(labels / kind / f"{view:08d}.pfm")
    flags = ("--trainpath", train_scans, "--trainlist", "all", "--logdir", tmp_path / "log", "--device", "cpu")
    result = run_process("train_kd.py", *flags, "--pseudopath", tmp_path / "labels", "--num_workers", 1)
    assert ".pfm: holds " in error_line(result)
    assert not list(tmp_path.rglob("*.ckpt"))


# ---------------------------------------------------------------- full disks


def test_cloud_that_does_not_fit(fused, tmp_path):
    """Fusion on a full disk names the cloud and leaves nothing of it."""
    outdir = Path(shutil.copytree(fused, tmp_path / "out", ignore=shutil.ignore_patterns("gipuma_pcd")))
    flags = ("--testpath", CLI / "test", "--outdir", outdir, "--skip_depth", "--num_consistent", 0)
    line = error_line(run_process("test.py", *flags, file_limit=40))
    assert "gipuma_pcd/mvsnet001_l3.ply: cannot be written: File too large" in line
    assert not list((outdir / "gipuma_pcd").iterdir())


def test_only_what_sweeps_needs_a_plane_sweep(fused, checkpoints, scans, tmp_path, monkeypatch):
    """Labels and clouds are made whatever the environment says of it; predicting is refused in one line."""
    monkeypatch.setenv("KDMVS_PLANE_SWEEP", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    labels = ("--testpath", fused, "--pairpath", CLI / "test", "--outdir", tmp_path / "labels")
    succeed(run_program("tools/check_and_encode.py", *labels))
    outdir = Path(shutil.copytree(fused, tmp_path / "out"))
    flags = ("--testpath", scans, "--device", "cpu", "--loadckpt", checkpoints / "student.ckpt", "--outdir", outdir)
    succeed(run_program("test.py", *flags, "--skip_depth"))
    assert "plane sweep 'triton'" in error_line(run_program("test.py", *flags))


def test_closed_streams(tmp_path):
    """Nobody listens: a program does its work, and a mistake still ends it with status 1."""
    program = [sys.executable, str(ROOT / "tools" / "make_synthetic.py"), "--layout", "test", "--outdir"]
    for flags, status in (("--scenes 1 --width 32 --height 32", 0), ("--scenes 1 --width 1 --height 1", 1)):
        command = f'exec "$@" {flags} >&- 2>&-'
        line = ["bash", "-c", command, "bash", *program, str(tmp_path / str(status))]
        result = subprocess.run(line, timeout=PATIENCE)
        assert result.returncode == status
    assert len(list((tmp_path / "0").rglob("*.pfm"))) > 0
