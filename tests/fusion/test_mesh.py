"""Meshes of a ball whose surface is known: where the surface lies, that it closes, its colours and its texture."""

import dataclasses

import numpy as np
import pytest
from fusion_scenes import WORLDS, moved, moved_back, plane_depth, write_scan
from mesh_scenes import (
    RADIUS,
    SIZE,
    NoSteps,
    around,
    ball_scan,
    beside,
    kept,
    look_from,
    needs_open3d,
    nothing,
    place_colours,
)

from datasets.camera import Camera
from datasets.files import DataError
from datasets.io import write_camera
from fusion.mesh.colours import spread
from fusion.mesh.labels import charts
from fusion.mesh.maps import KeptView
from fusion.mesh.meshes import make_mesh
from fusion.mesh.render import front_faces, picture, sight
from fusion.mesh.settings import MeshSettings
from fusion.mesh.surfaces import (
    Surface,
    face_neighbours,
    face_normals,
    is_closed,
    joined,
    ordered,
    vertex_normals,
    without_islands,
)
from fusion.mesh.volume import BLOCK, Seen, fused_surface, integrate, surface_cells, tiles

VOXEL = 0.05

TETRAHEDRON = Surface(
    np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32),
)


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    """Seen from all around."""
    return kept(ball_scan(tmp_path_factory.mktemp("ball") / "scan", around()))


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    """Seen from one side."""
    return kept(ball_scan(tmp_path_factory.mktemp("side") / "scan", beside()))


def ground_depth(camera: Camera) -> np.ndarray:
    """Of the plane z = 0 up to a depth of 6, [H, W] float32; 0 beyond."""
    depth = plane_depth(camera, (0, 0, 1), 0.0, SIZE)
    return np.where((depth > 0) & (depth < 6), depth, np.float32(0))


def radii(vertices: np.ndarray) -> np.ndarray:
    """How far from the ball's middle."""
    return np.linalg.norm(vertices, axis=1)


# ---------------------------------------------------------------- triangles


def test_closed_means_that_every_edge_has_two_faces():
    """One missing face, one turned face or a face that is there twice opens it."""
    faces = TETRAHEDRON.faces
    assert is_closed(TETRAHEDRON)
    for wrong in (faces[1:], np.vstack([faces[1:], faces[:1, ::-1]]), np.vstack([faces, faces[:1]]), faces[:0]):
        assert not is_closed(Surface(TETRAHEDRON.vertices, wrong))


def test_normals_point_outwards():
    """Those of corners are means of the faces' around."""
    middle = TETRAHEDRON.vertices[TETRAHEDRON.faces].mean(axis=1) - TETRAHEDRON.vertices.mean(axis=0)
    assert ((face_normals(TETRAHEDRON) * middle).sum(axis=1) > 0).all()
    np.testing.assert_allclose(vertex_normals(TETRAHEDRON)[0], -np.ones(3) / np.sqrt(3))


def test_neighbours_lie_across_edges():
    """None at a border; none where three faces meet."""
    faces = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
    np.testing.assert_array_equal(face_neighbours(faces), [[-1, 1, -1], [0, -1, -1]])
    np.testing.assert_array_equal(
        face_neighbours(np.vstack([faces, [[1, 2, 4]]]))[:, :2], [[-1, -1], [-1, -1], [-1, -1]]
    )


def test_order_depends_on_places_only():
    """Of vertices and of faces, whose direction stays."""
    faces = np.array([[2, 3, 0], [0, 3, 1], [1, 2, 0], [3, 2, 1]], np.int32)
    shuffled = Surface(TETRAHEDRON.vertices[[2, 0, 3, 1]], faces)
    assert is_closed(shuffled)
    first, second = ordered(TETRAHEDRON), ordered(shuffled)
    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.faces, second.faces)
    np.testing.assert_allclose(face_normals(first).sum(axis=0), 0, atol=1e-12)


def test_islands_go_and_the_largest_piece_stays():
    """Whatever share is asked for."""
    far = Surface(TETRAHEDRON.vertices + 9, TETRAHEDRON.faces[:1])
    both = joined([TETRAHEDRON, far])
    assert len(both.faces) == 5
    assert len(without_islands(both, 0.3).faces) == 4 and len(without_islands(both, 0.99).faces) == 4
    assert len(without_islands(both, 0.1).faces) == 5
    assert len(without_islands(Surface.empty(), 0.1).faces) == 0


def test_parts_are_joined_at_common_places():
    """What tiles share is one vertex afterwards."""
    parts = [Surface(*(TETRAHEDRON.vertices, TETRAHEDRON.faces[chosen])) for chosen in ([0, 1], [2, 3])]
    whole = joined(parts)
    assert len(whole.vertices) == 4 and is_closed(whole)


