"""The fusibile wrapper, with a stand-in program that obeys the command line and the file formats."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from fusion_scenes import GOLDEN, WORLDS, camera, moved, moved_back, plane_depth, write_scan
from helpers import PATIENCE, wait_until

from datasets.files import DataError
from datasets.formats.images import write_image
from datasets.formats.pfm import write_pfm
from datasets.formats.ply import read_ply, write_ply
from datasets.io import read_dmb
from datasets.predictions import Predictions
from fusion.clouds import CloudOptions
from fusion.fusibile import check_sizes, convert, fuse_scan_with_binary

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
        expected.append(predictions.view(view).camera.lift(depth, depth > 0))
    assert count == len(points) == 2 * 24 * 32 - 5 * 7
    np.testing.assert_allclose(points, np.concatenate(expected), atol=1e-3)
    assert (colors == (1, 2, 3)).all()
    assert [path.name for path in (tmp_path / "out dir").iterdir()] == ["cloud.ply"]  # its input is removed


@pytest.mark.parametrize("world", WORLDS)
def test_the_program_computes_around_a_local_origin(scan, program, tmp_path, world):
    """It is float32 throughout; its points come back in doubles, where the scene lies."""
    cameras = [moved(Predictions(scan).view(view).camera, world) for view in (0, 1)]
    depths = [Predictions(scan).view(view).depth for view in (0, 1)]
    far = write_scan(tmp_path / "far", depths, cameras)
    fuse(far, program(stand_in()), tmp_path)
    points, _ = read_ply(tmp_path / "out dir" / "cloud.ply")
    expected = np.concatenate([view.lift(depth, depth > 0) for view, depth in zip(cameras, depths, strict=True)])
    assert points.dtype == np.float64
    np.testing.assert_allclose(moved_back(points, world), moved_back(expected, world), atol=1e-3)


def test_views_of_different_sizes_are_refused_before_the_work():
    check_sizes("garden", {0: (640, 512), 1: (640, 512)})
    with pytest.raises(DataError, match="garden: view 0 is 640x512, view 2 is 512x640, but the fusibile program needs"):
        check_sizes("garden", {0: (640, 512), 1: (640, 512), 2: (512, 640)})


def test_conversion_equals_the_official_one(tmp_path):
    golden = GOLDEN / "fusibile" / "zero_and_away"
    convert(Predictions(golden), range(5), 0.01, tmp_path)
    official = golden / "expected_gipuma_00000000"
    for name in ("disp.dmb", "normals.dmb"):
        assert (tmp_path / "2333__00000000" / name).read_bytes() == (official / name).read_bytes()
    assert len(list((tmp_path / "images").glob("*.jpg"))) == 5


@pytest.mark.parametrize("case", ["kd_default", "zero_and_away", "empty", "nc0"])
def test_projections_equal_the_official_ones(tmp_path, case):
    golden = GOLDEN / "fusibile" / case
    convert(Predictions(golden), [0], 0.01, tmp_path)
    P = np.loadtxt(tmp_path / "cams/00000000.jpg.P")
    np.testing.assert_allclose(P, np.loadtxt(golden / "expected_00000000.jpg.P"), rtol=1e-6)


def test_conversion_of_bad_numbers(tmp_path):
    """The program gives no point where a depth is not finite, so it goes there as it is. NaN confidence keeps it."""
    depth = np.full((24, 32), 512, np.float32)
    depth[0, :3] = np.nan, np.inf, -np.inf
    confidence = np.ones_like(depth)
    confidence[1, :2] = np.nan, 0.1
    convert(Predictions(write_scan(tmp_path / "scan", [depth], [camera()], [confidence])), [0], 0.3, tmp_path / "in")
    expected = depth.copy()
    expected[1, 1] = 0
    np.testing.assert_array_equal(read_dmb(tmp_path / "in" / "2333__00000000" / "disp.dmb"), expected)


def test_mistakes_in_the_scan_are_named_before_the_program_runs(scan, program, tmp_path):
    exe, view = program(shell="exit 1\n"), "00000001"

    def error() -> str:
        with pytest.raises(DataError) as error:
            fuse(scan, exe, tmp_path)
        return str(error.value)

    write_image(scan / "images" / f"{view}.jpg", np.zeros((24, 30, 3), np.uint8))
    assert f"images/{view}.jpg: is 30x24, but " in error()
    write_pfm(scan / "confidence" / f"{view}.pfm", np.ones((24, 30), np.float32))
    write_image(scan / "images" / f"{view}.jpg", np.zeros((24, 32, 3), np.uint8))
    assert f"confidence/{view}.pfm: is 30x24, but " in error()
    write_pfm(scan / "depth_est" / f"{view}.pfm", np.ones((20, 32), np.float32))
    assert f"depth_est/{view}.pfm: is 32x20, but view 0 is 32x24" in error()
    with pytest.raises(DataError, match="there is no view to fuse"):
        fuse_scan_with_binary(scan, [], tmp_path / "c.ply", 0.3, 0.1, 2.0, exe)


def test_options_for_clouds(scan, program, tmp_path):
    """The program's points take the same way into the file; normals they cannot have."""
    exe = program(stand_in())
    count = fuse(
        scan, exe, tmp_path, options=CloudOptions(bbox=(-500.0, 0.0, 0.0, 500.0, 500.0, 1000.0), max_points=50)
    )
    points, _ = read_ply(tmp_path / "out dir" / "cloud.ply")
    assert count == len(points) == 50 and points[:, 1].min() >= 0
    with pytest.raises(DataError, match="fusibile: its points do not tell their views, --normals needs the built-in"):
        fuse(scan, exe, tmp_path, options=CloudOptions(normals=True))


