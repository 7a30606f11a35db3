"""File formats: what is written is read back, and damaged files are named."""

import os
import struct

import numpy as np
import pytest
from helpers import run_process
from PIL import Image
from plyfile import PlyData
from scipy.io import savemat

from datasets.camera import Camera
from datasets.files import DataError
from datasets.formats.images import read_depth_png, read_image, read_image_size, write_image
from datasets.formats.mat import read_mat
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.formats.ply import read_ply, write_ply
from datasets.io import read_camera, read_dmb, read_pairs, write_camera, write_dmb, write_pairs

# ---------------------------------------------------------------- PFM


def random_map(*shape: int) -> np.ndarray:
    """Random float32 values of a shape."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1), (1, 9)])
def test_pfm_round_trip(tmp_path, shape):
    """One and three channels come back bit by bit, not-a-number and infinity too."""
    data = random_map(*shape)
    data.flat[:3] = np.nan, np.inf, -0.0
    write_pfm(tmp_path / "map.pfm", data)
    np.testing.assert_array_equal(read_pfm(tmp_path / "map.pfm"), data)


def test_pfm_layout(tmp_path):
    """Official header; little-endian rows from bottom to top."""
    write_pfm(tmp_path / "map.pfm", np.array([[1, 2], [3, 4]], np.float32))
    assert (tmp_path / "map.pfm").read_bytes() == b"Pf\n2 2\n-1.000000\n" + struct.pack("<4f", 3, 4, 1, 2)


@pytest.mark.parametrize("header", [b"Pf\n2 1\n1.0\n", b"Pf 2 1 1\n", b"Pf\r\n2 1\r\n1\r\n", b"Pf\n2\n1\n1e0 \n"])
def test_pfm_of_other_programs(tmp_path, header):
    """Big-endian data (a positive scale), and any white space between the header's words."""
    (tmp_path / "map.pfm").write_bytes(header + struct.pack(">2f", 1.5, -2))
    np.testing.assert_array_equal(read_pfm(tmp_path / "map.pfm"), [[1.5, -2]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a PFM file"),
        (b"garbage", "is not a PFM file"),
        (b"P6\n2 2\n255\n" + bytes(12), "is not a PFM file"),
        (b"Pf\n2 2\n", "is not a PFM file"),
        (b"Pf\n2 2\n0.0\n" + bytes(16), "is not a PFM file"),
        (b"Pf\n2 2\n1.0.0\n" + bytes(16), "is not a PFM file"),
        (b"Pf\n2 2\n.e1\n" + bytes(16), "is not a PFM file"),
        (b"Pf\n-2 2\n-1\n" + bytes(16), "is not a PFM file"),
        (b"Pf\n2 2\n-1\n" + bytes(15), "holds 15 bytes of data, 2x2 needs 16"),
        (b"Pf\n2 2\n-1\n" + bytes(17), "holds 17 bytes of data, 2x2 needs 16"),
        (b"PF\n2 2\n-1\n" + bytes(16), "needs 48"),
        (b"Pf\n0 2\n-1\n", "0x2"),
        (b"Pf\n999999999 999999999\n-1\n" + bytes(16), "holds 16 bytes of data"),
        (b"Pf\n99999999999999999999 2\n-1\n" + bytes(16), "is not a PFM file"),
    ],
)
def test_damaged_pfm(tmp_path, content, message):
    """Truncated data, a header that claims absurd sizes, other formats: named before anything is allocated."""
    (tmp_path / "map.pfm").write_bytes(content)
    with pytest.raises(DataError, match=rf"map\.pfm: .*{message}"):
        read_pfm(tmp_path / "map.pfm")


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (1, 2, 2, 3)])
def test_pfm_has_one_or_three_channels(tmp_path, shape):
    """Other shapes are a programming mistake."""
    with pytest.raises(ValueError, match="PFM"):
        write_pfm(tmp_path / "map.pfm", random_map(*shape))


# ---------------------------------------------------------------- cameras

CAMERA = """extrinsic
1 0 0 -10.5
0 1 0 2e1
0 0 1 3
0 0 0 1

intrinsic
361.5 0 80
0 270.25 48
0 0 1

{}
"""


@pytest.fixture
def camera_file(tmp_path):
    """A function that writes a camera file with a given last line and returns its path."""

    def write(last_line: str, text: str = CAMERA):
        path = tmp_path / "00000000_cam.txt"
        path.write_bytes(text.format(last_line).encode())
        return path

    return write


