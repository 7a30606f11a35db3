"""Faces of PLY meshes: every layout that programs write, and what is refused."""

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from datasets.files import DataError
from datasets.formats.ply_faces import read_ply_triangles

VERTICES = np.zeros(6, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1")])
KINDS = {"ascii": {"text": True}, "little": {"byte_order": "<"}, "big": {"byte_order": ">"}}


def write_mesh(path, faces: list[list[int]], kind: str, name: str = "vertex_indices", **more) -> None:
    """A PLY with six vertices and these faces, whose further properties are `more`: name = (type, values)."""
    records = np.empty(len(faces), [(name, object), *((key, *value[:1]) for key, value in more.items())])
    records[name] = [np.array(face, np.int32) for face in faces] if len(set(map(len, faces))) > 1 else None
    for i, face in enumerate(faces):
        records[name][i] = np.array(face, np.int32)
    for key, (_, values) in more.items():
        for i, value in enumerate(values):
            records[key][i] = value
    elements = [PlyElement.describe(VERTICES, "vertex"), PlyElement.describe(records, "face")]
    PlyData(elements, **KINDS[kind]).write(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["vertex_indices", "vertex_index"])
def test_triangles_are_read(tmp_path, kind, name):
    write_mesh(tmp_path / "mesh.ply", [[0, 1, 2], [3, 4, 5]], kind, name, quality=("f4", [0.5, 1.5]))
    np.testing.assert_array_equal(read_ply_triangles(tmp_path / "mesh.ply"), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("kind", KINDS)
def test_polygons_become_fans(tmp_path, kind):
    """A triangle, a quadrilateral, a line, which has no area, and a pentagon; with texture coordinates beside them."""
    faces = [[0, 1, 2], [0, 1, 2, 3], [4, 5], [1, 2, 3, 4, 5]]
    textures = [np.arange(2 * len(face), dtype=np.float32) for face in faces]
    write_mesh(tmp_path / "mesh.ply", faces, kind, texcoord=(object, textures))
    expected = [[0, 1, 2], [0, 1, 2], [0, 2, 3], [1, 2, 3], [1, 3, 4], [1, 4, 5]]
    np.testing.assert_array_equal(read_ply_triangles(tmp_path / "mesh.ply"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cloud_has_no_triangles(tmp_path, kind):
    PlyData([PlyElement.describe(VERTICES, "vertex")], **KINDS[kind]).write(tmp_path / "cloud.ply")
    assert read_ply_triangles(tmp_path / "cloud.ply").shape == (0, 3)
    write_mesh(tmp_path / "cloud.ply", [], kind)
    assert read_ply_triangles(tmp_path / "cloud.ply").shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("faces", [[[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [2, 3, 4, 5]]])
def test_a_mesh_that_breaks_off_is_refused(tmp_path, kind, faces):
    path = tmp_path / "mesh.ply"
    write_mesh(path, faces, kind)
    whole = path.read_bytes()
    for cut in range(3, 14):
        path.write_bytes(whole[:-cut])
        with pytest.raises(DataError, match=r"mesh\.ply: is not a readable PLY: .*incomplete"):
            read_ply_triangles(path)


HEADER = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n{}end_header\n"
POINTS = "0 0 0\n1 0 0\n0 1 0\n"


@pytest.mark.parametrize(
    ("elements", "records", "reason"),
    [
        (
            "element face 1\nproperty list uchar int vertex_indices\n",
            "3 0 1 3\n",
            "names a vertex that is none of its 3",
        ),
        ("element face 1\nproperty list uchar int vertex_indices\n", "3 0 1 -1\n", "names a vertex that is none"),
        ("element face 1\nproperty list uchar int vertex_indices\n", "3 0 one 2\n", "one"),
        ("element face 1\nproperty list uchar int vertex_indices\n", "-3 0 1 2\n", "incomplete"),
        ("element face 1\nproperty list uchar int corners\n", "3 0 1 2\n", "no list vertex_indices"),
        ("element face 1\nproperty list uchar float vertex_indices\n", "3 0 1 2\n", "no list vertex_indices"),
        ("element face 999999999\nproperty list uchar int vertex_indices\n", "3 0 1 2\n", "ends after 1 of 999999999"),
        (
            "element edge 1\nproperty int v\nelement face 1\nproperty list uchar int vertex_indices\n",
            "7\n3 0 1 2\n",
            "'edge' stands between",
        ),
    ],
)
def test_what_is_refused(tmp_path, elements, records, reason):
    (tmp_path / "mesh.ply").write_text(HEADER.format(elements) + POINTS + records)
    with pytest.raises(DataError, match=rf"mesh\.ply: is not a readable PLY: .*{reason}"):
        read_ply_triangles(tmp_path / "mesh.ply")


def test_a_binary_list_longer_than_the_file_is_refused(tmp_path):
    """Its length is not believed before the file's is known."""
    path = tmp_path / "mesh.ply"
    text = HEADER.replace("ascii", "binary_little_endian")
    text = text.format("element face 2\nproperty list uint int vertex_indices\n")
    path.write_bytes(text.encode() + bytes(36) + b"\xff\xff\xff\x7f" + bytes(12))
    with pytest.raises(DataError, match="incomplete"):
        read_ply_triangles(path)