def test_a_point_that_is_not_finite_is_left_out(scan, program, tmp_path):
    exe = program(
        stand_in().replace("points = np.concatenate(points)", "points = np.concatenate(points); points[3] /= 0")
    )
    assert fuse(scan, exe, tmp_path) == 2 * 24 * 32 - 5 * 7 - 1


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
        ("exec no-such-helper\n", "could not start (exit status 127): "),
        (
            'for last; do :; done; mkdir "$2consistencyCheck-1"; echo ply > "$2consistencyCheck-1/final3d_model.ply"\n',
            "wrote a damaged final3d_model.ply; it printed: nothing was printed",
        ),
        ("echo Error: no images\n", "wrote no final3d_model.ply; it printed: Error: no images"),
        ("sleep 60\n", "was stopped after 2 s"),
    ],
)
def test_a_program_that_fails_is_explained(scan, program, tmp_path, shell, message):
    with pytest.raises(DataError) as error:
        fuse(scan, program(shell=shell), tmp_path, time_limit=2)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert list((tmp_path / "out dir").iterdir()) == []


@pytest.mark.parametrize("shell", ["exit 3\n", "kill -9 $$\n", "exit 127\n", "exit 0\n"])
def test_a_failure_leaves_an_older_cloud_alone(scan, program, tmp_path, shell):
    ply = tmp_path / "out dir" / "cloud.ply"
    write_ply(ply, np.ones((7, 3)), np.zeros((7, 3), np.uint8))
    with pytest.raises(DataError):
        fuse(scan, program(shell=shell), tmp_path)
    assert len(read_ply(ply)[0]) == 7


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the process in /proc")
def test_what_the_program_started_is_stopped_with_it(scan, program, tmp_path):
    """A script around the program does not leave it running beyond the time limit."""
    pid = shlex.quote(str(tmp_path / "pid"))
    with pytest.raises(DataError, match=r"was stopped after 1 s without a result; allow more with --fusibile_timeout"):
        fuse(scan, program(shell=f"sleep {2 * PATIENCE} &\necho $! > {pid}\nwait\n"), tmp_path, time_limit=1)
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    # Killed, and gone once its new parent has noticed; by itself it would end after PATIENCE.
    wait_until(lambda: not status.exists() or status.read_text().split()[2] == "Z")


def test_no_points_hint_at_the_gpu_architecture(scan, program, tmp_path):
    ply = tmp_path / "out dir" / "cloud.ply"
    write_ply(ply, np.ones((7, 3)), np.zeros((7, 3), np.uint8))
    with pytest.raises(DataError, match="found 0 points; it was probably built for another GPU architecture"):
        fuse(scan, program(stand_in(count=0)), tmp_path)
    assert len(read_ply(ply)[0]) == 7  # the older cloud


def test_a_program_for_another_system(scan, program, tmp_path):
    exe = program()
    with open(exe, "wb") as file:
        file.write(b"\x7fELF, but not for this machine")
    with pytest.raises(DataError, match=r"cannot be run .*another system"):
        fuse(scan, exe, tmp_path)