def test_camera_round_trip(tmp_path):
    """Matrices with float32's precision, the depth line as it was."""
    rng = np.random.default_rng(1)
    K = np.array([[361.54, 0, 80.1], [0, 270.3, 48.2], [0, 0, 1]])
    cam_T_world = np.vstack([rng.normal(size=(3, 4)), [0, 0, 0, 1]])
    write_camera(tmp_path / "cam.txt", Camera(K, cam_T_world, (425.0, 2.5, 192.0, 905.0)))
    camera = read_camera(tmp_path / "cam.txt")
    np.testing.assert_array_equal(camera.K, K.astype(np.float32).astype(str).astype(float))
    np.testing.assert_allclose(camera.cam_T_world, cam_T_world, rtol=1e-6)
    assert camera.depth_line == (425.0, 2.5, 192.0, 905.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(" ", " \t "),
        lambda text: text.strip(),
        lambda text: text.replace(" ", ", "),
        lambda text: text.replace("insic", "insic:").title(),
        lambda text: text.replace("0 0 0 1\n", ""),
        lambda text: "# written by a converter\n" + text,
    ],
)
def test_camera_as_others_write_it(camera_file, change):
    """CRLF line ends, tabs, no last line break, commas, other headings, no last row, a comment."""
    camera = read_camera(camera_file("425 2.5", change(CAMERA)))
    assert camera.K.tolist() == [[361.5, 0, 80], [0, 270.25, 48], [0, 0, 1]]
    assert camera.cam_T_world[:3, 3].tolist() == [-10.5, 20, 3]
    assert camera.depth_line == (425, 2.5)


@pytest.mark.parametrize(
    ("last_line", "depth_range"),
    [
        ("425 2.5", (425, 425 + 192 * 2.5)),
        ("425 2.5 100", (425, 675)),
        ("425 2.5 100.7", (425, 675)),  # a float, truncated
        ("425 2.5 100 999", (425, 675)),  # the file's own depth_max is not used
    ],
)
def test_depth_range_of_a_camera(camera_file, last_line, depth_range):
    """Two, three or four numbers in the last line: depth_max is depth_min plus the intervals."""
    path = camera_file(last_line)
    camera = read_camera(path)
    assert camera.depth_range(192) == depth_range
    values = camera.depth_values(192, 1.06, path)
    assert values.dtype == np.float32 and values.shape == (192,)
    interval = (depth_range[1] - depth_range[0]) / 192 * 1.06
    np.testing.assert_allclose(values, depth_range[0] + np.arange(192) * interval, rtol=1e-5)


@pytest.mark.parametrize("numdepth", [1, 2, 48, 191, 192, 193, 1000])
@pytest.mark.parametrize("last_line", ["425 2.5", "0.1 0.0123456", "425 2.5 77", "1e-3 1e-7", "1e4 333.3"])
def test_exactly_so_many_depth_values(camera_file, last_line, numdepth):
    """Whatever the rounding, as many values as asked for."""
    path = camera_file(last_line)
    for scale in (1.0, 1.06, 0.8):
        assert len(read_camera(path).depth_values(numdepth, scale, path)) == numdepth


@pytest.mark.parametrize(
    ("last_line", "message"),
    [
        ("", "its last line must be"),
        ("425", "its last line must be"),
        ("425 2.5 192 905 7", "its last line must be"),
        ("-425 2.5", "not positive and increasing"),
        ("0 2.5", "not positive and increasing"),
        ("1e-320 2.5", "not positive and increasing"),
        ("425 0", "not positive and increasing"),
        ("425 -2.5", "not positive and increasing"),
        ("1e38 1e37", "which float32 cannot hold"),
        ("425 1e-9", "which float32 cannot hold"),
    ],
)
def test_impossible_depth_range(camera_file, last_line, message):
    """A range that is empty, negative or beyond float32 is named."""
    path = camera_file(last_line)
    with pytest.raises(DataError, match=rf"_cam\.txt: .*{message}"):
        read_camera(path).depth_values(192, 1.06, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a camera file"),
        ("425 2.5", "is not a camera file"),
        (CAMERA.replace("extrinsic", "matrix"), "is not a camera file"),
        (CAMERA.replace("0 0 1 3\n0 0 0 1\n", ""), "its extrinsic has 8 numbers instead of 16"),
        (CAMERA.replace("extrinsic", "matrix"), "begins with 'matrix' instead of 'extrinsic'"),
        (CAMERA.replace("intrinsic\n3", "K\n3"), "has no 'intrinsic'"),
        (CAMERA.replace("361.5", "f"), "could not convert"),
        (CAMERA.replace("361.5", "nan"), "not finite"),
        (CAMERA.replace("361.5", "0"), "cannot be inverted"),
        (CAMERA.replace("361.5", "1e39"), "float32 cannot hold"),
        (CAMERA.replace("0 0 0 1\n", "0 0 0 2\n"), "must end with the row 0 0 0 1"),
        (CAMERA.replace("0 0 1\n\n", "0 1 1\n\n"), "must end with the row"),
    ],
)
def test_damaged_camera(camera_file, text, message):
    """Anything incomplete, not a number or without an inverse."""
    with pytest.raises(DataError, match=rf"_cam\.txt: .*{message}"):
        read_camera(camera_file("425 2.5", text))


