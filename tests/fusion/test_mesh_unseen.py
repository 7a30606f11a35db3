"""Faces that no view sees from the front go; those that one sees stay."""

import numpy as np
import pytest
from fusion_scenes import plane_depth, write_scan
from mesh_scenes import RADIUS, SIZE, around, ball_scan, beside, kept, look_from, nothing

from fusion.mesh.surfaces import Surface, face_normals, joined
from fusion.mesh.unseen import without_unseen


def sphere(radius: float, steps: int = 24) -> Surface:
    """A ball's surface of faces that look outwards."""
    polar, around_it = np.meshgrid(
        np.linspace(0, np.pi, steps + 1), np.linspace(0, 2 * np.pi, 2 * steps + 1), indexing="ij"
    )
    axes = [np.sin(polar) * np.cos(around_it), np.sin(polar) * np.sin(around_it), np.cos(polar)]
    numbers = np.arange(polar.size).reshape(polar.shape)
    a, b, c, d = numbers[:-1, :-1], numbers[1:, :-1], numbers[1:, 1:], numbers[:-1, 1:]
    upper, lower = np.stack([a, b, c], axis=-1)[:-1], np.stack([a, c, d], axis=-1)[1:]  # no flat ones at the poles
    faces = np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)])
    return Surface(radius * np.stack(axes, axis=-1).reshape(-1, 3), faces.astype(np.int32))


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    """Seen from all around."""
    return kept(ball_scan(tmp_path_factory.mktemp("ball") / "scan", around()))


def test_what_lies_within_goes(ball):
    """A sheet behind the first, whichever way its faces look; the outer one stays whole."""
    outer, inner = sphere(RADIUS), sphere(0.7 * RADIUS)
    turned = Surface(inner.vertices * 0.9, inner.faces[:, ::-1].copy())
    left = without_unseen(joined([outer, inner, turned]), ball, nothing)
    assert len(left.faces) == len(outer.faces)
    np.testing.assert_allclose(np.linalg.norm(left.vertices, axis=1), RADIUS)


def test_only_fronts_stay(ball):
    """Of a ball that is inside out little does: at its outlines both sides are within a pixel or two."""
    outer = sphere(RADIUS)
    left = without_unseen(Surface(outer.vertices, outer.faces[:, ::-1].copy()), ball, nothing)
    assert len(left.faces) < 0.15 * len(outer.faces)


def test_the_far_side_goes(tmp_path):
    """What all cameras look at from behind; done after every view."""
    cameras, outer, calls = beside(), sphere(RADIUS), []
    left = without_unseen(outer, kept(ball_scan(tmp_path / "scan", cameras)), lambda: calls.append(1))
    assert len(calls) == len(cameras)

    def facing(surface: Surface) -> np.ndarray:
        """The best cosine that a camera has for each face."""
        middles, normals = surface.vertices[surface.faces].mean(axis=1), face_normals(surface)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        rays = [camera.centre - middles for camera in cameras]
        return np.max([(normals * ray).sum(axis=1) / np.linalg.norm(ray, axis=1) for ray in rays], axis=0)

    assert facing(left).min() > 0
    assert (facing(left) > 0.3).sum() == (facing(outer) > 0.3).sum() > 500


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Five cameras half a unit above the plane z = 0, which look along it; and what they see up to a depth of 4."""
    cameras = [look_from((0, side, 0.5), at=(4, side, 0)) for side in np.linspace(-0.4, 0.4, 5)]
    depths = [plane_depth(camera, (0, 0, 1), 0.0, SIZE) for camera in cameras]
    depths = [np.where((depth > 0) & (depth < 4), depth, np.float32(0)) for depth in depths]
    return kept(write_scan(tmp_path_factory.mktemp("ground") / "scan", depths, cameras))


def floor(around: np.ndarray) -> Surface:
    """Squares of two faces on the ground ahead of the cameras, whose world begins at a point."""
    x, y = np.meshgrid(np.linspace(2.0, 3.6, 17), np.linspace(-0.3, 0.3, 13), indexing="ij")
    numbers = np.arange(x.size).reshape(x.shape)
    a, b, c, d = numbers[:-1, :-1], numbers[1:, :-1], numbers[1:, 1:], numbers[:-1, 1:]
    faces = np.concatenate([np.stack(corners, axis=-1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))])
    places = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    return Surface(places - around, faces.astype(np.int32))


def test_ground_far_ahead_stays(ground):
    """However little it faces the cameras, as their depth does not either: here 1 in 7."""
    flat = floor(ground.origin)
    assert len(without_unseen(flat, ground, nothing).faces) == len(flat.faces)


def test_single_faces_that_noise_turns_stay(ground):
    """One that is turned over, with seen ones around it, makes no hole; a patch of them does."""
    flat = floor(ground.origin)
    for turned, gone in (([100], 0), (np.r_[48:96, 240:288], 96)):  # of 16 rows of 12 squares four
        faces = flat.faces.copy()
        faces[turned] = np.roll(faces[turned][..., ::-1], 1, axis=-1)
        left = without_unseen(Surface(flat.vertices, faces), ground, nothing)
        assert len(left.faces) == len(faces) - gone


def test_nothing_at_all(ball):
    """Stays nothing."""
    assert len(without_unseen(Surface.empty(), ball, nothing).faces) == 0
