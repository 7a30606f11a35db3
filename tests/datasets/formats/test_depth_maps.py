"""Depth maps of other programs: what they write is read, and damaged files are named."""

import struct

import numpy as np
import pytest
from depth_files import colmap_map, dmap
from PIL import Image

from datasets.files import DataError
from datasets.formats.colmap_workspace import write_map
from datasets.formats.depth_maps import read_colmap_map, read_depth_map, read_dmap, read_npy_map
from datasets.formats.pfm import write_pfm


def random_map(*shape: int) -> np.ndarray:
    """Random depths of a shape."""
    return np.random.default_rng(1).uniform(1, 9, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (4, 3, 3)])
def test_colmap_maps_come_back(tmp_path, shape):
    """Bit by bit as the project's own writer, and COLMAP, write them: one plane after the other."""
    values = random_map(*shape)
    values.flat[0] = np.nan
    write_map(tmp_path / "a.bin", values)
    assert (tmp_path / "a.bin").read_bytes() == colmap_map(values)
    np.testing.assert_array_equal(read_colmap_map(tmp_path / "a.bin"), values)


@pytest.mark.parametrize("normals", [False, True])
def test_dmaps_tell_depth_confidence_and_photo(tmp_path, normals):
    """Behind the camera come depth, normals where there are some, confidence; views are skipped."""
    depth, confidence = random_map(5, 7), random_map(5, 7) / 9
    (tmp_path / "depth0003.dmap").write_bytes(dmap(depth, "photos/é.jpg", confidence, normals))
    read = read_dmap(tmp_path / "depth0003.dmap")
    np.testing.assert_array_equal(read.depth, depth)
    np.testing.assert_array_equal(read.confidence, confidence)
    assert read.photo == "photos/é.jpg"
    (tmp_path / "depth0004.dmap").write_bytes(dmap(depth, "", None, normals))
    assert read_dmap(tmp_path / "depth0004.dmap").confidence is None


@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (1, 1, 5, 7), (5, 7, 1)])
def test_arrays_lose_axes_of_length_one(tmp_path, shape):
    """As networks write them, in any type of number."""
    values = random_map(5, 7)
    for kind in (np.float16, np.float32, np.float64):
        np.save(tmp_path / "a.npy", values.reshape(shape).astype(kind))
        np.testing.assert_array_equal(read_npy_map(tmp_path / "a.npy"), values.astype(kind).astype(np.float32))


def test_the_end_of_the_name_tells_the_format(tmp_path):
    """In either case of its letters."""
    values = np.round(random_map(5, 7))
    (tmp_path / "a.jpg.geometric.bin").write_bytes(colmap_map(values))
    (tmp_path / "a.DMAP").write_bytes(dmap(values, "a"))
    write_pfm(tmp_path / "a.pfm", values)
    np.save(tmp_path / "a.npy", values)
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a.png")
    for name in ("a.jpg.geometric.bin", "a.DMAP", "a.pfm", "a.npy", "a.png"):
        np.testing.assert_array_equal(read_depth_map(tmp_path / name).depth, values)


GOOD_DMAP = dmap(random_map(2, 3), "a.jpg")
CLAIMS_MUCH = struct.pack("<2sBx4I2f", b"DR", 1, 9, 9, 60000, 60000, 1.0, 2.0) + bytes(174)
TWO_MAPS = colmap_map(random_map(2, 2, 2))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.bin", b"", "is not a map of COLMAP"),
        ("a.bin", b"3&2&", "is not a map of COLMAP"),
        ("a.bin", b"-3&2&1&" + bytes(24), "is not a map of COLMAP"),
        ("a.bin", b"3&2&1&" + bytes(23), "holds 23 bytes of data, 3x2x1 needs 24"),
        ("a.bin", b"0&2&1&", "holds 0 bytes of data"),
        ("a.bin", b"999999&999999&9&" + bytes(24), "holds 24 bytes"),
        ("a.bin", TWO_MAPS, "has 2 channels, where a depth map has one"),
        ("a.dmap", b"", "no depth map of OpenMVS"),
        ("a.dmap", GOOD_DMAP[:40], "no depth map of OpenMVS"),
        ("a.dmap", GOOD_DMAP[:-1], "bytes of maps, where 3x2 needs"),
        ("a.dmap", b"MV" + GOOD_DMAP[2:], "does not begin with DR"),
        ("a.dmap", b"DR\x02" + GOOD_DMAP[3:], "does not begin with DR and a depth map"),
        ("a.dmap", CLAIMS_MUCH, "bytes of maps, where 60000x60000 needs"),
        ("a.npy", b"\x93NUMPY", "no map in a .npy file"),
        ("a.exr", b"", "is no depth map that is read here"),
    ],
)
def test_damaged_maps_are_named(tmp_path, name, content, message):
    """Nothing is allocated for what a header claims and the file does not hold."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: .*{message}"):
        read_depth_map(tmp_path / name)


@pytest.mark.parametrize("values", [np.zeros((2, 3, 4)), np.zeros(5), np.zeros((0, 4)), np.array(["a"])])
def test_arrays_that_are_no_maps(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=r"a\.npy: is damaged or no map"):
        read_npy_map(tmp_path / "a.npy")