def test_binary_camera(tmp_path):
    """A file that is no text."""
    (tmp_path / "cam.txt").write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(DataError, match=r"cam\.txt: is not a text file"):
        read_camera(tmp_path / "cam.txt")


# ---------------------------------------------------------------- pairs


def test_pairs_round_trip(tmp_path):
    """Views with and without sources, in file order."""
    write_pairs(tmp_path / "pair.txt", [(4, [(1, 99.5), (0, 3.0)]), (1, [(4, 1.0)]), (0, [])])
    assert read_pairs(tmp_path / "pair.txt") == [(4, [1, 0]), (1, [4]), (0, [])]


@pytest.mark.parametrize(
    "text",
    [
        "2\n0\n3 1 9.5 2 1 0 0.000 \n1\n2 0 9.5 1 0\n",  # a view that lists itself last
        "2\n0\n4 1 9.5 2 3 3 0 4 0\n1\n1 0 9.5\n",  # views without a shared point, last
        "2\n\n0\n2 1 9.5 2 3\n\n1\n1 0 9.5\n\n",  # blank lines
        "2\n0\n3 1 0 2 0 0 0\n1\n1 0 0\n",  # scores that say nothing
        "2\n0\n4 1 9 0 8 2 7 1 6\n1\n2 0 5 0 4\n",  # itself in the middle, sources that are listed twice
    ],
)
def test_pairs_of_converters(tmp_path, text):
    """What the copies of colmap2mvsnet.py write for few images."""
    (tmp_path / "pair.txt").write_text(text)
    assert read_pairs(tmp_path / "pair.txt") == [(0, [1, 2]), (1, [0])]


def test_pairs_with_crlf(tmp_path):
    """Windows line ends."""
    (tmp_path / "pair.txt").write_bytes(b"2\r\n0\r\n1 1 5.0\r\n1\r\n1 0 5.0\r\n")
    assert read_pairs(tmp_path / "pair.txt") == [(0, [1]), (1, [0])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged or incomplete"),
        ("many", "is damaged or incomplete"),
        ("2\n0\n1 1 5.0\n", "is damaged or incomplete"),
        ("1\n0\n3 1 5.0 2 4.0\n", "announces 3 sources"),
        ("1\n0\n1 1\n", "view 0 has sources without scores; write 'count id score"),
        ("1\n0\n3 1 5.0\n", "view 0 announces 3 sources, but lists 1\\)"),
        ("0\n1 1 5.0\n1\n1 0 5.0\n", "lacks its first line, the number of views; write 2"),
        ("1\n0\n1 1 5.0\n1\n1 0 5.0\n", "1 views are announced, 2 listed"),
        ("1\n0\n1 one 5.0\n", "is damaged or incomplete"),
        ("1\n0\n1 0 5.0\n", "no view that has source views"),
        ("1\n-1\n1 0 5.0\n", "is negative"),
        ("1\n0\n1 -3 5.0\n", "source -3, which is negative"),
        ("2\n0\n1 1 5.0\n0\n1 1 5.0\n", "listed twice"),
        ("1\n0\n1 1 near\n", "is damaged or incomplete"),
        ("1\n0\n1 100000000 5.0\n", "names a view beyond 99999999"),
        (f"1\n{'9' * 5000}\n1 1 5.0\n", "is damaged or incomplete"),
        ("0\n", "no view that has source views"),
        ("1\n0\n0\n", "no view that has source views"),
    ],
)
def test_damaged_pairs(tmp_path, text, message):
    """Truncated lists, wrong counts, views that cannot be."""
    (tmp_path / "pair.txt").write_text(text)
    with pytest.raises(DataError, match=rf"pair\.txt: .*{message}"):
        read_pairs(tmp_path / "pair.txt")


# ---------------------------------------------------------------- images