# ---------------------------------------------------------------- the signed distance


def test_distances_are_those_of_the_definition(ball):
    """To the surface seen there, as shares of the truncation; weights fall behind, and are small before."""
    camera, depth, truncation = ball.cameras[0], ball.depth(0), 4 * VOXEL
    slant = np.full(depth.shape, 0.8, np.float32)
    cells = surface_cells(ball, VOXEL, truncation, nothing)
    confidence = np.full(depth.shape, 0.5, np.float32)
    sums = np.zeros((len(cells), BLOCK, BLOCK, BLOCK), np.float32)
    weights = np.zeros_like(sums)
    integrate(cells, VOXEL, truncation, camera, Seen(depth, confidence, slant), sums, weights, 4.0)
    k, j, i = np.mgrid[:BLOCK, :BLOCK, :BLOCK]
    places = (cells[:, None, None, None] * BLOCK + np.stack([i, j, k], axis=-1)) * VOXEL
    u, v, z = camera.project(places.reshape(-1, 3))
    flat_sums, flat_weights, compared = sums.ravel(), weights.ravel(), 0
    for n in np.random.default_rng(0).permutation(len(u))[:4000]:
        x, y = round(u[n]), round(v[n])
        if not (1 <= x < depth.shape[1] - 1 and 1 <= y < depth.shape[0] - 1):
            continue
        around_it = depth[y - 1 : y + 2, x - 1 : x + 2]
        if not (around_it > 0).all() or np.ptp(around_it) > truncation / 2:
            continue
        left, top = int(u[n]), int(v[n])
        four = depth[top : top + 2, left : left + 2].astype(float)
        seen = (four @ [1 - (u[n] - left), u[n] - left]) @ [1 - (v[n] - top), v[n] - top]
        away = np.linalg.norm(places.reshape(-1, 3)[n] - camera.centre)
        share = 0.8 * (seen - z[n]) * away / z[n] / truncation
        weight = 0.5 * (4.0 / z[n]) ** 2 * (0.3 if share > 1 else 0.8**2 * max(1 + min(share, 0), 0))
        if abs(share) > 1.5:
            continue  # whole blocks in free space take one weight
        assert flat_weights[n] == pytest.approx(weight, rel=2e-3, abs=1e-4)
        assert flat_sums[n] == pytest.approx(weight * min(share, 1), rel=2e-3, abs=1e-3)
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("truncation", [2.0, 4.0, 9.0])
def test_blocks_are_those_around_the_depth(side, truncation, monkeypatch):
    """Whatever block a point within the truncation of a seen one lies in, and none that is farther than its cube."""
    cells = surface_cells(side, VOXEL, truncation * VOXEL, nothing)
    points = np.concatenate([side.cameras[view].lift(side.depth(view), side.depth(view) > 0) for view in side.views])
    random = np.random.default_rng(0)
    around_them = points + random.uniform(-truncation, truncation, points.shape) * VOXEL
    edge = VOXEL * BLOCK
    known = {tuple(cell) for cell in cells}
    assert {tuple(cell) for cell in np.floor(around_them / edge).astype(int)} <= known
    for cell in cells[random.permutation(len(cells))[:50]]:
        away = np.maximum(np.maximum(cell * edge - points, points - (cell + 1) * edge), 0).max(axis=1)
        assert away.min() <= truncation * VOXEL * (1 + 1e-6)
    monkeypatch.setattr("fusion.mesh.volume._KEYS", 5000)  # a row at a time
    np.testing.assert_array_equal(surface_cells(side, VOXEL, truncation * VOXEL, nothing), cells)


@needs_open3d
def test_the_surface_of_a_ball(ball):
    """Closed, within a tenth of a voxel of the true one, its normals outwards."""
    cells = surface_cells(ball, VOXEL, 4 * VOXEL, nothing)
    surface = without_islands(fused_surface(ball, tiles(cells, 1.0), VOXEL, 4 * VOXEL, nothing), 1.0)
    assert is_closed(surface)
    assert np.abs(radii(surface.vertices) - RADIUS).mean() < 0.1 * VOXEL
    assert (np.einsum("ij,ij->i", vertex_normals(surface), surface.vertices) > 0.9 * RADIUS).all()


@needs_open3d
def test_tiles_give_the_same_surface(ball):
    """However little memory there is: the same faces at the same places."""
    cells = surface_cells(ball, VOXEL, 4 * VOXEL, nothing)
    parts = tiles(cells, 0.0003)
    assert len(parts) > 4
    one, many = (fused_surface(ball, chosen, VOXEL, 4 * VOXEL, nothing) for chosen in (tiles(cells, 1.0), parts))
    corners = [surface.vertices[surface.faces].mean(axis=1) for surface in (joined([one]), many)]
    assert len(corners[0]) == len(corners[1])
    for pair in zip(*(found[np.lexsort(found.round(6).T)] for found in corners), strict=True):
        np.testing.assert_allclose(*pair, atol=1e-5)


