"""PLY clouds with normals, agreeing views and confidence."""

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from datasets.formats import ply_records
from datasets.formats.ply import ply_writer, read_ply
from datasets.formats.ply_clouds import read_cloud_blocks, read_cloud_columns


def test_all_columns_come_back(tmp_path, monkeypatch):
    """Over several blocks, bit by bit; plyfile finds them by their names."""
    monkeypatch.setattr(ply_records, "_BLOCK", 7)
    rng = np.random.default_rng(0)
    xyz, normals = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)).astype(np.float32)
    colors, views = rng.integers(0, 256, (20, 3), dtype=np.uint8), rng.integers(1, 256, 20).astype(np.uint8)
    confidence = rng.random(20).astype(np.float32)
    with ply_writer(tmp_path / "a.ply", normals=True, agreement=True) as writer:
        writer.append(xyz, colors, normals, views, confidence)
    columns = read_cloud_columns(tmp_path / "a.ply")
    assert columns.count == 20 and columns.doubles and columns.views and columns.confidence and columns.normals
    blocks = list(read_cloud_blocks(tmp_path / "a.ply"))
    assert [len(block.xyz) for block in blocks] == [7, 7, 6]
    written = {"xyz": xyz, "colors": colors, "normals": normals, "views": views, "confidence": confidence}
    for name, values in written.items():
        np.testing.assert_array_equal(np.concatenate([getattr(block, name) for block in blocks]), values)
    vertex = PlyData.read(tmp_path / "a.ply")["vertex"]
    assert vertex["views"].dtype == np.uint8 and vertex["confidence"].dtype == np.float32
    np.testing.assert_array_equal(vertex["nx"], normals[:, 0])


def test_clouds_without_them(tmp_path):
    """They are grey where they have no colours, and have no normals."""
    vertices = np.array([(1, 2, 3), (4, 5, 6)], [(axis, "f4") for axis in "xyz"])
    PlyData([PlyElement.describe(vertices, "vertex")]).write(tmp_path / "a.ply")
    (block,) = read_cloud_blocks(tmp_path / "a.ply")
    assert (block.colors == 128).all() and block.normals is None and block.views is None and block.confidence is None


@pytest.mark.parametrize(("name", "kind"), [("confidence", "u1"), ("views", "f4")])
def test_columns_of_other_programs_are_not_taken_for_ours(tmp_path, name, kind):
    """A count that is called confidence, or a number that is called views."""
    vertices = np.zeros(2, [*((axis, "f4") for axis in "xyz"), (name, kind)])
    PlyData([PlyElement.describe(vertices, "vertex")]).write(tmp_path / "a.ply")
    columns = read_cloud_columns(tmp_path / "a.ply")
    assert not columns.views and not columns.confidence


def test_colours_of_other_types_are_those_of_the_whole_file(tmp_path, monkeypatch):
    """Floats from 0 to 255, of which the first block has none above 1."""
    monkeypatch.setattr(ply_records, "_BLOCK", 2)
    names = ("red", "green", "blue")
    vertices = np.zeros(4, [*((axis, "f4") for axis in "xyz"), *((name, "f4") for name in names)])
    vertices["red"] = [0, 1, 100, 255]
    PlyData([PlyElement.describe(vertices, "vertex")]).write(tmp_path / "a.ply")
    found = np.concatenate([block.colors for block in read_cloud_blocks(tmp_path / "a.ply")])
    np.testing.assert_array_equal(found, read_ply(tmp_path / "a.ply")[1])
    assert found[:, 0].tolist() == [0, 1, 100, 255]
