"""What a page's viewer is given: an even choice of points, a mesh in few bytes, places and directions of cameras."""

import base64
import json

import numpy as np
import pytest
from exact_results import VIEWS, write_exact_result
from model_files import SCAN, write_rich_result

from datasets.layouts.general import GeneralScans
from datasets.predictions import Predictions
from fusion.clouds import Points
from tools.evaluation.scan_results import ScanResult
from tools.reports.cloud import Cloud, Measures, read_cloud, viewer_data
from tools.reports.frame import frame_around
from tools.reports.mesh import Mesh, mesh_data, packed_corners, read_mesh
from tools.reports.thinning import voxel_thinned


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """(testpath, outdir) of an exact result."""
    return write_exact_result(tmp_path_factory.mktemp("model"), {"scan7": 1})


def decoded(text: str, kind: str) -> np.ndarray:
    """Numbers of base64."""
    return np.frombuffer(base64.b64decode(text), kind)


def unpacked_corners(packed: np.ndarray) -> list[int]:
    """What viewer/model.js makes of the bytes of faces."""
    corners, following, code, shift = [], 0, 0, 0
    for byte in packed.tolist():
        code |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            corners.append(following - code)
            following += code == 0
            code = shift = 0
    return corners


# ---------------------------------------------------------------- even thinning


def dense_and_thin(rng: np.random.Generator) -> np.ndarray:
    """Points of a plane, whose left half has 19 times as many as the right one."""
    xyz = rng.random((200_000, 3)) * [1, 1, 0]
    xyz[190_000:, 0] += 1
    return xyz


def test_thinning_is_even():
    """Where a cloud is dense points go; where it is thin they stay; of equal parts as many are left."""
    xyz = dense_and_thin(np.random.default_rng(0))
    kept, size = voxel_thinned(xyz, 4000)
    assert 0.85 * 4000 < len(kept) <= 4000 and len(set(kept.tolist())) == len(kept)
    left, right = (xyz[kept, 0] < 1).sum(), (xyz[kept, 0] >= 1).sum()
    assert right / left > 0.9
    cells = np.floor((xyz[kept] - xyz.min(axis=0)) / size)
    assert len(np.unique(cells, axis=0)) == len(kept)


def test_few_points_all_stay():
    xyz = np.random.default_rng(0).random((50, 3))
    kept, size = voxel_thinned(xyz, 50)
    assert kept.tolist() == list(range(50)) and size == 0


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e20])
@pytest.mark.parametrize("dimensions", [0, 1, 2, 3])
def test_thinning_of_odd_shapes(scale, dimensions):
    """A place, a line, a plane, a ball, tiny and huge: never more than wanted, and most of what may stay."""
    xyz = np.random.default_rng(0).random((5000, 3)) * scale * (np.arange(3) < dimensions)
    kept, _ = voxel_thinned(xyz.astype(np.float32), 400)
    assert (300 if dimensions else 1) <= len(kept) <= 400


def test_a_point_far_off_does_not_end_it():
    """One at a million times the extent: voxels cannot be small enough, and some points still stay."""
    xyz = np.random.default_rng(0).random((5000, 3))
    xyz[0] = 1e9
    assert 2 <= len(voxel_thinned(xyz, 400).indices) <= 400


# ---------------------------------------------------------------- the mesh