def test_png_round_trip(tmp_path):
    """RGB and grey images come back exactly, as RGB."""
    image = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    write_image(tmp_path / "colour.png", image)
    write_image(tmp_path / "grey.png", image[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "colour.png"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), image[..., :1].repeat(3, axis=2))
    assert read_image_size(tmp_path / "colour.png") == (5, 6)


def test_depth_png(tmp_path):
    """16 bits of one channel become float32; pictures to look at are refused."""
    depth = np.array([[0, 1, 65535], [700, 32768, 3]], np.uint16)
    Image.fromarray(depth).save(tmp_path / "depth.png")
    read = read_depth_png(tmp_path / "depth.png")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, depth)
    for preview in (np.zeros((2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)):
        write_image(tmp_path / "depth.png", preview)
        with pytest.raises(DataError, match=r"depth\.png: is not a depth map of one channel and 16 bits"):
            read_depth_png(tmp_path / "depth.png")
    (tmp_path / "depth.png").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"depth\.png: is not a readable image"):
        read_depth_png(tmp_path / "depth.png")


def test_jpg_is_close(tmp_path):
    """A smooth image survives JPEG within a few grey levels, channels in order."""
    y, x = np.mgrid[:32, :48]
    image = np.stack([4 * y, 5 * x, 255 - 4 * y], axis=-1).astype(np.uint8)
    write_image(tmp_path / "image.jpg", image)
    assert np.abs(read_image(tmp_path / "image.jpg").astype(int) - image).max() <= 8


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("size", [0, 5, 200, -100])
def test_truncated_image(tmp_path, suffix, size):
    """An image file that broke off is no image, even if its header is whole."""
    path = tmp_path / f"image.{suffix}"
    write_image(path, np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=rf"image\.{suffix}: is not a readable image"):
        read_image(path)


# ---------------------------------------------------------------- dmb and PLY


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_dmb_round_trip(tmp_path, shape):
    """Type, height, width and channels, then float32."""
    data = random_map(*shape)
    write_dmb(tmp_path / "disp.dmb", data)
    np.testing.assert_array_equal(read_dmb(tmp_path / "disp.dmb"), data)
    channels = shape[2] if len(shape) == 3 else 1
    assert (tmp_path / "disp.dmb").read_bytes()[:16] == struct.pack("<4i", 1, 4, 6, channels)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<3i", 1, 2, 2),
        struct.pack("<4i", 1, 2, 2, 1) + bytes(15),
        struct.pack("<4i", 2, 2, 2, 1) + bytes(16),
        struct.pack("<4i", 1, -2, -2, 1) + bytes(16),
        struct.pack("<4i", 1, 2**31 - 1, 2**31 - 1, 1) + bytes(16),
    ],
)
def test_damaged_dmb(tmp_path, content):
    """Truncated data, other types, absurd sizes."""
    (tmp_path / "disp.dmb").write_bytes(content)
    with pytest.raises(DataError, match=r"disp\.dmb: is not a dmb file"):
        read_dmb(tmp_path / "disp.dmb")


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_ply_round_trip(tmp_path, count):
    """Points and colours, none as well."""
    points = random_map(count, 3)
    colors = np.random.default_rng(1).integers(0, 256, (count, 3), dtype=np.uint8)
    write_ply(tmp_path / "cloud.ply", points, colors)
    read_points, read_colors = read_ply(tmp_path / "cloud.ply")
    np.testing.assert_array_equal(read_points, points)
    np.testing.assert_array_equal(read_colors, colors)


@pytest.mark.parametrize("count", [0, 1000])
def test_ply_with_normals(tmp_path, count):
    """Normals go where other programs look for them, and do not disturb points and colours."""
    points, normals = random_map(count, 3), random_map(count, 3) + 5
    colors = np.random.default_rng(1).integers(0, 256, (count, 3), dtype=np.uint8)
    write_ply(tmp_path / "cloud.ply", points, colors, normals)
    read_points, read_colors = read_ply(tmp_path / "cloud.ply")
    np.testing.assert_array_equal(read_points, points)
    np.testing.assert_array_equal(read_colors, colors)
    vertices = PlyData.read(tmp_path / "cloud.ply")["vertex"].data
    assert vertices.dtype.names == ("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue")
    np.testing.assert_array_equal(np.stack([vertices[name] for name in ("nx", "ny", "nz")], axis=1), normals)


