"""PLY clouds of other programs: formats, types, properties and elements, and what is refused."""

import struct

import numpy as np
import pytest
from numpy.lib import recfunctions as rfn
from plyfile import PlyData, PlyElement

from datasets.files import DataError
from datasets.formats import ply_records
from datasets.formats.ply import read_ply, read_ply_count, write_ply

# A vertex as some programs write it: mixed types, an own order, properties that are nobody's business.
VERTEX = [("z", "f8"), ("quality", "f4"), ("red", "u1"), ("blue", "u1"), ("green", "u1"), ("y", "f8"), ("x", "f4")]
XYZ = "property float x\nproperty float y\nproperty float z\n"
TYPE_NAMES = {"f8": "double", "f4": "float", "u1": "uchar", "i4": "int", "i2": "int16"}


def header(kind: str, count: int, vertex=VERTEX) -> bytes:
    """A header with an element of scalars before the vertices and faces after them."""
    lines = ["ply", f"format {kind} 1.0", "comment made by hand", "element camera 2", "property int16 id"]
    lines += ["property double zoom", f"element vertex {count}"]
    lines += [f"property {TYPE_NAMES[kind]} {name}" for name, kind in vertex]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(lines).encode()


_FACES = struct.pack(">B3iB", 3, 0, 1, 2, 0)


def random_vertices(count: int, vertex=VERTEX) -> np.ndarray:
    """Records with values that float32 and a byte hold."""
    rng = np.random.default_rng(1)
    records = np.empty(count, vertex)
    for name, kind in vertex:
        records[name] = rng.integers(0, 256, count) if kind == "u1" else rng.normal(size=count).astype(np.float32)
    return records


def ply_bytes(kind: str, vertices: np.ndarray) -> bytes:
    """A whole file with these vertices, two cameras and a face."""
    start = header(kind, len(vertices))
    if kind == "ascii":
        rows = "".join(" ".join(repr(value) for value in row) + "\n" for row in vertices.tolist())
        return start + b"1 0.5\n2 0.25\n" + rows.encode() + b"3 0 1 2\n"
    order = "<" if kind == "binary_little_endian" else ">"
    cameras = np.array([(1, 0.5), (2, 0.25)], [("id", order + "i2"), ("zoom", order + "f8")])
    records = vertices.astype([(name, order + kind) for name, kind in VERTEX])
    return start + cameras.tobytes() + records.tobytes() + b"\x03" + np.arange(3, dtype=order + "i4").tobytes()


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_every_format(tmp_path, monkeypatch, kind, line_end):
    """Any order of properties and any type, over several blocks, with other elements before and after."""
    monkeypatch.setattr(ply_records, "_BLOCK", 7)
    vertices = random_vertices(20)
    start = header(kind, 20)
    content = ply_bytes(kind, vertices)
    (tmp_path / "cloud.ply").write_bytes(start.replace(b"\n", line_end) + content[len(start) :])
    points, colors = read_ply(tmp_path / "cloud.ply")
    assert points.dtype == np.float64 and colors.dtype == np.uint8
    np.testing.assert_array_equal(points, np.stack([vertices[axis] for axis in "xyz"], axis=1))
    np.testing.assert_array_equal(colors, np.stack([vertices[c] for c in ("red", "green", "blue")], axis=1))
    assert read_ply_count(tmp_path / "cloud.ply") == 20


def test_values_of_ascii_that_are_not_finite(tmp_path):
    """They are numbers of the file like others, and so is one too large for float32."""
    text = (
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty double z\nend_header\n"
    )
    (tmp_path / "cloud.ply").write_text(text + "nan -inf 1e300")
    np.testing.assert_array_equal(read_ply(tmp_path / "cloud.ply")[0], np.float32([[np.nan, -np.inf, np.inf]]))


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_truncated_anywhere(tmp_path, kind):
    """A file that breaks off before its last vertex is refused wherever it does, and named."""
    content = ply_bytes(kind, random_vertices(5))
    whole = content[: -len("3 0 1 2\n")] if kind == "ascii" else content[:-13]  # without the face, which is not read
    path = tmp_path / "cloud.ply"
    path.write_bytes(whole)
    assert len(read_ply(path)[0]) == 5
    last = whole.rindex(b" ") if kind == "ascii" else len(whole) - 1  # a shorter last number is a number too
    for stop in [*range(0, last, 13), last]:
        path.write_bytes(whole[:stop])
        with pytest.raises(DataError, match=r"cloud\.ply: is not a readable PLY"):
            read_ply(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nonsense", "does not start with 'ply'"),
        (f"ply\nelement vertex 0\n{XYZ}end_header\n", "format is unknown"),
        (f"ply\nformat binary 1.0\nelement vertex 0\n{XYZ}end_header\n", "header is damaged"),
        (f"ply\nformat ascii 1.0\nelement point 0\n{XYZ}end_header\n", "no vertices"),
        (f"ply\nformat ascii 1.0\nelement vertex 0\n{XYZ}", "header is damaged"),
        (f"ply\nformat ascii 1.0\nelement vertex -1\n{XYZ}end_header\n", "header is damaged"),
        (f"ply\nformat ascii 1.0\n{XYZ}end_header\n", "header is damaged"),
        ("ply\nformat ascii 1.0\n" + "comment\n" * 20_000, "header does not end"),
        (f"ply\nformat ascii 1.0\nelement vertex 0\n{XYZ[:34]}end_header\n", "no x, y, z"),
        (f"ply\nformat ascii 1.0\nelement vertex 0\n{XYZ}property half w\nend_header\n", "'half w' is unknown"),
        (f"ply\nformat ascii 1.0\nelement vertex 0\n{XYZ}property int x\nend_header\n", "given twice"),
        (f"ply\nformat ascii 1.0\nelement vertex 0\n{XYZ}property list float int n\nend_header\n", "is unknown"),
        (f"ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}property list int int n\nend_header\n1 2 3 2 7\n", "instead"),
        (f"ply\nformat ascii 1.0\nelement vertex 2\n{XYZ}end_header\n1 2 3\n4 5 6 7 8\n", "columns"),
        (f"ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}end_header\n1 2 three\n", "three"),
        (f"ply\nformat ascii 1.0\nelement vertex {10**15}\n{XYZ}end_header\n1 2 3\n", "incomplete"),
        (f"ply\nformat ascii 1.0\nelement a {10**15}\nelement vertex 1\n{XYZ}end_header\n1 2 3\n", "incomplete"),
        (f"ply\nformat binary_big_endian 1.0\nelement vertex {10**15}\n{XYZ}end_header\n123", "incomplete"),
        (f"ply\nformat binary_big_endian 1.0\nelement vertex {'9' * 5000}\n{XYZ}end_header\n", "damaged"),
    ],
)
def test_what_is_refused(tmp_path, content, reason):
    """Damaged headers and data are one line that says why, however much the header claims."""
    (tmp_path / "cloud.ply").write_text(content)
    with pytest.raises(DataError, match=rf"cloud\.ply: is not a readable PLY: .*{reason}") as caught:
        read_ply(tmp_path / "cloud.ply")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("place", ["before", "inside", "capitals"])