@needs_open3d
def test_ground_seen_from_low_has_no_holes(tmp_path):
    """Five cameras a little above a plane, which looks as slanted as 1 to 8: the mesh has all of it that they see.

    Along the line of sight a depth's truncation ends so near to the ground that few voxels would be within it.
    """
    cameras = [look_from((0, side, 0.5), at=(4, side, 0)) for side in np.linspace(-0.4, 0.4, 5)]
    depths = [ground_depth(each) for each in cameras]
    maps = kept(write_scan(tmp_path / "scan", depths, cameras))
    cells = surface_cells(maps, VOXEL, 4 * VOXEL, nothing)
    surface = fused_surface(maps, tiles(cells, 1.0), VOXEL, 4 * VOXEL, nothing)
    height = np.abs((surface.vertices + maps.origin)[:, 2])
    assert np.median(height) < 0.1 * VOXEL and height.max() < VOXEL
    area = np.linalg.norm(face_normals(surface), axis=1).sum() / 2
    squares = np.concatenate([each.lift(depth, depth > 0) for each, depth in zip(cameras, depths, strict=True)])
    assert area > 0.85 * len(np.unique(np.floor(squares[:, :2] / 0.2), axis=0)) * 0.2**2


@needs_open3d
def test_others_look_through_what_one_view_invents(tmp_path):
    """A patch of depth in the air, which one view has, leaves no faces there."""

    def wrong(view: KeptView) -> KeptView:
        depth = view.depth.copy()
        if view.number == 0:
            depth[42:54, 58:70] = 2.75  # the ball begins at 3
        return dataclasses.replace(view, depth=depth)

    maps = kept(ball_scan(tmp_path / "scan", around()), wrong)
    mesh = make_mesh(maps, MeshSettings(voxel=VOXEL), NoSteps())
    assert radii(mesh.places).max() < RADIUS + 2 * VOXEL


def test_voxels_too_small_for_the_scene(ball):
    """Their numbers would not fit; the line says what to do."""
    with pytest.raises(DataError, match="--voxel 1e-08: is too small"):
        surface_cells(ball, 1e-8, 4e-8, nothing)


@needs_open3d
def test_voxels_too_large_for_the_scene(ball):
    """No cube of them has a surface within."""
    with pytest.raises(DataError, match="no surface was found"):
        make_mesh(ball, MeshSettings(voxel=500.0), NoSteps())


# ---------------------------------------------------------------- whole meshes


@needs_open3d
@pytest.mark.parametrize("method", ["tsdf", "poisson"])
def test_meshes_have_the_wanted_number_of_faces(ball, method):
    """Near the true surface, with the photos' colours."""
    mesh = make_mesh(ball, MeshSettings(method=method, faces=3000, voxel=VOXEL), NoSteps())
    assert 2000 < len(mesh.faces) <= 3000
    assert np.abs(radii(mesh.places) - RADIUS).mean() < 0.3 * mesh.voxel
    assert ball.footprint == pytest.approx(3.1 / 160, rel=0.1)  # which voxels are, unless something is said
    error = np.abs(mesh.colours - place_colours(mesh.places))
    assert np.median(error) < 3 and np.percentile(error, 99) < 12
    assert mesh.up[2] > 0.95


@needs_open3d
@pytest.mark.parametrize("faces", [2000, 0])
def test_a_solid_of_one_side(side, faces):
    """Closed though nobody saw the back; where the ball was seen it is the ball."""
    mesh = make_mesh(side, MeshSettings(close_holes=True, voxel=VOXEL, faces=faces), NoSteps())
    assert mesh.closed and (faces == 0 or len(mesh.faces) <= faces)
    front = mesh.places[mesh.places @ [1, 0, 0] > 0.5 * RADIUS]
    assert len(front) > 50 and np.median(np.abs(radii(front) - RADIUS)) < VOXEL
    open_one = make_mesh(side, MeshSettings(voxel=VOXEL), NoSteps())
    assert not open_one.closed


@needs_open3d
@pytest.mark.parametrize("world", WORLDS)
def test_large_worlds(tmp_path, world):
    """Easting and northing of millions cost nothing: the mesh is the small world's, moved."""
    scan = ball_scan(tmp_path / "scan", around(6))  # depth is what it was, wherever the world's origin lies
    for number, camera in enumerate(around(6)):
        write_camera(scan / "cams" / f"{number:08d}_cam.txt", moved(camera, world))
    mesh = make_mesh(kept(scan), MeshSettings(voxel=VOXEL), NoSteps())
    assert np.abs(radii(moved_back(mesh.places, world)) - RADIUS).mean() < 0.15 * VOXEL
    assert np.abs(mesh.vertices).max() < 10


