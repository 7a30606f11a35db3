"""tools/make_mesh.py: files beside the cloud, made anew when something has changed, and one line for mistakes."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    ROOT,
    assert_nothing_half_written,
    change_times,
    end_process,
    error_line,
    run_program,
    start_process,
    succeed,
)
from mesh_scenes import around, ball_scan, needs_open3d

import kdmvs
from datasets.files import write_json
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.formats.ply import read_ply, read_ply_count
from datasets.formats.ply_faces import read_ply_triangles
from datasets.io import write_pairs
from datasets.predictions import Predictions
from datasets.results import mesh_path

COARSE = ("--voxel", 0.06, "--faces", 1500)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Results of a scan named ball; loose thresholds, for the cameras are far apart."""
    outdir = tmp_path_factory.mktemp("results")
    ball_scan(outdir / "ball", around(7))
    record = {"method": "gipuma", "prob_threshold": 0, "disp_threshold": 1.0, "num_consistent": 1, "refined": False}
    write_json(outdir / "ball" / "fusion.json", record)
    return outdir


@pytest.fixture
def outdir(results, tmp_path) -> Path:
    return Path(shutil.copytree(results, tmp_path / "out"))


def mesh(outdir: Path, *flags: object):
    return run_program("tools/make_mesh.py", "--outdir", outdir, *COARSE, *flags)


@needs_open3d
def test_files_beside_the_cloud(outdir):
    """Named after it; the line tells faces and voxel."""
    out = succeed(mesh(outdir, "--formats", "ply,glb,obj,stl", "--texture", "--texture_size", 512))
    folder = outdir / "gipuma_pcd"
    names = {f"ball_mesh.{suffix}" for suffix in ("ply", "glb", "obj", "mtl", "jpg", "stl")}
    assert {path.name for path in folder.iterdir()} == names
    faces = len(read_ply_triangles(folder / "ball_mesh.ply"))
    assert 500 < faces <= 1500 and read_ply_count(folder / "ball_mesh.ply") < faces
    assert f"ball: {faces} faces, " in out and "voxels of 0.06" in out
    assert_nothing_half_written(outdir)
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed (requirements-dev.txt)")
    (read,) = trimesh.load(folder / "ball_mesh.glb").geometry.values()
    assert len(read.faces) == faces and max(read.visual.material.baseColorTexture.size) <= 512


@needs_open3d
def test_a_closed_stl(outdir):
    """As a printer needs it."""
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed (requirements-dev.txt)")
    assert "closed, " in succeed(mesh(outdir, "--close_holes", "--formats", "stl"))
    read = trimesh.load(outdir / "gipuma_pcd" / "ball_mesh.stl")
    assert read.is_watertight and read.volume == pytest.approx(4 / 3 * np.pi, rel=0.1)


@needs_open3d
def test_a_rerun_makes_only_what_has_changed(outdir):
    """Nothing where nothing did; all for other settings, another depth map, photo, or place in the world."""
    folder = outdir / "gipuma_pcd"
    succeed(mesh(outdir))
    before = change_times(folder, "*")
    assert "is there already" in succeed(mesh(outdir)) and change_times(folder, "*") == before

    def made_anew(*flags: object) -> bool:
        nonlocal before
        old, _ = before, succeed(mesh(outdir, *flags))
        before = change_times(folder, "*")
        return not old.items() & before.items()

    assert made_anew("--islands", 0.01) and made_anew()
    depth = outdir / "ball" / "depth_est" / "00000003.pfm"
    write_pfm(depth, read_pfm(depth) * 1.001)
    assert made_anew()
    shutil.copy(outdir / "ball" / "images" / "00000001.jpg", outdir / "ball" / "images" / "00000002.jpg")
    assert made_anew()
    write_json(folder / "units.json", {"world_T_scan": np.diag([2.0, 2, 2, 1]).tolist()})
    succeed(mesh(outdir))
    record = json.loads((outdir / "ball" / "mesh.json").read_text())
    assert record["voxel"] == pytest.approx(0.12)
    (folder / "ball_mesh.ply").unlink()
    assert "is there already" not in succeed(mesh(outdir)) and (folder / "ball_mesh.ply").exists()


@needs_open3d
def test_formats_of_before_go(outdir):
    """A mesh of other settings does not stay beside the new one."""
    succeed(mesh(outdir, "--formats", "ply,stl"))
    succeed(mesh(outdir, "--formats", "glb"))
    assert [path.name for path in (outdir / "gipuma_pcd").iterdir()] == ["ball_mesh.glb"]


@needs_open3d
@pytest.mark.parametrize("method", ["normal", "dynamic"])
def test_the_checks_need_the_pair_file(outdir, method):
    """As the cloud did."""
    write_json(outdir / "ball" / "fusion.json", {"method": method, "conf": 0.0, "thres_view": 1})
    assert f"its cloud was made with --filter_method {method}; give --testpath" in error_line(mesh(outdir))
    numbers = range(21)
    write_pairs(outdir / "pair.txt", [(a, [(b, 1.0) for b in numbers if b != a]) for a in numbers])
    assert "ball: " in succeed(mesh(outdir, "--testpath", outdir / "pair.txt"))


@needs_open3d
def test_from_python(outdir):
    """kdmvs.mesh of the same views is the program's mesh, corner by corner."""
    succeed(mesh(outdir))
    maps = Predictions(outdir / "ball")
    views = [
        kdmvs.View(maps.view(n).depth, maps.confidence(n), maps.view(n).camera, maps.image(n), n) for n in range(21)
    ]
    fusion = kdmvs.FusionSettings(prob_threshold=0, disp_threshold=1.0, num_consistent=1)
    made = kdmvs.mesh(views, kdmvs.MeshSettings(voxel=0.06, faces=1500), fusion)
    ply = mesh_path(outdir / "gipuma_pcd" / "ball.ply")
    np.testing.assert_array_equal(made.faces, read_ply_triangles(ply))
    np.testing.assert_allclose(made.places, read_ply(ply)[0], atol=1e-5)
    made.write(outdir / "own.glb")
    with pytest.raises(kdmvs.DataError, match=r"own.dae: a mesh is written as one of .ply, .glb, .obj, .stl"):
        made.write(outdir / "own.dae")


def test_without_open3d(outdir, monkeypatch):
    """The line says how to get it; nothing is made."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "open3d" else find(name))
    line = error_line(mesh(outdir))
    assert "Open3D is not installed; install it: bash scripts/setup.sh --mesh" in line
    assert not mesh_path(outdir / "gipuma_pcd" / "ball.ply").exists()


def test_a_library_of_the_system_is_missing(tmp_path):
    """Open3D is there but cannot be loaded, as on a server without a screen: known before the work, with the remedy."""
    (tmp_path / "open3d.py").write_text(
        'raise OSError("libusb-1.0.so.0: cannot open shared object file: No such file or directory")'
    )
    program = "from fusion.mesh.library import check_open3d; check_open3d()"
    tried = end_process(start_process(sys.executable, "-c", program, PYTHONPATH=f"{tmp_path}:{ROOT}"))
    assert (
        "Open3D needs libusb-1.0.so.0 of the system, which is not there; on Debian or Ubuntu: apt-get" in tried.stderr
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--formats", "ply,dae"), "--formats ply,dae: must be some of ply,glb,obj,stl"),
        (("--islands", 2), "--islands 2: must be a share"),
        (("--testlist", "nowhere.txt"), "nowhere.txt: no such file"),
    ],
)
def test_mistakes(outdir, flags, message):
    """One line each."""
    assert message in error_line(mesh(outdir, *flags))