def test_lists(tmp_path, kind, place):
    """Faces before the vertices, lists among the vertices' properties: passed over, as plyfile writes them."""
    vertices = np.array(
        [(1, [7, 8], 2, 3, 4), (4, [9], 5, 6, 5)], [("x", "f4"), ("seen", "O"), ("y", "f4"), ("z", "f8"), ("q", "u1")]
    )
    if place != "inside":
        vertices = vertices[["x", "y", "z"]]
    faces = PlyElement.describe(
        np.array([([0, 1, 2],), ([],)], [("vertex_indices", "O")]), "face", val_types={"vertex_indices": "i4"}
    )
    described = PlyElement.describe(rfn.repack_fields(vertices), "vertex", val_types={"seen": "u4"})
    order = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}[kind]
    path = tmp_path / "cloud.ply"
    PlyData([faces, described], text=kind == "ascii", byte_order=order).write(path)
    if place == "inside" and order == ">":  # which plyfile writes in the machine's own order
        records = (struct.pack(f">fB{len(v[1])}IfdB", v[0], len(v[1]), *v[1], *list(v)[2:]) for v in vertices)
        path.write_bytes(path.read_bytes().split(b"end_header\n")[0] + b"end_header\n" + _FACES + b"".join(records))
    if place == "capitals":
        start, data = path.read_bytes().split(b"end_header\n")
        start = start.replace(b" x\n", b" X\n").replace(b" y\n", b" Y\n").replace(b"vertex ", b"Vertex ")
        path.write_bytes(start + b"end_header\n" + data)
    assert read_ply(path)[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 8])
    with pytest.raises(DataError, match="is not a readable PLY"):
        read_ply(path)


@pytest.mark.parametrize(
    ("names", "kind", "values", "expected"),
    [
        (("r", "g", "b"), "u1", (255, 128, 0), (255, 128, 0)),
        (("Red", "Green", "Blue"), "f4", (1, 0.5, 0), (255, 128, 0)),
        (("red", "green", "blue"), "f8", (255, 128, 0), (255, 128, 0)),
        (("diffuse_red", "diffuse_green", "diffuse_blue"), "u2", (65535, 32896, 0), (255, 128, 0)),
        (("scalar_R", "scalar_G", "scalar_B"), "i4", (255, 128, 0), (255, 128, 0)),
        (("f_dc_0", "f_dc_1", "f_dc_2"), "f4", (1.7725, 0, -1.7725), (255, 128, 0)),
    ],
)
def test_colours_of_any_type_and_name(tmp_path, names, kind, values, expected):
    """Floats from 0 to 1 or to 255, 16 bits, the constant terms of Gaussian splats."""
    vertex = np.array([(1, 2, 3, *values)], [*((axis, "f4") for axis in "xyz"), *((name, kind) for name in names)])
    PlyData([PlyElement.describe(vertex, "vertex")]).write(tmp_path / "cloud.ply")
    assert read_ply(tmp_path / "cloud.ply")[1].tolist() == [list(expected)]


def test_no_file_to_read(tmp_path):
    """A missing file and a folder are named."""
    with pytest.raises(DataError, match=r"none\.ply: no such file"):
        read_ply_count(tmp_path / "none.ply")
    with pytest.raises(DataError, match="cannot be read"):
        read_ply(tmp_path)


@pytest.mark.parametrize("normals", [False, True])
def test_doubles_stay_doubles(tmp_path, normals):
    """What is written in doubles is read in doubles, by plyfile too; normals stay floats."""
    points = np.random.default_rng(1).uniform(0, 1, (50, 3)) + np.array([5e5, 4.5e6, 100])
    colors = np.random.default_rng(2).integers(0, 256, (50, 3), dtype=np.uint8)
    directions = np.tile(np.float32([0, 0.6, 0.8]), (50, 1)) if normals else None
    write_ply(tmp_path / "cloud.ply", points, colors, directions)
    found, found_colors = read_ply(tmp_path / "cloud.ply")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, points)
    np.testing.assert_array_equal(found_colors, colors)
    vertices = PlyData.read(tmp_path / "cloud.ply")["vertex"].data
    np.testing.assert_array_equal(vertices["y"], points[:, 1])
    assert not normals or ((vertices["ny"] == np.float32(0.6)).all() and vertices["nz"].dtype == np.float32)