def grid_mesh(side: int) -> Mesh:
    """A wavy sheet whose vertices and faces come in a random order."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    places = np.stack([x, y, 3 * np.sin(x / 5)], axis=2).reshape(-1, 3).astype(np.float32)
    a = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1)
    faces = rng.permutation(
        np.concatenate([np.stack([a, a + 1, a + side], 1), np.stack([a + 1, a + side + 1, a + side], 1)])
    )
    order = rng.permutation(len(places))
    colors = rng.integers(0, 256, places.shape, dtype=np.uint8)
    return Mesh(places[np.argsort(order)], colors, order[faces].astype(np.int32))


def test_a_mesh_comes_through():
    """The viewer's triangles are the mesh's, corner by corner, and a corner takes little more than a byte."""
    mesh = grid_mesh(60)
    frame = frame_around(mesh.vertices)
    data, used = mesh_data(mesh, frame)
    corners = unpacked_corners(decoded(data["faces"], "u1"))
    assert sorted(map(tuple, used[corners].reshape(-1, 3).tolist())) == sorted(map(tuple, mesh.faces.tolist()))
    positions = decoded(data["xyz"], "<i2").reshape(-1, 3) * frame.step + frame.centre
    np.testing.assert_allclose(positions, mesh.vertices[used], atol=frame.step)
    np.testing.assert_array_equal(decoded(data["rgb"], "u1").reshape(-1, 3), mesh.colors[used])
    assert len(decoded(data["faces"], "u1")) < 1.4 * len(corners)


def test_corners_of_many_bytes():
    """A corner far back takes two, three or four bytes."""
    for count in (126, 129, 30_000, 2_100_000):
        faces = np.append(np.arange(count), [0, 1, count - 1]).reshape(-1, 3)
        assert unpacked_corners(packed_corners(faces)) == faces.reshape(-1).tolist()
    assert len(packed_corners(np.empty((0, 3), np.int32))) == 0


def test_a_face_far_from_the_others_is_left_out():
    """It would take the steps of 16 bits from all others."""
    mesh = grid_mesh(30)
    vertices = np.concatenate([mesh.vertices, mesh.vertices[:3] + 1e7]).astype(np.float32)
    faces = np.concatenate([mesh.faces, [[900, 901, 902]]]).astype(np.int32)
    data, used = mesh_data(Mesh(vertices, None, faces), frame_around(vertices))
    assert data["face_count"] == len(mesh.faces) and used.max() < 900


# ---------------------------------------------------------------- all together


def test_the_viewer_gets_the_cloud(result):
    """Decoded positions are the points to half a step; cameras lie where they are; all lengths share one unit."""
    testpath, outdir = result
    views = {f"View {view}": Predictions(outdir / "scan7").view(view) for view in range(VIEWS)}
    rng = np.random.default_rng(0)
    xyz = rng.normal([5, -3, 0], 20, (3000, 3)).astype(np.float32)
    xyz[7] = 1e6  # far from the others
    colors = rng.integers(0, 256, (3000, 3), dtype=np.uint8)
    cloud = Cloud(Points(xyz, colors), {"views": np.arange(3000).astype(np.uint8)})
    data = viewer_data(cloud, views, 5000, Measures("metres", (0, 0, 2)))
    assert (data["shown"], data["total"], data["outside"], data["voxel"]) == (2999, 3000, 1, 0)
    assert data["unit"] == "metres" and data["up"] == [0, 0, 1]
    kept = np.delete(np.arange(3000), 7)
    positions = decoded(data["points"]["xyz"], "<i2").reshape(-1, 3) * data["step"] + data["centre"]
    np.testing.assert_allclose(positions, xyz[kept], atol=data["step"])
    assert data["step"] < 0.02
    np.testing.assert_array_equal(decoded(data["points"]["rgb"], "u1").reshape(-1, 3), colors[kept])
    np.testing.assert_array_equal(decoded(data["points"]["views"], "u1"), kept.astype(np.uint8))
    camera = GeneralScans(testpath).camera("scan7", 3)
    look = data["views"][3]
    expected = np.linalg.inv(camera.cam_T_world)[:3, 3]
    np.testing.assert_allclose(np.array(look["at"]) * data["step"] + data["centre"], expected, rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(look["forward"], camera.cam_T_world[2, :3], atol=1e-6)
    corner = expected + camera.cam_T_world[2, :3]  # of the picture's outermost pixel's outer edge, at distance 1
    for axis, (name, sign) in enumerate((("right", 1), ("up", -1))):
        corner = corner + np.array(look[name]) * (look["shift"][axis] + sign * look["slope"][axis])
    u, v, _ = camera.project(corner[None])
    assert (u[0], v[0]) == pytest.approx((95.5, 63.5), abs=1e-3)
    assert 80 <= viewer_data(cloud, views, 100)["shown"] <= 100


def test_a_surface_has_the_numbers_of_the_points(tmp_path):
    """Each vertex those of the nearest point; grey vertices where the mesh has no colours."""
    testpath, outdir = write_rich_result(tmp_path)
    cloud = read_cloud(ScanResult(outdir, SCAN, testpath))
    assert cloud.numbers["views"].tolist()[:4] == [2, 3, 4, 2] and cloud.numbers["confidence"][-1] == 255
    mesh = read_mesh(outdir / "gipuma_pcd" / f"{SCAN}_mesh.ply")
    data = viewer_data(cloud, {"a": Predictions(outdir / SCAN).view(0)}, 10**6, mesh=mesh._replace(colors=None))
    surface = data["surface"]
    assert surface["face_count"] == len(mesh.faces) and set(decoded(surface["rgb"], "u1").tolist()) == {128}
    assert set(decoded(surface["views"], "u1").tolist()) == {2, 3, 4}
    assert len(decoded(surface["confidence"], "u1")) == surface["count"]


@pytest.mark.parametrize("xyz", [np.zeros((1, 3)), np.full((50, 3), 7.0), np.eye(3) * 1e-30, np.eye(3) * 1e20])
def test_odd_clouds(result, xyz):
    """One point, many at one place, tiny and huge ones."""
    _, outdir = result
    views = {"View 0": Predictions(outdir / "scan7").view(0)}
    cloud = Cloud(Points(xyz.astype(np.float32), np.zeros(xyz.shape, np.uint8)))
    data = viewer_data(cloud, views, 10)
    assert data["shown"] == len(np.unique(xyz, axis=0)) and json.dumps(data, allow_nan=False)