def test_ply_of_other_programs(tmp_path):
    """ASCII, doubles, other properties, no colours."""
    properties = "property double x\nproperty double y\nproperty double z\nproperty float quality\n"
    text = f"ply\nformat ascii 1.0\nelement vertex 2\n{properties}end_header\n1 2 3 0.5\n4 5 6 0.5\n"
    (tmp_path / "cloud.ply").write_text(text)
    points, colors = read_ply(tmp_path / "cloud.ply")
    assert points.dtype == np.float64 and points.tolist() == [[1, 2, 3], [4, 5, 6]] and colors is None


def test_damaged_ply(tmp_path):
    """Garbage, and a cloud that broke off."""
    path = tmp_path / "cloud.ply"
    write_ply(path, random_map(10, 3), np.zeros((10, 3), np.uint8))
    for content in (b"garbage", path.read_bytes()[:-7]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cloud\.ply: is not a readable PLY"):
            read_ply(path)


# ---------------------------------------------------------------- MATLAB


def test_mat(tmp_path):
    """The arrays that are asked for, with their types and at least two dimensions."""
    mask = np.random.default_rng(1).random((3, 4, 5)) > 0.5
    savemat(tmp_path / "a.mat", {"mask": mask, "res": 0.5, "name": "text"}, do_compression=True)
    arrays = read_mat(tmp_path / "a.mat", ("mask", "res"))
    np.testing.assert_array_equal(arrays["mask"], mask)
    assert arrays["res"].tolist() == [[0.5]] and arrays.keys() == {"mask", "res"}


@pytest.mark.parametrize("name", ["other", "name", "cells", "struct"])
def test_mat_without_the_numbers(tmp_path, name):
    """A variable that is missing, or is no array of numbers, is named."""
    variables = {"name": "text", "cells": np.array([1, "a"], object), "struct": {"field": 1}}
    savemat(tmp_path / "a.mat", variables)
    with pytest.raises(DataError, match=rf"a\.mat: has no array of numbers named {name}"):
        read_mat(tmp_path / "a.mat", (name,))


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_mat(tmp_path, compressed):
    """A file that breaks off anywhere, garbage, and the HDF5 format of MATLAB 7.3."""
    path = tmp_path / "a.mat"
    savemat(path, {"mask": np.arange(100.0)}, do_compression=compressed)
    whole = path.read_bytes()
    contents = [whole[:stop] for stop in range(0, len(whole), 17)]
    contents += [b"garbage " * 40, b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.mat: (is not a readable MATLAB file|has no array|is a MATLAB 7\.3)"):
            read_mat(path, ("mask",))


# ---------------------------------------------------------------- missing files, full disks

READERS = (read_pfm, read_camera, read_pairs, read_image, read_depth_png, read_image_size, read_dmb, read_ply)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_missing_file(tmp_path, read):
    """Every reader names the file that is not there."""
    with pytest.raises(DataError, match="nowhere: no such file"):
        read(tmp_path / "nowhere")


FILL_THE_DISK = """
import resource, sys
import numpy as np
from datasets.files import DataError
from datasets.formats.images import write_image
from datasets.formats.pfm import write_pfm
from datasets.formats.ply import write_ply
from datasets.io import write_dmb

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
noise = np.random.default_rng(1)
writers = {
    "map.pfm": lambda path: write_pfm(path, noise.normal(size=(40, 40))),
    "image.png": lambda path: write_image(path, noise.integers(0, 256, (40, 40, 3), dtype=np.uint8)),
    "disp.dmb": lambda path: write_dmb(path, noise.normal(size=(40, 40))),
    "cloud.ply": lambda path: write_ply(path, noise.normal(size=(100, 3)), np.zeros((100, 3), np.uint8)),
}
for name, write in writers.items():
    try:
        write(f"{sys.argv[1]}/{name}")
    except DataError as error:
        print(error)
"""


def test_full_disk_leaves_nothing(tmp_path):
    """Writers that fail half-way name their file and leave neither it nor a temporary one; older files stay."""
    (tmp_path / "image.png").write_bytes(b"older")
    result = run_process("-c", FILL_THE_DISK, tmp_path)
    assert result.returncode == 0 and result.stderr == ""
    expected = [
        f"{tmp_path}/{name}: cannot be written: File too large"
        for name in ("map.pfm", "image.png", "disp.dmb", "cloud.ply")
    ]
    assert result.stdout.splitlines() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]
    assert (tmp_path / "image.png").read_bytes() == b"older"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path):
    """A folder that is not ours to write in."""
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match=r"map\.pfm: cannot be written: Permission denied"):
        write_pfm(tmp_path / "map.pfm", random_map(2, 2))
    tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())
