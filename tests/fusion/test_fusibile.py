"""The fusibile wrapper, with a stand-in program that obeys the command line and the file formats."""

import shlex
import sys

import numpy as np
import pytest
from fusion_scenes import GOLDEN, camera, plane_depth, write_scan

from datasets.files import DataError
from datasets.io import read_ply
from fusion.filters import lift
from fusion.fusibile import convert, fuse_scan_with_binary
from fusion.predictions import Predictions

# Lifts every pixel of positive depth of the views, and writes an older result that must not be taken.
STAND_IN = """
import os, sys
from pathlib import Path
import numpy as np

assert sys.argv[1::2][:3] == ["-input_folder", "-p_folder", "-images_folder"], sys.argv
folder, cams, images = map(Path, sys.argv[2:7:2])
assert all(path.endswith("/") for path in sys.argv[2:7:2]) and cams == folder / "cams" and images == folder / "images"
assert sys.argv[7:] == ["--depth_min=0.001", "--depth_max=100000", "--normal_thresh=360", "--disp_thresh=0.1",
                        "--num_consistent=2"], sys.argv
points = []
for image in sorted(images.iterdir()):
    P = np.loadtxt(cams / (image.name + ".P"))
    content = (folder / ("2333__" + image.stem) / "disp.dmb").read_bytes()
    kind, height, width, channels = np.frombuffer(content, "<i4", 4)
    assert (kind, channels) == (1, 1)
    depth = np.frombuffer(content, "<f4", offset=16).reshape(height, width)
    y, x = np.nonzero(depth)
    pixels = np.stack([x, y, np.ones_like(x)]) * depth[y, x] - P[:, 3:]
    points.append(np.linalg.solve(P[:, :3], pixels).T)
points = np.concatenate(points)

def write(name, points, time):
    vertices = np.empty(len(points), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    vertices["xyz"], vertices["rgb"] = points, (1, 2, 3)
    properties = [f"property float {c}" for c in "xyz"] + [f"property uchar {c}" for c in ("red", "green", "blue")]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *properties, "end_header", ""]
    path = folder / name / "final3d_model.ply"
    path.parent.mkdir()
    path.write_bytes("\\n".join(header).encode() + vertices.tobytes())
    os.utime(path, (time, time))

write("consistencyCheck-20200101-000000", points[:COUNT], 2e9)
write("consistencyCheck-20200101-000001", points[:1], 1e9)
"""


@pytest.fixture
def scan(tmp_path):
    """Two views of a plane; a corner of the second is not confident."""
    cameras = [camera((-8, 0, 0), 0.01), camera((0, 2, 0))]
    depths = [plane_depth(view, (0.2, 0.1, 1.0), 600.0) for view in cameras]
    confidences = [np.ones_like(depths[0]), np.ones_like(depths[1])]
    confidences[1][:5, :7] = 0.2
    return write_scan(tmp_path / "scan 1", depths, cameras, confidences)


@pytest.fixture
def program(tmp_path):
    """A function that makes an executable from Python or shell text, under a path with spaces."""

    def make(python: str = "", shell: str = "") -> str:
        folder = tmp_path / "my programs"
        folder.mkdir()
        (folder / "fusibile.py").write_text(python)
        run_python = f'exec {shlex.quote(sys.executable)} {shlex.quote(str(folder / "fusibile.py"))} "$@"\n'
        (folder / "fusibile").write_text("#!/bin/sh\n" + (shell or run_python))
        (folder / "fusibile").chmod(0o755)
        return str(folder / "fusibile")

    return make


def stand_in(count: int = 10**9) -> str:
    return STAND_IN.replace("COUNT", str(count))


def fuse(scan, exe, tmp_path, **options):
    return fuse_scan_with_binary(scan, [1, 0], tmp_path / "out dir" / "cloud.ply", 0.3, 0.1, 2.0, exe, **options)


def test_round_trip_through_the_program(scan, program, tmp_path):
    count = fuse(scan, program(stand_in()), tmp_path)
    points, colors = read_ply(tmp_path / "out dir" / "cloud.ply")
    predictions = Predictions(scan)
    expected = []
    for view in (0, 1):
        depth = predictions.thresholded_depth(view, 0.3)
        expected.append(lift(depth, depth > 0, predictions.view(view).camera))
    assert count == len(points) == 2 * 24 * 32 - 5 * 7
    np.testing.assert_allclose(points, np.concatenate(expected), atol=1e-3)
    assert (colors == (1, 2, 3)).all()
    assert [path.name for path in (tmp_path / "out dir").iterdir()] == ["cloud.ply"]  # its input is removed


def test_conversion_equals_the_official_one(tmp_path):
    golden = GOLDEN / "fusibile" / "zero_and_away"
    convert(Predictions(golden), range(5), 0.01, tmp_path)
    official = golden / "expected_gipuma_00000000"
    for name in ("disp.dmb", "normals.dmb"):
        assert (tmp_path / "2333__00000000" / name).read_bytes() == (official / name).read_bytes()
    P = np.loadtxt(tmp_path / "cams/00000000.jpg.P")
    np.testing.assert_allclose(P, np.loadtxt(golden / "expected_00000000.jpg.P"), rtol=1e-6)
    assert len(list((tmp_path / "images").glob("*.jpg"))) == 5


def test_failures_are_explained(scan, program, tmp_path):
    with pytest.raises(DataError, match="/nowhere/fusibile: no such program"):
        fuse(scan, "/nowhere/fusibile", tmp_path)
    (tmp_path / "plain file").write_text("x")
    with pytest.raises(DataError, match="plain file: is not an executable file"):
        fuse(scan, tmp_path / "plain file", tmp_path)


@pytest.mark.parametrize(
    ("shell", "message"),
    [
        ("echo loading; echo CUDA error: no device >&2; exit 3\n", "exit status 3: loading | CUDA error: no device"),
        ("kill -9 $$\n", "failed with signal 9"),
        (
            "echo 'fusibile: error while loading shared libraries: libcudart.so.8.0: cannot open' >&2; exit 127\n",
            "libcudart.so.8.0: cannot open; install that library",
        ),
        ("echo Error: no images\n", "wrote no final3d_model.ply; it printed: Error: no images"),
        ("sleep 60\n", "was stopped after 0.5 s"),
    ],
)
def test_a_program_that_fails_is_explained(scan, program, tmp_path, shell, message):
    with pytest.raises(DataError) as error:
        fuse(scan, program(shell=shell), tmp_path, time_limit=0.5)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert list((tmp_path / "out dir").iterdir()) == []


def test_no_points_hint_at_the_gpu_architecture(scan, program, tmp_path):
    with pytest.raises(DataError, match="found 0 points; it was probably built for another GPU architecture"):
        fuse(scan, program(stand_in(count=0)), tmp_path)


def test_a_program_for_another_system(scan, program, tmp_path):
    exe = program()
    with open(exe, "wb") as file:
        file.write(b"\x7fELF, but not for this machine")
    with pytest.raises(DataError, match=r"cannot be run .*another system"):
        fuse(scan, exe, tmp_path)