def test_no_depth_at_all(tmp_path):
    """Said before anything is computed."""
    with pytest.raises(DataError, match="no view has depth that the others confirm"):
        kept(ball_scan(tmp_path / "scan", around(2)), lambda view: dataclasses.replace(view, depth=view.depth * 0))


# ---------------------------------------------------------------- what cameras see


def test_what_lies_in_front_is_drawn():
    """Of two faces the nearer one; depth is exact at pixel centres."""
    camera = around(1, (0.0,))[0]
    size = (128, 96)
    near, far = (camera.centre + camera.cam_T_world[2, :3] * z for z in (2.0, 3.0))
    right, down = camera.cam_T_world[0, :3], camera.cam_T_world[1, :3]
    corners = [at + 0.5 * (a * right + b * down) for at in (near, far) for a, b in ((-1, -1), (1, -1), (0, 1))]
    surface = Surface(np.array(corners), np.array([[0, 1, 2], [3, 4, 5]], np.int32))
    depth, owner = front_faces(surface, camera, size)
    assert owner[47, 63] == 0 and depth[47, 63] == pytest.approx(2, rel=1e-6)
    assert owner[0, 0] == -1 and np.isinf(depth[0, 0])
    flipped = Surface(surface.vertices, surface.faces[:, ::-1])
    own = np.where(np.isfinite(depth), depth, 0)
    own[:, :40] = 1.0  # leaves, say, that are no part of the surface
    seen = max((sight(one, camera, own) for one in (surface, flipped)), key=lambda each: each.visible.sum())
    assert seen.visible[:3].all() and not seen.visible[5]
    assert seen.trust[0] < 0.1 and (seen.trust[1:3] == 1).all()
    assert picture(surface, np.zeros((6, 3), np.uint8), camera, size, False)[47, 63].max() == 0


def test_colours_spread_to_what_nobody_saw():
    """From neighbour to neighbour; what hangs on nothing takes the mean."""
    strip = Surface(np.zeros((5, 3)), np.array([[0, 1, 2], [1, 2, 3]], np.int32))
    values = spread(strip, np.array([[100.0], [0], [0], [0], [0]]), np.array([True, False, False, False, False]))
    np.testing.assert_array_equal(values.ravel(), 100)


def test_charts_are_faces_of_one_photo_that_hang_together():
    """Faces without a photo are alone."""
    neighbours = np.array([[1, -1, -1], [0, 2, -1], [1, 3, -1], [2, -1, -1]], np.int32)
    assert len(set(charts(np.array([5, 5, 5, 5]), neighbours))) == 1
    assert len(set(charts(np.array([5, 7, 5, 5]), neighbours))) == 3
    assert len(set(charts(np.array([-1, -1, 5, 5]), neighbours))) == 3


@needs_open3d
@pytest.mark.parametrize("largest", [2048, 256])
def test_the_texture_shows_the_photos(ball, largest):
    """Every face finds its own colours in the picture, which is no larger than allowed."""
    mesh = make_mesh(ball, MeshSettings(texture=True, texture_size=largest, faces=1500, voxel=VOXEL), NoSteps())
    corners, image = mesh.texture
    assert image.shape[0] <= largest and image.shape[0] == image.shape[1]
    assert corners.min() >= 0 and corners.max() <= image.shape[0] - 1
    middle = np.rint(corners.mean(axis=1)).astype(int)
    wanted = place_colours(mesh.places[mesh.faces].mean(axis=1))
    error = np.abs(image[middle[:, 1], middle[:, 0]] - wanted).max(axis=1)
    assert np.median(error) < 6 and np.percentile(error, 95) < 25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "--method magic: must be one of tsdf, poisson"),
        ({"formats": ("dae",)}, "--formats dae: must be some of"),
        ({"formats": ()}, "--formats : must be some of"),
        ({"voxel": -1.0}, "--voxel -1: must be a positive size"),
        ({"islands": 1.0}, "--islands 1: must be a share"),
        ({"memory": 0.0}, "--memory 0: must be a number from 0.1 on"),
        ({"smooth": -1.0}, "--smooth -1: must be a number from 0 on"),
        ({"truncation": 1.0}, "--truncation 1: must be"),
        ({"texture_size": 8}, "--texture_size 8: must be"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    """One line, in the words of the flags."""
    with pytest.raises(DataError) as error:
        MeshSettings(**settings)
    assert str(error.value).startswith(message)
