"""Meshes in files: as others read them (trimesh, and the project's own readers)."""

import io
import json

import numpy as np
import pytest

from datasets.formats.images import read_image
from datasets.formats.mesh_glb import write_glb
from datasets.formats.mesh_obj import write_obj
from datasets.formats.mesh_ply import write_ply_mesh
from datasets.formats.mesh_stl import write_stl
from datasets.formats.ply import read_ply
from datasets.formats.ply_faces import read_ply_triangles

trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed (requirements-dev.txt)")

VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
NORMALS = np.full((4, 3), 3**-0.5, np.float32)
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 64, 32]], np.uint8)
FAR = np.array([5e5, 4.5e6, 100.0])


def quadrants() -> np.ndarray:
    """A picture of four colours, one a face."""
    return np.repeat(np.repeat(COLOURS.reshape(2, 2, 3), 16, axis=0), 16, axis=1)


def corners_in_quadrants() -> np.ndarray:
    """Of each face: a triangle in its own quadrant."""
    starts = np.array([[0, 0], [16, 0], [0, 16], [16, 16]], np.float32)
    return starts[:, None] + np.array([[2, 2], [13, 2], [2, 13]], np.float32)


def test_ply(tmp_path):
    """Vertices, colours and faces come back; doubles where they are given."""
    for kind in (np.float32, np.float64):
        write_ply_mesh(tmp_path / "a.ply", (VERTICES + FAR).astype(kind), NORMALS, COLOURS, FACES)
        points, colours = read_ply(tmp_path / "a.ply")
        assert points.dtype == kind
        np.testing.assert_array_equal(points, (VERTICES + FAR).astype(kind))
        np.testing.assert_array_equal(colours, COLOURS)
        np.testing.assert_array_equal(read_ply_triangles(tmp_path / "a.ply"), FACES)
        assert len(trimesh.load(tmp_path / "a.ply", process=False).faces) == 4


def test_stl(tmp_path):
    """Closed, its faces outwards."""
    write_stl(tmp_path / "a.stl", VERTICES, FACES)
    read = trimesh.load(tmp_path / "a.stl")
    assert read.is_watertight and read.volume == pytest.approx(1 / 6)


@pytest.mark.parametrize("scale", [0.1, 1.0, 1e4])
def test_solids_that_touch_stay_closed_in_stl(tmp_path, scale):
    """Three tetrahedra that share an edge, whose ends a reader would join to one edge of six faces."""
    turned = [VERTICES * [1, 1, 1], VERTICES * [-1, -1, 1], VERTICES * [-1, 1, 1]]
    faces = [FACES, FACES + 4, FACES[:, ::-1] + 8]  # the third is mirrored
    write_stl(tmp_path / "a.stl", np.concatenate(turned) * scale, np.concatenate(faces))
    read = trimesh.load(tmp_path / "a.stl")
    assert read.is_watertight and len(read.vertices) == 12
    assert read.volume == pytest.approx(scale**3 / 2, rel=1e-4)


def test_obj_with_colours(tmp_path):
    """Behind the vertices, with all digits that places need."""
    write_obj(tmp_path / "a.obj", VERTICES + FAR, FACES, COLOURS)
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    places = np.array([line[1:4] for line in lines if line[0] == "v"], float)
    np.testing.assert_allclose(places, VERTICES + FAR, rtol=0, atol=1e-8)
    read = trimesh.load(tmp_path / "a.obj", process=False)
    np.testing.assert_array_equal(read.faces, FACES)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], COLOURS)


def test_obj_with_a_texture(tmp_path):
    """The picture lies beside, and each face finds its own colour in it."""
    write_obj(tmp_path / "a.obj", VERTICES, FACES, COLOURS, corners_in_quadrants(), quadrants())
    assert (tmp_path / "a.mtl").exists()
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - quadrants()).mean() < 8
    check_texture(trimesh.load(tmp_path / "a.obj", process=False))


def check_texture(read) -> None:
    """The colour at the middle of each face."""
    middle = read.visual.uv[read.faces].mean(axis=1)
    found = read.visual.material.to_color(middle)[:, :3].astype(int)
    areas = read.triangles.mean(axis=1)
    for wanted, face in zip(COLOURS.astype(int), VERTICES[FACES].mean(axis=1), strict=True):
        own = np.argmin(np.linalg.norm(areas - face, axis=1))
        assert np.abs(found[own] - wanted).max() < 25


def glb(path, vertices=VERTICES, matrix=np.eye(4), **texture) -> dict:
    """A written GLB, as its JSON says."""
    write_glb(path, vertices, NORMALS, FACES, COLOURS, matrix, **texture)
    content = path.read_bytes()
    assert content[:4] == b"glTF" and int.from_bytes(content[8:12], "little") == len(content)
    return json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])


def test_glb_with_colours(tmp_path):
    """Linear, as glTF has them; the node's matrix puts small numbers where they belong."""
    matrix = np.eye(4)
    matrix[:3, 3] = FAR
    document = glb(tmp_path / "a.glb", matrix=matrix)
    assert document["accessors"][0]["min"] == [0, 0, 0] and document["accessors"][0]["max"] == [1, 1, 1]
    scene = trimesh.load(tmp_path / "a.glb")
    (node,) = scene.graph.nodes_geometry
    transform, name = scene.graph[node]
    np.testing.assert_array_equal(transform, matrix)
    read = scene.geometry[name]
    np.testing.assert_array_equal(read.vertices, VERTICES)
    np.testing.assert_array_equal(read.faces, FACES)
    colours = np.asarray(read.visual.vertex_attributes["color"])
    assert colours[3, 0] / np.iinfo(colours.dtype).max == pytest.approx((128 / 255) ** 2.2, abs=0.01)


def test_glb_with_a_texture(tmp_path):
    """The picture is inside the file, and each face finds its own colour in it."""
    document = glb(tmp_path / "a.glb", corners=corners_in_quadrants(), image=quadrants())
    assert document["images"][0]["mimeType"] == "image/jpeg" and "uri" not in document["images"][0]
    scene = trimesh.load(io.BytesIO((tmp_path / "a.glb").read_bytes()), file_type="glb")
    (read,) = scene.geometry.values()
    assert len(read.vertices) == 12 and read.visual.material.baseColorTexture.size == (32, 32)
    check_texture(read)
